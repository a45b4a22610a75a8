//! Reads a file of weights and uses all that it gives, shared by the targets.

use ptm_models::files::Weights;

/// Elements that are laid out at most: a view may repeat a number millions of times, which is allowed and slow.
const MAX: usize = 1 << 16;

pub fn read(file: Vec<u8>, label: &str) {
    let weights = match Weights::from_bytes(file, label) {
        Ok(weights) => weights,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let _ = weights.total_bytes();
    for view in weights.names().filter_map(|name| weights.get(name)).filter(|view| view.elements() <= MAX) {
        assert_eq!(view.bytes().len() * 8, view.elements() * view.dtype.bitsize());
        if let Ok(bytes) = view.f32_bytes() {
            assert_eq!(bytes.len(), view.elements() * 4);
            assert_eq!(bytes.as_ptr().align_offset(4), 0);
        }
        if let Ok(values) = view.to_i64() {
            assert_eq!(values.len(), view.elements());
        }
    }
}
