"""Small image classifiers with reference outputs, made by PyTorch and torchvision.

    python vision.py OUT

writes OUT/vision/inputs.safetensors, OUT/vision/torchvision_names.json and, for every entry of `NETS`,
OUT/vision/<name>/{model.safetensors, reference.safetensors, meta.json}. See README.md for the meaning of every entry.

Every parameter and every running statistic is random. Running statistics are the true ones of other images times and
plus noise, so that activations stay of order 1 at any depth while no statistic has its default.
"""

import copy
import json
import math
import sys
from pathlib import Path

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision.models.vgg import cfgs, make_layers
from torchvision.models.vision_transformer import VisionTransformer

BATCH, CLASSES, TRACKED = 4, 10, 7


class Mlp(nn.Module):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, CLASSES)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


class SmallCnn(nn.Module):
    """Twice: 3x3 convolution without bias, batch norm, ReLU, 2x2 max pool; then a linear layer on [C,H,W] flattened."""

    def __init__(self, channels, image, widths):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.conv2 = nn.Conv2d(widths[0], widths[1], 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(widths[1])
        self.fc = nn.Linear(widths[1] * (image // 4) ** 2, CLASSES)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def conv3(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


def pad_channels(x, outputs):
    """Zero channels, the same number before and after."""
    extra = outputs - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, extra // 2, extra - extra // 2))


class Basic(nn.Module):
    """Post-activation block of two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs, planes, stride, projection):
        super().__init__()
        self.stride, self.outputs = stride, planes
        self.conv1, self.bn1 = conv3(inputs, planes, stride), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv3(planes, planes), nn.BatchNorm2d(planes)
        self.downsample = shortcut(inputs, planes, stride) if projection else None

    def branch(self, x):
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))

    def forward(self, x):
        if self.downsample is not None:
            skip = self.downsample(x)
        elif self.stride != 1 or x.shape[1] != self.outputs:  # option A
            skip = pad_channels(x[:, :, :: self.stride, :: self.stride], self.outputs)
        else:
            skip = x
        return F.relu(self.branch(x) + skip)


class Bottleneck(Basic):
    """1x1, 3x3 (which has the stride), 1x1 with four times the channels."""

    expansion = 4

    def __init__(self, inputs, planes, stride, projection):
        nn.Module.__init__(self)
        self.stride, self.outputs = stride, 4 * planes
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = conv3(planes, planes, stride), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, 4 * planes, 1, bias=False), nn.BatchNorm2d(4 * planes)
        self.downsample = shortcut(inputs, 4 * planes, stride) if projection else None

    def branch(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(x)))))


def shortcut(inputs, outputs, stride):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """Post-activation network. `imagenet`: 7x7 stem of stride 2 and a 3x3 max pool of stride 2; else a 3x3 stem."""

    def __init__(self, block, blocks, width, imagenet, projection, classes=CLASSES):
        super().__init__()
        self.imagenet = imagenet
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False) if imagenet else conv3(3, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages, inputs = len(blocks), width
        for s, count in enumerate(blocks):
            planes, layer = width << s, []
            for b in range(count):
                stride = 2 if s > 0 and b == 0 else 1
                changes = stride != 1 or inputs != planes * block.expansion
                layer.append(block(inputs, planes, stride, projection and changes))
                inputs = planes * block.expansion
            setattr(self, f"layer{s + 1}", nn.Sequential(*layer))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.imagenet:
            x = F.max_pool2d(x, 3, 2, padding=1)
        for s in range(self.stages):
            x = getattr(self, f"layer{s + 1}")(x)
        return self.fc(x.mean((2, 3)))


class PreBasic(nn.Module):
    """Pre-activation block. The shortcut starts at the raw input: average pool of `stride`, then zero channels."""

    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.stride, self.planes = stride, planes
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv3(inputs, planes, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(planes), conv3(planes, planes)

    def forward(self, x):
        y = self.conv1(F.leaky_relu(self.bn1(x), 0.1))
        y = self.conv2(F.leaky_relu(self.bn2(y), 0.1))
        if self.stride != 1:
            x = pad_channels(F.avg_pool2d(x, self.stride), self.planes)
        return y + x


class PreResNet(nn.Module):
    def __init__(self, blocks, width):
        super().__init__()
        self.conv1 = conv3(3, width)
        for s in range(3):
            self.add_module(f"layer{s + 1}", nn.Sequential(*[
                PreBasic(width << s >> (s > 0 and b == 0), width << s, 2 if s > 0 and b == 0 else 1)
                for b in range(blocks)]))
        self.final_bn = nn.BatchNorm2d(width * 4)
        self.linear = nn.Linear(width * 4, CLASSES)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        x = F.avg_pool2d(F.leaky_relu(self.final_bn(x), 0.1), 8)
        return self.linear(x.flatten(1))


class Vgg(nn.Module):
    """torchvision's layer list with every width divided; global average; one or three linear layers."""

    def __init__(self, letter, divisor, hidden=None):
        super().__init__()
        plan = [v if v == "M" else v // divisor for v in cfgs[letter]]
        self.features = make_layers(plan, batch_norm=True)
        last = 512 // divisor
        if hidden is None:
            self.classifier = nn.Linear(last, CLASSES)
        else:  # torchvision's head, but for the dropout rate: 0 makes the training forward a function
            self.classifier = nn.Sequential(
                nn.Linear(last, hidden), nn.ReLU(True), nn.Dropout(0.0),
                nn.Linear(hidden, hidden), nn.ReLU(True), nn.Dropout(0.0), nn.Linear(hidden, CLASSES))

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def vit():
    net = VisionTransformer(image_size=28, patch_size=7, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48,
                            num_classes=CLASSES)
    net.conv_proj = nn.Conv2d(1, 32, 7, 7)  # grey images
    return net


GREY, COLOUR = "x_1x28x28", "x_3x32x32"
# Stored as f16 to keep the repository small; the references are those of the rounded values. The inputs are f16, too.
HALF = ("mlp", "resnet18_cifar", "resnet18_torchvision", "bottleneck_torchvision", "r32p", "vgg19_bn", "vgg11_bn", "vit")
# name -> (constructor, input, description, prefixes of the parameters whose gradients are stored)
NETS = {
    "mlp": (lambda: Mlp(784, 64), GREY, dict(kind="mlp", widths=[784, 64, 10], activation="relu"), ("",)),
    "small_cnn": (lambda: SmallCnn(1, 28, (8, 16)), GREY,
                  dict(kind="cnn", widths=[8, 16], conv_bias=False, flatten="channel, row, column"), ()),
    "resnet20_a": (lambda: ResNet(Basic, [3, 3, 3], 4, False, False), COLOUR,
                   dict(kind="resnet", block="basic", blocks=[3, 3, 3], width=4, stem="3x3",
                        shortcut="A: x[:, :, ::2, ::2], zero channels, half before and half after"),
                   ("conv1", "bn1", "layer1.0", "layer2.0", "layer3.2.bn2", "fc")),
    "resnet20_b": (lambda: ResNet(Basic, [3, 3, 3], 2, False, True), COLOUR,
                   dict(kind="resnet", block="basic", blocks=[3, 3, 3], width=2, stem="3x3",
                        shortcut="B: 1x1 convolution of stride 2 and batch norm (downsample.0, downsample.1)"), ()),
    "resnet18_cifar": (lambda: ResNet(Basic, [2, 2, 2, 2], 2, False, True), COLOUR,
                       dict(kind="resnet", block="basic", blocks=[2, 2, 2, 2], width=2, stem="3x3",
                            shortcut="B"), ()),
    "resnet18_torchvision": (lambda: ResNet(Basic, [2, 2, 2, 2], 2, True, True), COLOUR,
                             dict(kind="resnet", block="basic", blocks=[2, 2, 2, 2], width=2,
                                  stem="7x7 stride 2, 3x3 max pool stride 2 padding 1", shortcut="B"), ()),
    "bottleneck_torchvision": (lambda: ResNet(Bottleneck, [1, 2, 1, 1], 2, True, True), COLOUR,
                               dict(kind="resnet", block="bottleneck", blocks=[1, 2, 1, 1], width=2,
                                    stem="7x7 stride 2, 3x3 max pool stride 2 padding 1", shortcut="B",
                                    stride="in the 3x3 convolution"), ()),
    "r32p": (lambda: PreResNet(5, 4), COLOUR,
             dict(kind="preact-resnet", blocks=[5, 5, 5], width=4, activation="leaky relu 0.1",
                  shortcut="from the raw block input: 2x2 average pool, zero channels, half before and half after"),
             ()),
    "vgg19_bn": (lambda: Vgg("E", 32), COLOUR,
                 dict(kind="vgg", plan=[v if v == "M" else v // 32 for v in cfgs["E"]], conv_bias=True,
                      head="global average, classifier"), ()),
    "vgg11_bn": (lambda: Vgg("A", 32, 16), COLOUR,
                 dict(kind="vgg", plan=[v if v == "M" else v // 32 for v in cfgs["A"]], conv_bias=True,
                      head="global average, classifier.0, ReLU, classifier.3, ReLU, classifier.6"), ()),
    "vit": (vit, GREY, dict(kind="vit", patch=7, dim=32, layers=2, heads=4, mlp=48, activation="gelu (erf)",
                            layer_norm_eps=1e-6, norm="pre"), ()),
}


def randomise(net, generator):
    def noise(t):
        return torch.randn(t.shape, generator=generator)

    norms = {f"{n}.weight" for n, m in net.named_modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))}
    with torch.no_grad():
        for name, p in sorted(net.named_parameters()):
            if name in norms:
                p.copy_(1 + 0.3 * noise(p))
            elif name.endswith("bias"):
                p.copy_(0.2 * noise(p))
            elif p.ndim >= 2 and "embedding" not in name and "token" not in name:
                p.copy_(noise(p) * (1.6 / math.sqrt(p[0].numel())))
            else:
                p.copy_(0.5 * noise(p))


def norms_of(net):
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


def set_statistics(net, images, generator):
    for m in norms_of(net):
        m.momentum = 1.0
    with torch.no_grad():
        net.train()(images)
        for m in norms_of(net):
            m.momentum = 0.1
            noise = torch.randn((2, m.num_features), generator=generator)
            m.running_mean.add_(0.2 * m.running_var.sqrt() * noise[0])
            m.running_var.mul_(torch.exp(0.3 * noise[1]))
            m.num_batches_tracked.fill_(TRACKED)


def outputs(net, x, labels):
    """Logits in both modes, and what one training forward and backward leaves behind."""
    net = copy.deepcopy(net)
    with torch.no_grad():
        logits_eval = net.eval()(x)
    logits_train = net.train()(x)
    loss = F.cross_entropy(logits_train, labels)
    loss.backward()
    grads = {n: p.grad for n, p in net.named_parameters()}
    return logits_eval, logits_train.detach(), loss.item(), grads, dict(net.named_buffers())


def save_json(path, value):
    body = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in value.items())
    path.write_text("{\n" + body + "\n}\n")


def make(out, name, seed, inputs):
    """False if these draws are ill-conditioned in f32 (a batch norm over few, nearly equal values)."""
    build, input_name, about, gradients = NETS[name]
    generator = torch.Generator().manual_seed(seed)
    net = build()
    randomise(net, generator)
    x, labels = inputs[input_name], inputs["labels"]
    set_statistics(net, torch.randn((64, *x.shape[1:]), generator=generator), generator)
    if name in HALF:
        net.half().float()
    stored = {k: v.half() if name in HALF and v.is_floating_point() else v.clone() for k, v in net.state_dict().items()}

    logits_eval, logits_train, loss, grads, after = outputs(net, x, labels)
    eval64, train64, loss64, grads64, _ = outputs(copy.deepcopy(net).double(), x.double(), labels)
    checks = dict(
        logits_eval_std=logits_eval.std().item(),
        logits_train_std=logits_train.std().item(),
        eval_f32_to_f64=(logits_eval - eval64).abs().max().item(),
        train_f32_to_f64=(logits_train - train64).abs().max().item(),
        gradient_f32_to_f64_relative=max(((g - grads64[n]).norm() / grads64[n].norm()).item()
                                         for n, g in grads.items() if grads64[n].norm() > 1e-8),
    )
    tensors = dict(logits_eval=logits_eval, logits_train=logits_train)
    for k, v in after.items():
        assert torch.isfinite(v).all()
        if "running" in k:
            tensors[f"after.{k}"] = v
    for k, g in grads.items():
        if k.startswith(gradients):
            tensors[f"grad.{k}"] = g[:4].clone() if g.numel() > 20000 else g  # the first rows of a large matrix
    assert all(torch.isfinite(t).all() for t in (logits_eval, logits_train))
    if not all(0.3 < checks[f"logits_{mode}_std"] < 5 for mode in ("eval", "train")):
        return False
    if max(checks["eval_f32_to_f64"], checks["train_f32_to_f64"], checks["gradient_f32_to_f64_relative"]) > 1e-5:
        return False
    folder = out / "vision" / name
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored, folder / "model.safetensors")
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "reference.safetensors")
    parameters = sum(p.numel() for p in net.parameters())
    save_json(folder / "meta.json", dict(
        name=name, seed=seed, made_by=versions(), input=input_name, classes=CLASSES, parameters=parameters, net=about,
        batch_norm=dict(eps=1e-5, momentum=0.1) if norms_of(net) else None, train_loss=loss, train_loss_f64=loss64,
        grad_norms={n: g.norm().item() for n, g in grads64.items()}, checks=checks))
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:24}{parameters:8} parameters {size:8} bytes", {k: float(f"{v:.2g}") for k, v in checks.items()})
    return True


def versions():
    return dict(torch=torch.__version__, torchvision=torchvision.__version__, script="make/vision.py")


def check_against_torchvision(generator):
    """Our ResNet at full width takes torchvision's state dict and gives its logits, in both modes."""
    for name, block, blocks in (("resnet18", Basic, [2, 2, 2, 2]), ("resnet50", Bottleneck, [3, 4, 6, 3])):
        theirs = getattr(torchvision.models, name)()
        ours = ResNet(block, blocks, 64, True, True, classes=1000)
        randomise(theirs, generator)
        ours.load_state_dict(theirs.state_dict())
        x = torch.randn((2, 3, 64, 64), generator=generator)
        with torch.no_grad():
            for mode in (True, False):
                a, b = theirs.train(mode)(x), ours.train(mode)(x)
                assert (a - b).abs().max() < 1e-4 * a.abs().max(), name


def torchvision_names(out):
    """State-dict names and shapes of the full-size networks, one line each."""
    nets = {}
    for name in ("resnet18", "resnet50", "vgg19_bn"):
        with torch.no_grad():
            nets[name] = {k: list(v.shape) for k, v in getattr(torchvision.models, name)().state_dict().items()}
    save_json(out / "vision" / "torchvision_names.json", dict(made_by=versions(), **nets))


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    (out / "vision").mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(2000)
    inputs = {COLOUR: torch.randn((BATCH, 3, 32, 32), generator=generator),
              GREY: torch.randn((BATCH, 1, 28, 28), generator=generator),
              "labels": torch.tensor([3, 9, 0, 3])}
    halves = {k: v.half() if v.is_floating_point() else v for k, v in inputs.items()}
    save_file(halves, out / "vision" / "inputs.safetensors")
    inputs = {k: v.float() if v.is_floating_point() else v for k, v in halves.items()}
    for i, name in enumerate(NETS):
        seed = 2100 + 100 * i
        while not make(out, name, seed, inputs):
            seed += 1
    check_against_torchvision(generator)
    torchvision_names(out)
