//! The instruction set is chosen while the program runs: one body, compiled for AVX-512, for AVX2 and for the
//! baseline of the target (SSE2 on x86-64, NEON on Arm), and called through [`level`].

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// An instruction set that bodies are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Whatever every processor of the target has.
    Portable,
    /// AVX2 with fused multiply-add.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    /// All of them, the slowest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Its name, as `PTM_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// The best that this processor has.
pub fn detected() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => return Level::Avx512,
            (true, false) => return Level::Avx2,
            _ => {}
        }
    }
    Level::Portable
}

/// The level in use: a [`Level`]'s number and one, 0 before the first question.
static IN_USE: AtomicU8 = AtomicU8::new(0);

/// Held while a level is forced.
static FORCING: Mutex<()> = Mutex::new(());

/// The level in use: the best that the processor has, or a lower one named by the environment variable `PTM_SIMD`
/// (`portable`, `avx2`, `avx512`).
#[inline]
pub fn level() -> Level {
    match IN_USE.load(Relaxed) {
        0 => choose(),
        1 => Level::Portable,
        2 => Level::Avx2,
        _ => Level::Avx512,
    }
}

#[cold]
fn choose() -> Level {
    let asked = std::env::var("PTM_SIMD").ok();
    let asked = asked.and_then(|name| Level::ALL.into_iter().find(|l| l.name() == name));
    let level = asked.map_or_else(detected, |level| level.min(detected()));
    // a level forced meanwhile stays
    let _ = IN_USE.compare_exchange(0, level as u8 + 1, Relaxed, Relaxed);
    level
}

/// Runs `f` with every thread at `level`, or at what the processor has when that is less. For tests that compare
/// levels; one such call runs at a time, and a call inside another would wait forever.
pub fn with_level<R>(level: Level, f: impl FnOnce() -> R) -> R {
    struct Restore(u8);
    impl Drop for Restore {
        fn drop(&mut self) {
            IN_USE.store(self.0, Relaxed);
        }
    }
    let _one_at_a_time = FORCING.lock().unwrap_or_else(PoisonError::into_inner);
    let _restore = Restore(IN_USE.swap(level.min(detected()) as u8 + 1, Relaxed));
    f()
}

/// Compiles a function's body for every [`Level`] and picks one at each call.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn avx512($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                match $crate::simd::level() {
                    // SAFETY: `level` never exceeds what `detected` found on this processor.
                    $crate::simd::Level::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: as above.
                    $crate::simd::Level::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::Level::Portable => {}
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use multiversion;
