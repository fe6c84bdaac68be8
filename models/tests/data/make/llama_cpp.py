"""What llama.cpp's own converter makes of the checkpoints `lm/*`: names, shapes and hashes of all tensors.

    python llama_cpp.py OUT CONVERTER    # CONVERTER: the folder of llama.cpp with convert_hf_to_gguf.py

writes OUT/gguf/llama_cpp.json. The converter runs as it is, but for the tokenizer, which these checkpoints do not have.
Hashes are XXH3 (64 bits) of the values as little-endian 32-bit numbers in row-major order, whatever type the file has.
"""

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path

import torch
import transformers
import xxhash

# The converter names types that old releases lack. No tensor here has one.
for name in ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "uint16", "uint32", "uint64"]:
    if not hasattr(torch, name):
        setattr(torch, name, name)

out, converter = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(converter / "gguf-py"))
sys.path.insert(0, str(converter))
import gguf
from conversion import ModelBase, get_model_class

FOLDERS = ["qwen2", "gpt2", "gpt_neox"]


def convert(folder, path):
    checkpoint = out / "lm" / folder
    config = ModelBase.load_hparams(checkpoint, False)
    if folder == "gpt2":
        # Published files still have this field, which `save_pretrained` dropped.
        config["n_ctx"] = config["n_positions"]
    converting = get_model_class(config["architectures"][0], mmproj=False)
    converting.set_vocab = lambda self: None
    converting(checkpoint, gguf.LlamaFileType.ALL_F32, path, eager=True, hparams=config).write()


files = {}
with tempfile.TemporaryDirectory() as scratch:
    for folder in FOLDERS:
        path = Path(scratch) / f"{folder}.gguf"
        convert(folder, path)
        tensors = {}
        for tensor in gguf.GGUFReader(path).tensors:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype("<f4")
            tensors[tensor.name] = dict(shape=list(values.shape), xxh3=xxhash.xxh3_64_hexdigest(values.tobytes()))
        files[folder] = dict(sorted(tensors.items()))
versions = dict(torch=torch.__version__, transformers=transformers.__version__)
lines = ",\n".join(
    f' "{folder}": {{\n' + ",\n".join(f'  "{name}": {json.dumps(t)}' for name, t in tensors.items()) + "\n }"
    for folder, tensors in files.items()
)
(out / "gguf").mkdir(exist_ok=True)
text = f'{{"made_by": {json.dumps(versions)},\n"files": {{\n{lines}\n}}}}\n'
json.loads(text)
(out / "gguf" / "llama_cpp.json").write_text(text)
print({folder: len(tensors) for folder, tensors in files.items()})
