//! The allocator of the programs. A step of training frees and takes again the same gigabytes, and pages that the system
//! has to clear in between cost a tenth of its time (GPT-2, two cores: 4.6 s instead of 4.1 s): freed memory is kept
//! for a while before it goes back to the system.
#![expect(unsafe_code, reason = "mimalloc's options are set through its C interface")]

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings don't name.
const PURGE_DELAY: mi_option_t = 15;

/// How long freed memory is kept, in milliseconds.
const KEPT: std::ffi::c_long = 20_000;

/// Sets the time; `MIMALLOC_PURGE_DELAY` in the environment goes before it.
pub fn keep() {
    // SAFETY: an option that this version of mimalloc has; its functions may be called at any time.
    unsafe { mi_option_set_default(PURGE_DELAY, KEPT) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use libmimalloc_sys::mi_option_get;

    /// The option has the value that mimalloc documents for the delay, and then ours.
    #[test]
    fn the_option_is_the_delay() {
        // SAFETY: as in `keep`.
        let now = || unsafe { mi_option_get(PURGE_DELAY) };
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            assert_eq!(now(), 1000);
            keep();
            assert_eq!(now(), KEPT);
        }
    }
}
