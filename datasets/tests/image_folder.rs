//! Image folders, made here as directories and as tar archives.

mod common;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use common::{tar, tar_link};
use fire_assay_datasets::Error;
use fire_assay_datasets::images::{Colour, FolderConfig, ImageFolder, ImageSet, ImageShape};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::TempDir;

/// An image file of one colour.
fn plain(width: u32, height: u32, colour: [u8; 3], format: ImageFormat) -> Vec<u8> {
    encoded(
        RgbImage::from_pixel(width, height, Rgb(colour)).into(),
        format,
    )
}

fn encoded(image: DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn png(colour: [u8; 3]) -> Vec<u8> {
    plain(2, 2, colour, ImageFormat::Png)
}

/// The files as a directory.
fn directory(files: &[(&str, &[u8])]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let path = folder.path().to_owned();
    (folder, path)
}

/// The files as a tar archive.
fn archive(files: &[(&str, &[u8])]) -> (TempDir, PathBuf) {
    stored(&tar(files))
}

fn stored(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("images.tar");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn read(path: &Path, part: Option<&str>) -> Result<ImageSet, Error> {
    ImageFolder::open(path)?.read(part, &FolderConfig::new())
}

#[test]
fn classes_are_folders_in_order_in_directories_and_archives_alike() {
    let (red, green, blue) = (png([250, 0, 0]), png([0, 250, 0]), png([0, 0, 250]));
    let files: Vec<(&str, &[u8])> = vec![
        ("set/a-b/1.png", &red),
        ("set/a/2.PNG", &green),
        ("set/a/10.png", &blue),
        ("set/a/.hidden.png", b"no image"),
        ("set/a/notes.txt", b"no image"),
        ("set/README.md", b"no image"),
    ];
    let (_directory, directory) = directory(&files);
    let (_archive, archive) = archive(&files);
    let sets = [directory, archive].map(|path| read(&path, None).unwrap());
    assert_eq!(sets[0], sets[1]);
    let set = &sets[0];
    assert_eq!(set.classes(), ["a", "a-b"]);
    assert_eq!(set.labels(), [0, 0, 1]);
    // Channel by channel, and files in the order of bytes: `10` before `2`.
    assert_eq!(set.image(0), [0, 0, 0, 0, 0, 0, 0, 0, 250, 250, 250, 250]);
    assert_eq!(set.image(1), [0, 0, 0, 0, 250, 250, 250, 250, 0, 0, 0, 0]);
    assert_eq!(set.image(2), [250, 250, 250, 250, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn parts_share_the_numbers_of_their_classes() {
    let grey = png([9; 3]);
    let (_guard, path) = archive(&[
        ("./test/dog/0.png", &grey),
        ("./train/cat/0.png", &grey),
        ("./train/dog/0.png", &grey),
        ("./train/dog/1.png", &grey),
        ("./train/dog/2.png", &grey),
    ]);
    let folder = ImageFolder::open(&path).unwrap();
    assert_eq!(folder.parts(), ["test", "train"]);
    assert_eq!(folder.classes(), ["cat", "dog"]);
    let config = FolderConfig::new();
    assert_eq!(folder.read(Some("test"), &config).unwrap().labels(), [1]);
    let train = folder.read(Some("train"), &config).unwrap();
    assert_eq!(train.labels(), [0, 1, 1, 1]);
    let two = config.clone().with_per_class(2);
    assert_eq!(
        folder.read(Some("train"), &two).unwrap().labels(),
        [0, 1, 1]
    );
    for part in [None, Some("validation")] {
        match folder.read(part, &config) {
            Err(Error::UnknownPart { known, .. }) => assert_eq!(known, "test, train"),
            other => panic!("{other:?}"),
        }
    }
    let none = folder.read(Some("train"), &config.with_per_class(0));
    assert!(matches!(none, Err(Error::InvalidImages { .. })));
}

#[test]
fn pixels_keep_their_places() {
    let image = RgbImage::from_fn(3, 2, |x, y| {
        Rgb([10 * x as u8, 100 * y as u8, (x + y) as u8])
    });
    let (_guard, path) = directory(&[("a/0.png", &encoded(image.into(), ImageFormat::Png))]);
    let set = read(&path, None).unwrap();
    let shape = ImageShape {
        channels: 3,
        height: 2,
        width: 3,
    };
    assert_eq!(set.shape(), shape);
    let expected = [
        [0, 10, 20, 0, 10, 20],
        [0, 0, 0, 100, 100, 100],
        [0, 1, 2, 1, 2, 3],
    ];
    assert_eq!(set.image(0), expected.as_flattened());
}

#[test]
fn colours_become_what_is_asked_for() {
    let grey = encoded(
        GrayImage::from_pixel(1, 1, Luma([77])).into(),
        ImageFormat::Png,
    );
    // A tenth of black over white.
    let glass = RgbaImage::from_pixel(1, 1, Rgba([0, 0, 0, 51]));
    let glass = encoded(glass.into(), ImageFormat::Png);
    let (_guard, path) = directory(&[("a/0.png", &grey), ("a/1.png", &glass)]);
    let folder = ImageFolder::open(&path).unwrap();
    let rgb = folder.read(None, &FolderConfig::new()).unwrap();
    assert_eq!(rgb.pixels(), [77, 77, 77, 204, 204, 204]);
    let config = FolderConfig::new().with_colour(Colour::Grey);
    let grey = folder.read(None, &config).unwrap();
    assert_eq!(grey.shape().channels, 1);
    assert_eq!(grey.pixels(), [77, 204]);
}

#[test]
fn jpeg_is_read_whatever_the_file_is_called() {
    let jpeg = plain(8, 8, [200, 100, 50], ImageFormat::Jpeg);
    let (_guard, path) = directory(&[("a/0.jpeg", &jpeg), ("a/1.png", &jpeg)]);
    let set = read(&path, None).unwrap();
    for channel in 0..3 {
        let expected = [200, 100, 50][channel];
        let pixels = &set.image(0)[64 * channel..64 * (channel + 1)];
        assert!(pixels.iter().all(|pixel| pixel.abs_diff(expected) < 6));
    }
    assert_eq!(set.image(0), set.image(1));
}

#[test]
fn an_image_of_another_size_is_named() {
    let (small, large) = (png([1; 3]), plain(3, 2, [1; 3], ImageFormat::Png));
    let (_guard, path) = archive(&[("a/0.png", &small), ("b/odd.png", &large)]);
    match read(&path, None) {
        Err(Error::ImageSize {
            path: named,
            expected,
            found,
        }) => {
            assert_eq!((expected, found), ((2, 2), (3, 2)));
            assert_eq!(named, path.join("b/odd.png"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_image_is_named() {
    let whole = plain(64, 64, [3; 3], ImageFormat::Png);
    let mut huge = whole.clone();
    // Width and height stand in bytes 16 to 23, and their checksum behind the header.
    huge[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
    for bytes in [b"text".to_vec(), whole[..whole.len() / 2].to_vec(), huge] {
        let (_guard, path) = directory(&[("a/bad.png", &bytes)]);
        match read(&path, None) {
            Err(Error::Malformed { path, .. }) => assert!(path.ends_with("a/bad.png")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn images_outside_of_the_layout_are_refused() {
    let image = png([0; 3]);
    let cases: [&[&str]; 4] = [
        &["0.png"],
        &["train/cat/0.png", "cat/0.png"],
        &["cat/0.png", "cat/more/0.png"],
        &["readme.txt"],
    ];
    for names in cases {
        let files: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &image[..])).collect();
        let (_guard, path) = directory(&files);
        let folder = ImageFolder::open(&path);
        assert!(matches!(folder, Err(Error::Malformed { .. })), "{names:?}");
    }
}

#[test]
fn damaged_archives_are_errors() {
    let image = png([0; 3]);
    let whole = tar(&[("a/0.png", &image)]);
    // Within the image, and within its header.
    for end in [512 + 20, 300] {
        let (_guard, path) = stored(&whole[..end]);
        let folder = ImageFolder::open(&path);
        assert!(matches!(folder, Err(Error::Archive { .. })), "{end}");
    }
    let twice = tar(&[("a/0.png", &image), ("./a/0.png", &image)]);
    let link = tar_link("a/0.png", "/etc/passwd", tar::EntryType::Symlink);
    for bytes in [twice, link] {
        let (_guard, path) = stored(&bytes);
        let folder = ImageFolder::open(&path);
        assert!(matches!(folder, Err(Error::UnsafeEntry { .. })));
    }
    let missing = ImageFolder::open("/nowhere");
    assert!(matches!(missing, Err(Error::Io { .. })));
}
