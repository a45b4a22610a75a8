//! Files as memory, and bytes as numbers.

use std::fs::File;
use std::io;

use memmap2::Mmap;

/// Maps a whole file for reading. Nothing is read until it is touched.
///
/// Whoever shortens the file while it is mapped makes the program stop with a bus error when it touches what is
/// gone; replacing the file by a rename, as ptm and Python's hub library do, is safe.
///
/// # Errors
/// When the operating system can't map it.
pub fn map_file(file: &File) -> io::Result<Mmap> {
    // SAFETY: the mapping is read-only; that others don't change the file under it is the caller's trust in the
    // model directory, as documented above.
    unsafe { Mmap::map(file) }
}

/// The same of a file that is read whole and often, such as a model's weights: in pages of 2 MB where the system has them
/// for files, which are read a fifth faster than pages of 4 kB, or more.
///
/// # Errors
/// As [`map_file`].
pub fn map_whole(file: &File) -> io::Result<Mmap> {
    let mapped = map_file(file)?;
    // a wish: where it can't be had, small pages do
    #[cfg(target_os = "linux")]
    let _ = mapped.advise(memmap2::Advice::HugePage);
    Ok(mapped)
}

/// The bytes as f32 of this machine's byte order, if their number and alignment allow it.
pub fn f32_slice(bytes: &[u8]) -> Option<&[f32]> {
    // SAFETY: every bit pattern is an f32, and `align_to` splits off what isn't aligned.
    let (before, values, after) = unsafe { bytes.align_to::<f32>() };
    (before.is_empty() && after.is_empty()).then_some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_aligned_bytes_are_numbers() {
        let values = [1.0_f32, -2.0];
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
        let aligned = bytes.as_ptr().align_offset(4) == 0;
        assert_eq!(f32_slice(&bytes), aligned.then_some(&values[..]));
        assert_eq!(f32_slice(&bytes[..7]), None);
        assert_eq!(f32_slice(&bytes[1..5]), None);
    }
}
