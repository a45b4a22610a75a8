//! The peak memory of this process, as Linux tells it.

use anyhow::{Context, Result};

/// The largest resident size so far, bytes.
pub fn peak() -> Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("peak memory is read from /proc, which Linux has")?;
    parse(&status).context("no line `VmHWM: N kB` in /proc/self/status")
}

fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
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
