//! Event files as TensorBoard reads them: records of TensorFlow's format, each a length, a protobuf message and
//! their checksums. Only scalars.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, Result};

/// An event file under construction.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Events {
    /// Begins a file in `dir`, named by the time.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(format!("events.out.tfevents.{:010}.{}.ptm", now() as u64, std::process::id()));
        let failed = |source| Error::File { action: "write", path: path.clone(), source };
        let file = BufWriter::new(File::create(&path).map_err(failed)?);
        let mut events = Self { path, file };
        let mut message = double(1, now());
        message.extend(bytes(3, b"brain.Event:2"));
        events.record(&message)?;
        Ok(events)
    }

    /// Adds a number of the curve `tag`.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<()> {
        self.record(&scalar(now(), tag, step, value))
    }

    /// Writes what is held back.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn flush(&mut self) -> Result<()> {
        let done = self.file.flush();
        done.map_err(|source| Error::File { action: "write", path: self.path.clone(), source })
    }

    fn record(&mut self, message: &[u8]) -> Result<()> {
        let length = (message.len() as u64).to_le_bytes();
        let mut record = length.to_vec();
        record.extend(masked(&length).to_le_bytes());
        record.extend(message);
        record.extend(masked(message).to_le_bytes());
        let done = self.file.write_all(&record);
        done.map_err(|source| Error::File { action: "write", path: self.path.clone(), source })
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// An `Event` with a `Summary` of one value.
fn scalar(time: f64, tag: &str, step: u64, value: f32) -> Vec<u8> {
    let mut inner = bytes(1, tag.as_bytes());
    inner.push(2 << 3 | 5);
    inner.extend(value.to_le_bytes());
    let mut message = double(1, time);
    message.push(2 << 3);
    message.extend(varint(step));
    message.extend(bytes(5, &bytes(1, &inner)));
    message
}

fn double(field: u8, value: f64) -> Vec<u8> {
    let mut out = vec![field << 3 | 1];
    out.extend(value.to_le_bytes());
    out
}

fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    out.extend(varint(value.len() as u64));
    out.extend(value);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// The checksum as records have it: rotated, so that sums of sums don't cancel.
fn masked(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8)
}

/// The Castagnoli checksum, bit by bit: records are short.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // the check value of RFC 3720, and its appendix's 32 zeros
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
    }

    #[test]
    fn a_scalar_is_an_event() {
        let message = scalar(1.5, "a/b", 300, 0.25);
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x3F, 0x10, 0xAC, 0x02, 0x2A, 0x0C, 0x0A, 0x0A];
        expected.extend([0x0A, 3, b'a', b'/', b'b', 0x15, 0, 0, 0x80, 0x3E]);
        assert_eq!(message, expected);
    }

    #[test]
    fn records_are_summed() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::create(dir.path()).unwrap();
        events.scalar("loss", 1, 0.5).unwrap();
        events.flush().unwrap();
        let data = std::fs::read(&events.path).unwrap();
        let (mut at, mut count) = (0, 0);
        while at < data.len() {
            let length = u64::from_le_bytes(data[at..at + 8].try_into().unwrap()) as usize;
            assert_eq!(data[at + 8..at + 12], masked(&data[at..at + 8]).to_le_bytes());
            let end = at + 12 + length;
            assert_eq!(data[end..end + 4], masked(&data[at + 12..end]).to_le_bytes());
            (at, count) = (end + 4, count + 1);
        }
        assert_eq!(count, 2);
    }
}
