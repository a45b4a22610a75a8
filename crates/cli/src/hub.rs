//! Models by directory or id: the library's hub with this program's progress bar.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ptm_models::hub::{self, Hub};

use crate::progress::{Progress, Unit};

/// The directory of a model: a directory as it is, else from the cache or the hub.
///
/// # Errors
/// When there is neither, or it cannot be fetched.
pub fn resolve(wanted: &str, revision: Option<&str>, quiet: bool) -> Result<PathBuf, hub::Error> {
    let hub = Hub::from_env();
    let quiet = quiet || !hub.settings().progress_bars;
    hub.with_progress(Arc::new(Download { quiet, file: Mutex::new(None) })).resolve(wanted, revision, &[])
}

/// Shows the file that is being fetched.
struct Download {
    quiet: bool,
    file: Mutex<Option<(Progress, u64)>>,
}

impl hub::Progress for Download {
    fn start(&self, file: &str, total: Option<u64>) {
        let progress = Progress::new(Unit::Bytes(file.to_owned()), total, self.quiet);
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some((progress, 0));
    }

    fn advance(&self, bytes: u64) {
        if let Some((progress, done)) = &mut *self.file.lock().unwrap_or_else(PoisonError::into_inner) {
            *done += bytes;
            progress.at(*done);
        }
    }

    fn finish(&self) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
