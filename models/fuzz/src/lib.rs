//! What every target checks: tensors that can be read have the shape that was announced and finite values.

use fire_assay_models::tensors::TensorSource;

/// Reads all tensors.
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
