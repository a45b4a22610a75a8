//! How a command ends when it cannot go on: one sentence on standard error, often a hint, and the exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use crate::report;

/// An error with a way out.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    hint: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// What was wrong, and what to do.
pub fn hinted(sentence: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure { sentence: sentence.into(), hint: hint.into() }.into()
}

/// A negative answer: everything was done, and it does not suffice.
#[derive(Debug)]
pub struct Negative(pub String);

impl fmt::Display for Negative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Negative {}

/// Ctrl-C was pressed.
#[derive(Debug)]
pub struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// Says on standard error what went wrong, if anything did.
pub fn exit_code(done: anyhow::Result<()>) -> ExitCode {
    let Err(error) = done else { return ExitCode::SUCCESS };
    if error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
    {
        // whoever read the answers has enough of them
        return ExitCode::SUCCESS;
    }
    if error.is::<Stopped>() {
        return ExitCode::from(130);
    }
    if let Some(Negative(answer)) = error.downcast_ref() {
        report::note(answer);
        return ExitCode::from(1);
    }
    report::error(&sentence(&error));
    if let Some(failure) = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()) {
        report::hint(&failure.hint);
    }
    ExitCode::from(2)
}

/// What went wrong as one line, with the way out.
pub fn said(error: &anyhow::Error) -> String {
    let hint = error.chain().find_map(|cause| cause.downcast_ref::<Failure>()).map(|failure| failure.hint.as_str());
    hint.map_or_else(|| sentence(error), |hint| format!("{} ({hint})", sentence(error)))
}

/// The chain of causes as one line. Many errors print their cause themselves: it isn't said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_follow_once() {
        let inner = io::Error::other("disk full");
        let error = Err::<(), _>(inner).context("a.npy: cannot write").unwrap_err();
        assert_eq!(sentence(&error), "a.npy: cannot write: disk full");
        let inner = io::Error::other("disk full");
        let error = Err::<(), _>(inner).context("a.npy: disk full").unwrap_err();
        assert_eq!(sentence(&error), "a.npy: disk full");
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let pipe = io::Error::from(io::ErrorKind::BrokenPipe);
        let code = exit_code(Err::<(), _>(pipe).context("standard output"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
        assert_eq!(format!("{:?}", exit_code(Err(Stopped.into()))), format!("{:?}", ExitCode::from(130)));
    }
}
