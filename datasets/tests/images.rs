//! Sets of images, the IDX files, and the image packages of the kit.

mod common;

use std::path::Path;

use common::{Scratch, gzip, plant};
use fire_assay_datasets::images::{
    self, ChannelStatistics, FASHION_CLASSES, ImageSet, ImageShape, TrainTest, idx,
};
use fire_assay_datasets::{Error, Kit};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

const SHAPE: ImageShape = ImageShape {
    channels: 2,
    height: 1,
    width: 3,
};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| class.to_string()).collect()
}

/// A set of so many images of 1x1 pixels, whose only byte is their number, with these labels.
fn numbered(labels: &[u32], classes: usize) -> ImageSet {
    let shape = ImageShape {
        channels: 1,
        height: 1,
        width: 1,
    };
    let pixels = (0..labels.len()).map(|index| index as u8).collect();
    ImageSet::new(shape, pixels, labels.to_vec(), names(classes)).unwrap()
}

/// An IDX file: its magic number, axes and values.
fn idx_file(magic: u32, axes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut file = magic.to_be_bytes().to_vec();
    file.extend(axes.iter().flat_map(|axis| axis.to_be_bytes()));
    file.extend_from_slice(values);
    file
}

fn images_of(bytes: &[u8]) -> Result<idx::Images, Error> {
    idx::parse_images(bytes, Path::new("file"))
}

#[test]
fn a_set_gives_back_what_it_was_made_of() {
    let pixels: Vec<u8> = (0..18).collect();
    let set = ImageSet::new(SHAPE, pixels, vec![1, 0, 1], names(3)).unwrap();
    assert_eq!(set.len(), 3);
    assert_eq!(set.image(1), [6, 7, 8, 9, 10, 11]);
    assert_eq!(set.labels(), [1, 0, 1]);
    assert_eq!(set.class_counts(), [1, 2, 0]);
}

#[test]
fn what_does_not_make_a_set_is_refused() {
    let invalid = |shape, pixels: usize, labels: &[u32]| {
        let set = ImageSet::new(shape, vec![0; pixels], labels.to_vec(), names(2));
        assert!(matches!(set, Err(Error::InvalidImages { .. })), "{set:?}");
    };
    invalid(SHAPE, 11, &[0, 1]);
    invalid(SHAPE, 13, &[0, 1]);
    invalid(SHAPE, 0, &[]);
    invalid(ImageShape { width: 0, ..SHAPE }, 0, &[0]);
    let huge = ImageShape {
        channels: usize::MAX,
        height: 2,
        width: 1,
    };
    invalid(huge, 0, &[0]);
    match ImageSet::new(SHAPE, vec![0; 12], vec![1, 2], names(2)) {
        Err(Error::UnknownLabel {
            index,
            label,
            classes,
        }) => assert_eq!((index, label, classes), (1, 2, 2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn normalised_values_have_mean_0_and_deviation_1_by_channel() {
    let pixels: Vec<u8> = (0..60_u32).map(|i| (i * i * 7 % 251) as u8).collect();
    let set = ImageSet::new(SHAPE, pixels, vec![0; 10], names(1)).unwrap();
    let statistics = set.channel_statistics();
    let all: Vec<usize> = (0..10).collect();
    let values = set.normalised(&all, &statistics);
    for channel in 0..2 {
        let of_channel: Vec<f64> = values
            .chunks(3)
            .skip(channel)
            .step_by(2)
            .flatten()
            .map(|&value| f64::from(value))
            .collect();
        let mean = of_channel.iter().sum::<f64>() / 30.0;
        let variance = of_channel.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 30.0;
        assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-6);
    }
    let unit = set.normalised(&[1], &ChannelStatistics::unit(2));
    let expected: Vec<f32> = set.image(1).iter().map(|&b| f32::from(b) / 255.0).collect();
    assert_eq!(unit, expected);
}

#[test]
fn a_channel_of_one_value_is_only_centred() {
    let set = ImageSet::new(SHAPE, vec![51; 6], vec![0], names(1)).unwrap();
    let statistics = set.channel_statistics();
    assert_eq!(statistics.deviation, [0.0, 0.0]);
    let values = set.normalised(&[0], &statistics);
    assert!(values.iter().all(|value| value.abs() < 1e-7), "{values:?}");
}

#[test]
fn parts_are_what_was_asked_for() {
    let set = numbered(&[0, 1, 0, 1, 0, 2], 4);
    assert_eq!(set.select(&[5, 0, 5]).unwrap().pixels(), [5, 0, 5]);
    assert_eq!(
        set.first_of_each_class(2).unwrap().pixels(),
        [0, 1, 2, 3, 5]
    );
    for bad in [&[][..], &[6]] {
        let part = set.select(bad);
        assert!(matches!(part, Err(Error::InvalidImages { .. })));
    }
    let mut rng = StdRng::seed_from_u64(1);
    for share in [-0.1, 1.1, f64::NAN, 0.0, 1.0] {
        let split = set.stratified_split(share, &mut rng);
        assert!(matches!(split, Err(Error::InvalidImages { .. })), "{share}");
    }
}

proptest! {
    #[test]
    fn a_stratified_split_is_a_partition_with_the_same_share_of_every_class(
        labels in prop::collection::vec(0_u32..4, 40..200),
        share in 0.2..0.8_f64,
        seed in any::<u64>(),
    ) {
        let set = numbered(&labels, 4);
        let (first, second) = set.stratified_split(share, &mut StdRng::seed_from_u64(seed)).unwrap();
        let mut all = [first.pixels(), second.pixels()].concat();
        all.sort_unstable();
        prop_assert_eq!(&all, set.pixels());
        for (part, whole) in first.class_counts().iter().zip(set.class_counts()) {
            prop_assert_eq!(*part, (share * whole as f64).round() as usize);
        }
        // Labels went along with their images.
        for part in [&first, &second] {
            let expected: Vec<u32> = part.pixels().iter().map(|&i| labels[usize::from(i)]).collect();
            prop_assert_eq!(part.labels(), expected);
        }
        let again = set.stratified_split(share, &mut StdRng::seed_from_u64(seed)).unwrap();
        prop_assert_eq!(again, (first, second));
    }

    #[test]
    fn idx_files_survive_a_round_trip_and_lose_nothing_unnoticed(
        count in 0_u32..5, height in 1_u32..6, width in 1_u32..6, cut in 1_usize..40,
    ) {
        let size = (count * height * width) as usize;
        let pixels: Vec<u8> = (0..size).map(|i| (i * 37 % 256) as u8).collect();
        let file = idx_file(0x803, &[count, height, width], &pixels);
        for bytes in [file.clone(), gzip(&file)] {
            let images = images_of(&bytes).unwrap();
            prop_assert_eq!(images.count(), count as usize);
            prop_assert_eq!((images.height, images.width), (height as usize, width as usize));
            prop_assert_eq!(&images.pixels, &pixels);
        }
        let cut = cut.min(file.len() - 4);
        match images_of(&file[..file.len() - cut]) {
            Err(Error::Truncated { needed, found, .. }) => {
                prop_assert!(found < needed && found == (file.len() - cut) as u64);
            }
            other => prop_assert!(false, "{:?}", other),
        }
        let longer = [&file[..], &[0]].concat();
        let refused = matches!(images_of(&longer), Err(Error::Malformed { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = images_of(&bytes);
        let with_magic = [&idx::IMAGES_MAGIC[..], &bytes].concat();
        if let Ok(images) = images_of(&with_magic) {
            prop_assert_eq!(images.pixels.len() + 16, with_magic.len());
        }
    }
}

#[test]
fn files_of_another_kind_are_refused() {
    let labels = idx_file(0x801, &[3], &[0, 1, 2]);
    match images_of(&labels) {
        Err(Error::WrongMagic {
            expected, found, ..
        }) => assert_eq!((expected, found), ([0, 0, 8, 3], vec![0, 0, 8, 1])),
        other => panic!("{other:?}"),
    }
    // Values of 32 bits, little-endian order, and no number at all.
    for bytes in [&[0, 0, 0x0d, 3, 0, 0, 0, 0][..], &[3, 8, 0, 0], b"\x89PNG"] {
        assert!(matches!(images_of(bytes), Err(Error::WrongMagic { .. })));
    }
    assert!(matches!(images_of(&[]), Err(Error::Truncated { .. })));
}

#[test]
fn a_header_that_promises_the_world_takes_no_memory() {
    for axes in [[u32::MAX, 28, 28], [u32::MAX; 3], [1, u32::MAX, u32::MAX]] {
        let error = images_of(&idx_file(0x803, &axes, &[0; 100])).unwrap_err();
        let refused = matches!(error, Error::Truncated { .. } | Error::Malformed { .. });
        assert!(refused, "{error:?}");
    }
    let empty = images_of(&idx_file(0x803, &[2, 0, 28], &[]));
    assert!(matches!(empty, Err(Error::Malformed { .. })));
}

#[test]
fn damaged_compression_is_an_error() {
    let file = gzip(&idx_file(0x803, &[2, 20, 20], &[7; 800]));
    for end in 3..file.len() {
        assert!(images_of(&file[..end]).is_err(), "{end}");
    }
    let mut changed = file.clone();
    // The checksum, 8 bytes before the end.
    let at = changed.len() - 8;
    changed[at] ^= 1;
    assert!(matches!(images_of(&changed), Err(Error::Malformed { .. })));
}

/// Writes the four files of MNIST's names; train images are compressed.
fn write_folder(folder: &Path, train: (u32, &[u8]), test: (u32, &[u8])) {
    for (part, (count, labels)) in [("train", train), ("t10k", test)] {
        let pixels: Vec<u8> = (0..count * 6).map(|i| i as u8).collect();
        let images = idx_file(0x803, &[count, 2, 3], &pixels);
        let labels = idx_file(0x801, &[labels.len() as u32], labels);
        let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).unwrap();
        if part == "train" {
            write("train-images-idx3-ubyte.gz", &gzip(&images));
        } else {
            write("t10k-images-idx3-ubyte", &images);
        }
        write(&format!("{part}-labels-idx1-ubyte"), &labels);
    }
}

#[test]
fn a_folder_is_read_by_its_usual_names() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), (3, &[0, 4, 1]), (1, &[2]));
    let TrainTest { train, test } = idx::read_folder(folder.path(), None).unwrap();
    assert_eq!(train.classes(), names(5));
    assert_eq!(test.classes(), names(5));
    assert_eq!(train.image(1), [6, 7, 8, 9, 10, 11]);
    assert_eq!((train.labels(), test.labels()), (&[0, 4, 1][..], &[2][..]));

    let few = idx::read_folder(folder.path(), Some(names(3)));
    assert!(matches!(few, Err(Error::UnknownLabel { label: 4, .. })));
}

#[test]
fn a_missing_label_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), (3, &[0, 1]), (1, &[0]));
    match idx::read_folder(folder.path(), None) {
        Err(Error::CountMismatch {
            images,
            labels,
            images_path,
            ..
        }) => {
            assert_eq!((images, labels), (3, 2));
            assert!(images_path.ends_with("train-images-idx3-ubyte.gz"));
        }
        other => panic!("{other:?}"),
    }
    let missing = idx::read_folder(Path::new("/nowhere"), None);
    assert!(matches!(missing, Err(Error::Io { .. })));
}

#[test]
fn fashion_mnist_has_its_classes() {
    let scratch = Scratch::new();
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), (2, &[9, 0]), (1, &[5]));
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    let files = [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte",
        "t10k-labels-idx1-ubyte",
    ]
    .map(|name| (name, read(name)));
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    plant(&scratch.kit, "fashion-mnist", &files);
    let data = images::fashion_mnist(&scratch.kit).unwrap();
    assert_eq!(data.train.classes(), FASHION_CLASSES);
    assert_eq!(data.test.labels(), [5]);

    let absent = images::fashion_mnist(&Kit::at("/nowhere"));
    assert!(matches!(absent, Err(Error::NotFetched { .. })));
}

/// A file of the `mnist` package: so many images, all of this value.
fn digits(count: usize, value: f32) -> Vec<u8> {
    let data = vec![value; count * 784];
    serde_json::to_vec(&serde_json::json!({ "data": data })).unwrap()
}

#[test]
fn digits_become_the_nearest_bytes() {
    let scratch = Scratch::new();
    let files: Vec<(String, Vec<u8>)> = (0..10_usize)
        .map(|digit| {
            // As the package rounds them.
            let value = (digit as f32 * 25.0 / 255.0 * 1e3).round() / 1e3;
            (format!("{digit}.json"), digits(digit + 1, value))
        })
        .collect();
    let planted: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (n.as_str(), &b[..])).collect();
    plant(&scratch.kit, "mnist", &planted);
    let set = images::mnist(&scratch.kit).unwrap();
    assert_eq!(set.class_counts(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (index, &label) in set.labels().iter().enumerate() {
        let expected = 25 * label as u8;
        assert!(set.image(index).iter().all(|&pixel| pixel == expected));
    }

    for bad in [
        digits(1, 1.5),
        b"{\"data\": [0.5]}".to_vec(),
        b"[]".to_vec(),
    ] {
        plant(&scratch.kit, "mnist", &[("3.json", &bad)]);
        match images::mnist(&scratch.kit) {
            Err(Error::Malformed { path, .. }) => assert!(path.ends_with("3.json")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
#[ignore = "needs the data kit: fetch-data fashion-mnist mnist"]
fn the_kits_images_are_complete() {
    let kit = Kit::open().unwrap();
    let TrainTest { train, test } = images::fashion_mnist(&kit).unwrap();
    assert_eq!(train.class_counts(), [6_000; 10]);
    assert_eq!(test.class_counts(), [1_000; 10]);
    for (set, mean) in [(&train, 0.28604), (&test, 0.28685)] {
        assert!((set.channel_statistics().mean[0] - mean).abs() < 1e-5);
    }
    let mnist = images::mnist(&kit).unwrap();
    assert_eq!(
        mnist.class_counts(),
        [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    );
}
