//! All vectors as one file: NumPy's `.npy` (format 1.0), or safetensors with one tensor `embeddings` of shape
//! `[texts, dimension]`. A `.jsonl` file is written line by line, as that of other answers.

use std::path::{Path, PathBuf};

use crate::failure::hinted;

/// A file for vectors, of a kind that its name says.
#[derive(Clone, Debug)]
pub struct VectorFile {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Npy,
    Safetensors,
}

impl VectorFile {
    /// The kind follows from the name's ending.
    ///
    /// # Errors
    /// When the ending is neither of the two.
    pub fn new(path: &Path) -> anyhow::Result<Self> {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Kind::Npy,
            Some("safetensors") => Kind::Safetensors,
            _ => {
                return Err(hinted(
                    format!("{}: the ending does not say which kind of file is wanted", path.display()),
                    "end the name in .npy, .jsonl or .safetensors",
                ));
            }
        };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(hinted(
                format!("{}: there is no directory {}", path.display(), folder.display()),
                "make it first, nothing has been computed yet",
            ));
        }
        if path.is_dir() {
            return Err(hinted(format!("{}: this is a directory", path.display()), "name a file"));
        }
        Ok(Self { path: path.to_owned(), kind })
    }

    /// Writes all vectors, each `dimension` long; the file appears when it is whole.
    ///
    /// # Errors
    /// When the directory is missing or not writable, or the disk is full.
    pub fn write(&self, vectors: &[Vec<f32>], dimension: usize) -> anyhow::Result<()> {
        let written = match self.kind {
            Kind::Npy => ptm_models::files::write_atomic(&self.path, &npy(vectors, dimension)),
            Kind::Safetensors => {
                let tensor = ("embeddings".to_owned(), vec![vectors.len(), dimension], vectors.concat());
                ptm_models::files::write_safetensors(&self.path, [tensor])
            }
        };
        // the error names the file
        Ok(written?)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn npy(vectors: &[Vec<f32>], dimension: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {dimension}), }}", vectors.len());
    // magic, version and length take ten bytes, the line end one; the data begin at a multiple of 64
    let padding = (64 - (10 + header.len() + 1) % 64) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(vectors.iter().flatten().flat_map(|value| value.to_le_bytes()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn npy_is_aligned_and_whole() {
        let bytes = npy(&[vec![1.0, 2.0], vec![3.0, -4.5], vec![0.0, 0.25]], 2);
        let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
        assert_eq!((10 + length) % 64, 0);
        let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
        assert!(header.starts_with("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }"));
        assert!(header.ends_with('\n'));
        assert_eq!(bytes.len(), 10 + length + 6 * 4);
        assert_eq!(bytes[bytes.len() - 8 - 4..bytes.len() - 8], (-4.5_f32).to_le_bytes());
    }

    #[test]
    fn the_ending_is_the_kind() {
        assert_eq!(VectorFile::new(Path::new("a.npy")).unwrap().kind, Kind::Npy);
        assert!(VectorFile::new(Path::new("a.txt")).is_err());
        assert!(VectorFile::new(Path::new("npy")).is_err());
    }
}
