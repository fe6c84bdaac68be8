//! Arbitrary bytes as a tar archive of images: whatever is taken makes a valid set.

#![no_main]

use fire_assay_datasets::images::{FolderConfig, ImageFolder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let Ok(folder) = ImageFolder::open(file.path()) else {
        return;
    };
    let parts: Vec<Option<&str>> = match folder.parts()[..] {
        [] => vec![None],
        ref names => names.iter().copied().map(Some).collect(),
    };
    for part in parts {
        if let Ok(set) = folder.read(part, &FolderConfig::new().with_per_class(2)) {
            assert_eq!(set.pixels().len(), set.len() * set.shape().values());
        }
    }
});
