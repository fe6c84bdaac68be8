//! What several targets need: bytes as a file, and a look at all tensors of a source.

use std::io::Write;

use fire_assay_models::tensors::TensorSource;
use tempfile::NamedTempFile;

/// A file that holds these bytes and goes when it is dropped.
pub fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(bytes).expect("a temporary file can be written");
    file
}

/// Lets panics unwind, which end the process at once by default: those of the library `tokenizers` are caught where it is
/// called. What nothing catches is found still, as libfuzzer aborts at it.
pub fn let_panics_unwind() {
    let _ = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
}

/// Reads all tensors: those that can be read have the shape that was announced and finite values.
pub fn read_all(source: &dyn TensorSource) {
    for name in source.names() {
        let shape = source.shape(&name).expect("a tensor that is listed has a shape");
        if let Ok(tensor) = source.read(&name) {
            assert_eq!(tensor.shape(), shape);
            assert_eq!(tensor.values().len(), shape.iter().product::<usize>());
            assert!(tensor.values().iter().all(|value| value.is_finite()));
        }
    }
}
