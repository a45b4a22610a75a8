//! ptm's compact storage of small models that are embedded in the program: a safetensors file in which a matrix is
//! eight bits a number, with one scale for each group of neighbours in a row. Metadata `ptm.compact` = `int8-group:G`.
//! Matrix `NAME` is then I8 `[rows, columns]`, `NAME.scale` F16 or F32 `[rows, ⌈columns / G⌉]`; value = code · scale.
//! Arithmetic stays f32: this is about the size of files, not about speed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use half::f16;
use rayon::prelude::*;
use safetensors::Dtype;

use super::view::{Layout, TensorView};
use super::{Error, convert};

/// The metadata key that says how the file is stored.
pub const KEY: &str = "ptm.compact";
/// What follows a matrix's name in the name of its scales.
const SCALE: &str = ".scale";
const SCHEME: &str = "int8-group:";

/// A matrix in compact storage.
#[derive(Clone, Debug)]
pub(crate) struct Compact {
    pub(super) codes: Bytes,
    pub(super) scales: Bytes,
    scale_dtype: Dtype,
    group: usize,
}

impl Compact {
    /// The numbers. `shape` is `[rows, columns]`.
    pub(super) fn to_f32(&self, shape: &[usize]) -> Vec<f32> {
        let columns = shape[1];
        let mut values = vec![0.0; self.codes.len()];
        if columns == 0 {
            return values;
        }
        // checked when the file was read
        let scales = convert::to_f32(&self.scales, self.scale_dtype).unwrap_or_default();
        let per_row = columns.div_ceil(self.group);
        let rows = values.par_chunks_mut(columns).zip(self.codes.par_chunks(columns)).zip(scales.par_chunks(per_row));
        rows.with_min_len(256).for_each(|((values, codes), scales)| {
            let groups = values.chunks_mut(self.group).zip(codes.chunks(self.group)).zip(scales);
            for ((values, codes), scale) in groups {
                for (value, code) in values.iter_mut().zip(codes) {
                    *value = f32::from(code.cast_signed()) * scale;
                }
            }
        });
        values
    }
}

/// Joins matrices with their scales.
pub(super) fn fold(tensors: &mut BTreeMap<String, TensorView>, scheme: &str, label: &Arc<str>) -> Result<(), Error> {
    let group = scheme.strip_prefix(SCHEME).and_then(|group| group.parse().ok()).filter(|&group: &usize| group > 0);
    let Some(group) = group else {
        return Err(Error::Header {
            label: label.to_string(),
            problem: format!("{KEY} is {scheme:?}, where this version of ptm knows {SCHEME}G"),
        });
    };
    let matrices: Vec<String> = tensors
        .iter()
        .filter(|(name, view)| view.dtype == Dtype::I8 && tensors.contains_key(&format!("{name}{SCALE}")))
        .map(|(name, _)| name.clone())
        .collect();
    for name in matrices {
        let (Some(codes), Some(scales)) = (tensors.remove(&name), tensors.remove(&format!("{name}{SCALE}"))) else {
            continue;
        };
        let fits = matches!((&codes.shape[..], &scales.shape[..]), ([rows, columns], [r, groups])
            if rows == r && columns.div_ceil(group) == *groups);
        if !fits || !matches!(scales.dtype, Dtype::F16 | Dtype::F32) {
            let problem = format!(
                "compact storage in groups of {group}: codes of shape {:?} do not go with scales of shape {:?} of {}",
                codes.shape, scales.shape, scales.dtype
            );
            return Err(Error::Tensor { label: label.to_string(), name, problem });
        }
        let compact = Compact { codes: codes.bytes(), scales: scales.bytes(), scale_dtype: scales.dtype, group };
        let view = TensorView::new(&name, label, Dtype::F32, codes.shape, Layout::Compact(compact));
        tensors.insert(name, view);
    }
    Ok(())
}

/// A matrix made compact: what [`encode`] gives.
#[derive(Debug)]
pub struct Encoded {
    /// Eight-bit codes `[rows, columns]`, as bytes.
    pub codes: Vec<u8>,
    /// The element type of the scales: F16 where that is exact enough, else F32.
    pub scale_dtype: Dtype,
    /// Scales `[rows, ⌈columns / group⌉]`, little-endian.
    pub scales: Vec<u8>,
}

/// The metadata value for groups of `group` columns.
pub fn scheme(group: usize) -> String {
    format!("{SCHEME}{group}")
}

/// Rounds a matrix of rows of `columns` numbers to eight bits in groups of `group`. `None` when a number is not finite
/// or the matrix is empty: such a one is better stored as it is.
pub fn encode(values: &[f32], columns: usize, group: usize) -> Option<Encoded> {
    if columns == 0 || group == 0 || values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let groups = || values.chunks(columns).flat_map(|row| row.chunks(group));
    let exact: Vec<f32> = groups().map(|group| group.iter().fold(0.0_f32, |max, v| max.max(v.abs())) / 127.0).collect();
    // below its normal range, a half has few digits left
    let half = exact.iter().all(|&s| s == 0.0 || (f16::MIN_POSITIVE.to_f32()..f16::MAX.to_f32()).contains(&s));
    let scales: Vec<f32> = exact.into_iter().map(|s| if half { f16::from_f32(s).to_f32() } else { s }).collect();
    let mut codes = Vec::with_capacity(values.len());
    for (group, &scale) in groups().zip(&scales) {
        let code = |v: &f32| if scale == 0.0 { 0 } else { (v / scale).round().clamp(-127.0, 127.0) as i8 };
        codes.extend(group.iter().map(|v| code(v).cast_unsigned()));
    }
    let scale_dtype = if half { Dtype::F16 } else { Dtype::F32 };
    let scales = if half {
        scales.iter().flat_map(|&s| f16::from_f32(s).to_le_bytes()).collect()
    } else {
        scales.iter().flat_map(|s| s.to_le_bytes()).collect()
    };
    Some(Encoded { codes, scale_dtype, scales })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(values: &[f32], columns: usize, group: usize) -> Vec<f32> {
        let Encoded { codes, scale_dtype, scales } = encode(values, columns, group).unwrap();
        let compact = Compact { codes: codes.into(), scales: scales.into(), scale_dtype, group };
        compact.to_f32(&[values.len() / columns, columns])
    }

    #[test]
    fn each_number_is_off_by_half_a_step_at_most() {
        let values: Vec<f32> = (0..7 * 100).map(|i| (i as f32 * 0.37).sin() * (1.0 + (i % 13) as f32)).collect();
        let back = decoded(&values, 100, 32);
        for (row, back) in values.chunks(100).zip(back.chunks(100)) {
            for (values, back) in row.chunks(32).zip(back.chunks(32)) {
                let max = values.iter().fold(0.0_f32, |max, v| max.max(v.abs()));
                // half a step, and what rounding the scale to f16 costs the largest
                let bound = max / 127.0 * 0.5 + max * 5e-4;
                assert!(values.iter().zip(back).all(|(v, b)| (v - b).abs() <= bound));
            }
        }
    }

    #[test]
    fn zeros_stay_and_tiny_numbers_get_wide_scales() {
        assert_eq!(decoded(&[0.0; 6], 3, 2), [0.0; 6]);
        let tiny = [1e-9, -2e-9, 0.0, 127e-9];
        let back = decoded(&tiny, 4, 4);
        assert!(tiny.iter().zip(&back).all(|(v, b)| (v - b).abs() < 6e-10), "{back:?}");
        assert_eq!(encode(&tiny, 4, 4).unwrap().scale_dtype, Dtype::F32);
        assert!(encode(&[f32::NAN], 1, 1).is_none() && encode(&[], 0, 1).is_none());
    }

    #[test]
    fn scales_that_do_not_fit_are_refused() {
        let label: Arc<str> = "x".into();
        let view = |name: &str, dtype, shape: Vec<usize>, bytes: usize| {
            (name.to_owned(), TensorView::new(name, &label, dtype, shape, Layout::Dense(vec![1; bytes].into())))
        };
        let file = |groups| {
            BTreeMap::from([
                view("w", Dtype::I8, vec![2, 5], 10),
                view("w.scale", Dtype::F32, vec![2, groups], 8 * groups),
            ])
        };
        let mut good = file(3);
        fold(&mut good, "int8-group:2", &label).unwrap();
        assert_eq!((good.len(), good["w"].dtype, good["w"].to_f32().unwrap().len()), (1, Dtype::F32, 10));
        let error = fold(&mut file(2), "int8-group:2", &label).unwrap_err().to_string();
        assert!(error.contains("tensor w: compact storage in groups of 2"), "{error}");
        assert!(fold(&mut file(3), "int4", &label).is_err());
        assert!(fold(&mut file(3), "int8-group:0", &label).is_err());
    }
}
