//! Which texts are model ids, revisions, commits, file names and ETags. The latter three come from a server and become
//! paths, so they are as strict as can be.

use super::Error;

/// `name` or `organisation/name`, by the rules of Python's library.
pub(super) fn check_id(id: &str) -> Result<(), Error> {
    let wrong = |problem| Err(Error::BadId { id: id.chars().take(200).collect(), problem });
    let (organisation, name) = id.split_once('/').map_or((None, id), |(organisation, name)| (Some(organisation), name));
    for part in organisation.into_iter().chain([name]) {
        if part.is_empty() {
            return wrong("it has an empty part");
        }
        if part.contains('/') {
            return wrong("it has more than one slash");
        }
        if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return wrong("letters, digits, `-`, `_` and `.` are allowed");
        }
        if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
            return wrong("a part must not begin or end with `-` or `.`");
        }
        if part.len() > 96 {
            return wrong("a part is longer than 96 characters");
        }
    }
    if id.contains("--") || id.contains("..") {
        return wrong("`--` and `..` are not allowed");
    }
    if name.strip_suffix(".git").is_some() {
        return wrong("it must not end in `.git`");
    }
    Ok(())
}

/// A branch, a tag, a commit, `refs/pr/N`: what git allows, and no path out of the cache.
pub(super) fn check_revision(revision: &str) -> Result<(), Error> {
    let allowed = |c: char| !c.is_control() && !" ~^:?*[\\".contains(c);
    let good = is_relative_path(revision) && revision.len() <= 255 && revision.chars().all(allowed);
    if good { Ok(()) } else { Err(Error::BadRevision { revision: revision.chars().take(200).collect() }) }
}

/// The full name of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// SHA-256, which is the ETag of large files.
pub(super) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Parts between single slashes, none of them special: a path that stays below where it is put.
pub(super) fn is_relative_path(text: &str) -> bool {
    text.split('/').all(|part| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0', ':']))
}

/// An ETag as a file name: without quotes and weakness. `None` when it would make a strange one.
pub(super) fn normal_etag(header: &str) -> Option<String> {
    let etag = header.trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    let good = (1..=200).contains(&etag.len())
        && !etag.starts_with('.')
        && etag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    good.then(|| etag.to_owned())
}

/// Text for a URL: all but letters, digits, `-_.~` and what is in `keep` as `%XX`.
pub(super) fn quote(text: &str, keep: &[u8]) -> String {
    let mut quoted = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || keep.contains(&byte) {
            quoted.push(byte as char);
        } else {
            quoted.push('%');
            quoted.push_str(&hex(&[byte]).to_uppercase());
        }
    }
    quoted
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// `models--organisation--name`.
pub(super) fn folder(id: &str) -> String {
    format!("models--{}", id.replace('/', "--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for id in ["gpt2", "google/electra-small", "a/b_c.d-e", "x/1"] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        let long = "x".repeat(97);
        for id in
            ["", "/", "a/", "/a", "a/b/c", "a b", "a--b", "a..b", "-a", "a.", "../a", "a/b.git", "é", "a\0", &long]
        {
            assert!(check_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn revisions() {
        for revision in ["main", "refs/pr/3", "v1.0", "feature/x"] {
            assert!(check_revision(revision).is_ok(), "{revision}");
        }
        for revision in ["", "../main", "a/../b", "/etc", "a//b", "a b", "a\n", "a\\b", "c:d"] {
            assert!(check_revision(revision).is_err(), "{revision}");
        }
    }

    #[test]
    fn etags_become_file_names_only_when_harmless() {
        assert_eq!(normal_etag("W/\"abc-1\"").as_deref(), Some("abc-1"));
        assert_eq!(normal_etag("\"abc\"").as_deref(), Some("abc"));
        for etag in ["", "\"\"", "\"../x\"", "a/b", "..", "a b", &"a".repeat(201)] {
            assert_eq!(normal_etag(etag), None, "{etag}");
        }
    }

    #[test]
    fn quoting() {
        assert_eq!(quote("refs/pr/1", b""), "refs%2Fpr%2F1");
        assert_eq!(quote("a b/ü?#%", b"/"), "a%20b/%C3%BC%3F%23%25");
    }
}
