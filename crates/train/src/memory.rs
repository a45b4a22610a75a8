//! The memory of this process at its highest, as Linux tells it (`VmHWM` of proc_pid_status(5)).

use std::path::Path;

use crate::error::{Error, Result};

/// The largest resident size so far, bytes.
///
/// # Errors
/// Where the system has no `/proc`.
pub fn peak() -> Result<u64> {
    let path = Path::new("/proc/self/status");
    let status =
        std::fs::read_to_string(path).map_err(|source| Error::File { action: "read", path: path.into(), source })?;
    parse(&status).ok_or_else(|| {
        Error::Input("/proc/self/status has no line `VmHWM: N kB`: this system does not tell the peak of memory".into())
    })
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_found() {
        assert_eq!(parse("Name:\tx\nVmHWM:\t    1204 kB\nVmRSS:\t 1 kB\n"), Some(1204 * 1024));
        assert_eq!(parse("VmRSS:\t 1 kB\n"), None);
        assert_eq!(parse("VmHWM:\t lots\n"), None);
    }
}
