//! Short pieces of work in a row, for which no thread falls asleep.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Whether some thread runs such a row already.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Others look out so long at most: a row that takes longer has no short pieces. It also bounds how long whatever a
/// thread was waiting for, when it began to look out, has to wait for it.
const LONGEST: Duration = Duration::from_millis(100);

/// Sets a flag, in a panic too.
struct Setting<'a>(&'a AtomicBool, bool);

impl Drop for Setting<'_> {
    fn drop(&mut self) {
        self.0.store(self.1, Ordering::Release);
    }
}

/// Runs `f`, in which many short pieces of work for all threads follow each other, such as the layers of one token. The
/// other threads of the pool look out for the next piece instead of falling asleep in between: to wake one takes longer
/// than such a piece. One such row at a time; from a thread outside the pool, or while another runs, it is `f` alone.
pub fn awake<R>(f: impl FnOnce() -> R) -> R {
    let Some(own) = rayon::current_thread_index().filter(|_| !RUNNING.swap(true, Ordering::AcqRel)) else {
        return f();
    };
    let _stopped = Setting(&RUNNING, false);
    let (over, begun) = (AtomicBool::new(false), Instant::now());
    rayon::in_place_scope(|scope| {
        scope.spawn_broadcast(|_, thread| {
            while thread.index() != own && !over.load(Ordering::Acquire) && begun.elapsed() < LONGEST {
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    std::thread::yield_now();
                }
            }
        });
        let _over = Setting(&over, true);
        f()
    })
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    fn sum() -> u64 {
        (0..1000_u32).into_par_iter().with_max_len(1).map(u64::from).sum()
    }

    #[test]
    fn work_is_done_as_without() {
        assert_eq!(awake(sum), 499_500);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| {
            for _ in 0..100 {
                assert_eq!(awake(|| (0..10).map(|_| sum()).sum::<u64>()), 4_995_000);
            }
            // rows within rows, on several threads at once
            (0..20).into_par_iter().for_each(|_| assert_eq!(awake(|| awake(sum)), 499_500));
        });
    }

    #[test]
    fn a_panic_ends_it() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let caught = pool.install(|| std::panic::catch_unwind(|| awake(|| panic!("wanted"))));
        assert!(caught.is_err() && pool.install(|| awake(sum)) == 499_500);
    }
}
