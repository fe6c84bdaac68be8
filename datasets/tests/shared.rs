//! Whole data sets that no package carries. They lie in the folder that the environment variable `FIRE_ASSAY_SHARED`
//! names, otherwise in `../shared/data` beside the repository; where they are absent, a test says so and passes.

use std::env;
use std::path::{Path, PathBuf};

use fire_assay_datasets::images::{FolderConfig, ImageFolder, TrainTest, idx};

/// The path of a shared file or folder, or nothing and a line that says so.
fn shared(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = env::var_os("FIRE_ASSAY_SHARED").map_or_else(beside, PathBuf::from);
    let path = folder.join(name);
    if !path.exists() {
        eprintln!("SKIPPED: there is no {}", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn mnist_is_complete() {
    let Some(folder) = shared("mnist") else {
        return;
    };
    let TrainTest { train, test } = idx::read_folder(&folder, None).unwrap();
    assert_eq!((train.len(), test.len()), (60_000, 10_000));
    assert_eq!((train.shape().height, train.shape().width), (28, 28));
    // The counts that the authors of MNIST state.
    assert_eq!(
        train.class_counts(),
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    );
    assert_eq!(
        test.class_counts(),
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    );
    // The statistics that everybody normalises MNIST with.
    let statistics = train.channel_statistics();
    assert!((statistics.mean[0] - 0.1307).abs() < 1e-4, "{statistics:?}");
    assert!((statistics.deviation[0] - 0.3081).abs() < 1e-4);
}

#[test]
fn cifar_10_is_read_from_its_archive() {
    let Some(archive) = shared("cifar10/cifar10-image-folder.tar") else {
        return;
    };
    let folder = ImageFolder::open(archive).unwrap();
    assert_eq!(folder.parts(), ["test", "train"]);
    let classes = "airplane automobile bird cat deer dog frog horse ship truck";
    assert_eq!(folder.classes().join(" "), classes);
    let config = FolderConfig::new().with_per_class(200);
    let train = folder.read(Some("train"), &config).unwrap();
    assert_eq!(train.class_counts(), [200; 10]);
    let shape = train.shape();
    assert_eq!((shape.channels, shape.height, shape.width), (3, 32, 32));
    // The channels' means over all images, in their order: red, green, blue.
    let means = train.channel_statistics().mean;
    for (mean, expected) in means.iter().zip([0.4913, 0.4821, 0.4465]) {
        assert!((mean - expected).abs() < 0.02, "{means:?}");
    }
    let test = folder.read(Some("test"), &FolderConfig::new().with_per_class(1));
    assert_eq!(test.unwrap().labels(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
}
