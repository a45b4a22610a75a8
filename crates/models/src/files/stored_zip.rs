//! Zip archives as `torch.save` writes them: entries stored, not compressed, so that they can be used where they lie.
//! Reads the central directory (zip64 too). Checksums are not verified: that would read every weight once more.

use std::collections::HashMap;
use std::ops::Range;

use super::Error;

const END: &[u8] = b"PK\x05\x06";
const END_LENGTH: usize = 22;
const END64_LOCATOR: &[u8] = b"PK\x06\x07";
const END64_LOCATOR_LENGTH: usize = 20;
const END64: &[u8] = b"PK\x06\x06";
const END64_LENGTH: usize = 56;
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_LENGTH: usize = 46;
const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_LENGTH: usize = 30;
const MAX_COMMENT: usize = 0xffff;

/// Where the entries of an archive lie, by name.
pub(super) type Entries = HashMap<String, Range<usize>>;

pub(super) fn looks_like(file: &[u8]) -> bool {
    file.starts_with(LOCAL) || file.starts_with(END)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from(u16::from_le_bytes(*b)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from(u32::from_le_bytes(*b)))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// `length` bytes from `at` on that begin with `signature`.
fn record<'a>(file: &'a [u8], at: u64, length: usize, signature: &[u8]) -> Option<&'a [u8]> {
    let at = usize::try_from(at).ok()?;
    file.get(at..at.checked_add(length)?).filter(|record| record.starts_with(signature))
}

/// The entries of the archive `file`.
pub(super) fn entries(file: &[u8], label: &str) -> Result<Entries, Error> {
    let wrong = |problem: String| Error::Zip { label: label.to_owned(), problem };
    let (count, mut at) = directory(file)
        .ok_or_else(|| wrong("it has no directory at its end; it was cut off on its way here".into()))?;
    let mut entries = Entries::new();
    for number in 0..count {
        let cut = || wrong(format!("entry {number} of {count} lies outside the file"));
        let head = record(file, at, CENTRAL_LENGTH, CENTRAL).ok_or_else(cut)?;
        let field = |at| u16_at(head, at).ok_or_else(cut);
        let (flags, method) = (field(8)?, field(10)?);
        let (name, extra, comment) = (field(28)? as usize, field(30)? as usize, field(32)?);
        let rest = &file[at as usize + CENTRAL_LENGTH..];
        let name_bytes = rest.get(..name).ok_or_else(cut)?;
        let extra_bytes = rest.get(name..name + extra).ok_or_else(cut)?;
        let name_text = String::from_utf8_lossy(name_bytes).into_owned();
        at += CENTRAL_LENGTH as u64 + name as u64 + extra as u64 + comment;

        if method != 0 {
            return Err(wrong(format!("entry {name_text} is compressed, which torch.save never does")));
        }
        if flags & 1 != 0 {
            return Err(wrong(format!("entry {name_text} is encrypted")));
        }
        let (size, packed, local) = sizes(head, extra_bytes).ok_or_else(cut)?;
        let outside = || wrong(format!("entry {name_text} lies outside the file"));
        let local_head = record(file, local, LOCAL_LENGTH, LOCAL).ok_or_else(outside)?;
        let (Some(local_name), Some(local_extra)) = (u16_at(local_head, 26), u16_at(local_head, 28)) else {
            return Err(outside());
        };
        let start = local + LOCAL_LENGTH as u64 + local_name + local_extra;
        let end = start.checked_add(size).filter(|&end| end <= file.len() as u64 && size == packed);
        let range = start as usize..end.ok_or_else(outside)? as usize;
        if entries.insert(name_text.clone(), range).is_some() {
            return Err(wrong(format!("entry {name_text} is there twice")));
        }
    }
    Ok(entries)
}

/// The number of entries and where their list begins.
fn directory(file: &[u8]) -> Option<(u64, u64)> {
    let earliest = file.len().saturating_sub(END_LENGTH + MAX_COMMENT);
    let end = (earliest..=file.len().checked_sub(END_LENGTH)?).rev().find(|&at| file[at..].starts_with(END))?;
    let (count, start) = (u16_at(file, end + 10)?, u32_at(file, end + 16)?);
    let locator = end.checked_sub(END64_LOCATOR_LENGTH);
    let locator = locator.and_then(|at| record(file, at as u64, END64_LOCATOR_LENGTH, END64_LOCATOR));
    if let Some(locator) = locator {
        let end = record(file, u64_at(locator, 8)?, END64_LENGTH, END64)?;
        return Some((u64_at(end, 32)?, u64_at(end, 48)?));
    }
    Some((count, start))
}

/// Size, stored size and place of an entry; those that need 64 bits are in the extra field, in that order.
fn sizes(head: &[u8], extra: &[u8]) -> Option<(u64, u64, u64)> {
    const ELSEWHERE: u64 = 0xffff_ffff;
    let (mut packed, mut size, mut local) = (u32_at(head, 20)?, u32_at(head, 24)?, u32_at(head, 42)?);
    let mut fields = extra;
    while let (Some(id), Some(length)) = (u16_at(fields, 0), u16_at(fields, 2)) {
        let field = fields.get(4..4 + length as usize)?;
        fields = &fields[4 + length as usize..];
        if id == 1 {
            let mut at = 0;
            for value in [&mut size, &mut packed, &mut local] {
                if *value == ELSEWHERE {
                    *value = u64_at(field, at)?;
                    at += 8;
                }
            }
        }
    }
    Some((size, packed, local))
}
