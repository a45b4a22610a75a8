//! Bytes of a file into numbers, on all cores: half precisions, doubles and strided views into dense f32.
//! Files are little-endian; so is the result.

use bytes::Bytes;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;

/// Elements a task: enough to outweigh its start, few enough to spread.
const CHUNK: usize = 1 << 16;

/// Numbers as shared bytes, without a copy. The allocation is aligned for them.
pub(super) fn owned(values: Vec<f32>) -> Bytes {
    struct Owner(Vec<f32>);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(values.into_iter().map(little_endian).collect()))
}

/// Whether the bytes may be looked at as f32. No bytes at an odd address may not: casts check the address first.
pub(super) fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().align_offset(align_of::<f32>()) == 0 && ptm_kernels::mapped::f32_slice(bytes).is_some()
}

/// On a little-endian machine, every one that ptm is tested on, this does nothing and the loop around it vanishes.
fn little_endian(value: f32) -> f32 {
    f32::from_bits(value.to_bits().to_le())
}

/// The elements as f32, `None` when the type is not a floating-point one of 16, 32 or 64 bits.
pub(super) fn to_f32(bytes: &[u8], dtype: Dtype) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => each::<4>(bytes, |from, to| {
            for (from, to) in from.iter().zip(to) {
                *to = f32::from_le_bytes(*from);
            }
        }),
        Dtype::F64 => each::<8>(bytes, |from, to| {
            for (from, to) in from.iter().zip(to) {
                *to = f64::from_le_bytes(*from) as f32;
            }
        }),
        Dtype::BF16 => each::<2>(bytes, |from, to| {
            for (from, to) in from.iter().zip(to) {
                *to = bf16::from_le_bytes(*from).to_f32();
            }
        }),
        Dtype::F16 => each::<2>(bytes, |from, to| {
            // a slice at a time: one look at what the processor can do, not one a number
            let mut part = [f16::ZERO; 256];
            for (from, to) in from.chunks(part.len()).zip(to.chunks_mut(part.len())) {
                for (from, to) in from.iter().zip(&mut part) {
                    *to = f16::from_le_bytes(*from);
                }
                part[..from.len()].convert_to_f32_slice(to);
            }
        }),
        _ => return None,
    })
}

fn each<const N: usize>(bytes: &[u8], convert: impl Fn(&[[u8; N]], &mut [f32]) + Sync) -> Vec<f32> {
    let (from, _) = bytes.as_chunks::<N>();
    let mut values = vec![0.0; from.len()];
    values.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| convert(from, to));
    values
}

/// The elements as whole numbers, `None` when the type is no such, or a number too large.
pub(super) fn to_i64(bytes: &[u8], dtype: Dtype) -> Option<Vec<i64>> {
    macro_rules! read {
        ($kind:ty) => {
            bytes.as_chunks().0.iter().map(|from| i64::try_from(<$kind>::from_le_bytes(*from)).ok()).collect()
        };
    }
    match dtype {
        Dtype::BOOL | Dtype::U8 => read!(u8),
        Dtype::I8 => read!(i8),
        Dtype::I16 => read!(i16),
        Dtype::U16 => read!(u16),
        Dtype::I32 => read!(i32),
        Dtype::U32 => read!(u32),
        Dtype::I64 => read!(i64),
        Dtype::U64 => read!(u64),
        _ => None,
    }
}

/// A strided view, row by row. The reader has checked that its last element is in `storage`.
pub(super) fn gather(storage: &[u8], offset: usize, shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let elements: usize = shape.iter().product();
    let mut bytes = vec![0; elements * size];
    bytes.par_chunks_mut(CHUNK * size).enumerate().for_each(|(chunk, to)| {
        let mut index = vec![0; shape.len()];
        let mut rest = chunk * CHUNK;
        for (i, length) in index.iter_mut().zip(shape).rev() {
            *i = rest % length;
            rest /= length;
        }
        let mut at: usize = offset + index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>();
        for to in to.chunks_exact_mut(size) {
            to.copy_from_slice(&storage[at * size..][..size]);
            for axis in (0..shape.len()).rev() {
                index[axis] += 1;
                at += strides[axis];
                if index[axis] < shape[axis] {
                    break;
                }
                at -= index[axis] * strides[axis];
                index[axis] = 0;
            }
        }
    });
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn le<const N: usize>(values: impl IntoIterator<Item = [u8; N]>) -> Vec<u8> {
        values.into_iter().flatten().collect()
    }

    #[test]
    fn every_floating_point_type() {
        let values = [0.0, -1.5, 65504.0, 6.103_515_6e-5, f32::INFINITY, 0.099_975_586];
        assert_eq!(to_f32(&le(values.map(f32::to_le_bytes)), Dtype::F32).unwrap(), values);
        assert_eq!(to_f32(&le(values.map(|v| f64::from(v).to_le_bytes())), Dtype::F64).unwrap(), values);
        assert_eq!(to_f32(&le(values.map(|v| f16::from_f32(v).to_le_bytes())), Dtype::F16).unwrap(), values);
        let short = [1.0, -3.0, 0.5, f32::NEG_INFINITY];
        assert_eq!(to_f32(&le(short.map(|v| bf16::from_f32(v).to_le_bytes())), Dtype::BF16).unwrap(), short);
        assert!(to_f32(&[0; 8], Dtype::I64).is_none());
    }

    #[test]
    fn long_halves_across_chunks() {
        let values: Vec<f32> = (0..3 * CHUNK + 77).map(|i| (i % 2048) as f32).collect();
        let bytes = le(values.iter().map(|&v| f16::from_f32(v).to_le_bytes()));
        assert_eq!(to_f32(&bytes, Dtype::F16).unwrap(), values);
    }

    #[test]
    fn whole_numbers_of_every_width() {
        assert_eq!(to_i64(&le([-2_i32, 7].map(i32::to_le_bytes)), Dtype::I32).unwrap(), [-2, 7]);
        assert_eq!(to_i64(&[1, 0, 255], Dtype::U8).unwrap(), [1, 0, 255]);
        assert_eq!(to_i64(&[255], Dtype::I8).unwrap(), [-1]);
        assert!(to_i64(&u64::MAX.to_le_bytes(), Dtype::U64).is_none());
        assert!(to_i64(&[0; 4], Dtype::F32).is_none());
    }

    #[test]
    fn views_are_laid_out_row_by_row() {
        let storage: Vec<u8> = (0..24).collect();
        // [2, 3] of two-byte elements, transposed, from element 1 on
        let view = gather(&storage, 1, &[2, 3], &[1, 4], 2);
        assert_eq!(view, [2, 3, 10, 11, 18, 19, 4, 5, 12, 13, 20, 21]);
        assert_eq!(gather(&storage, 5, &[], &[], 1), [5]);
        assert_eq!(gather(&storage, 0, &[3, 0], &[1, 1], 1), [0; 0]);
    }

    #[test]
    fn a_long_view_across_chunks() {
        let side = 400;
        let storage: Vec<u8> = (0..side * side).map(|i| (i % 251) as u8).collect();
        let turned = gather(&storage, 0, &[side, side], &[1, side], 1);
        assert!((0..side * side).all(|i| turned[i] == storage[i % side * side + i / side]));
    }
}
