//! How a command ends: 0 done, 1 the thing asked for failed, 2 wrong usage.

use crate::terminal::complain;
use std::io;
use std::process::ExitCode;

/// A command that ran to its end.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// What was asked for is done.
    Done,
    /// It failed, and the command has already said how.
    Failed,
}

/// The command line or the environment asks for something that makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongUsage(pub(crate) String);

/// Says what went wrong and picks the exit code. A reader that went away is no failure.
pub(crate) fn conclude(result: anyhow::Result<Outcome>) -> ExitCode {
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::from(if error.is::<WrongUsage>() { 2 } else { 1 })
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_wrong_usage_is_two() {
        let left = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("while printing");
        assert_eq!(format!("{:?}", conclude(Err(left))), format!("{:?}", ExitCode::SUCCESS));
        let usage = anyhow::Error::from(WrongUsage("no".into()));
        assert_eq!(format!("{:?}", conclude(Err(usage))), format!("{:?}", ExitCode::from(2)));
        assert_eq!(format!("{:?}", conclude(Err(anyhow::anyhow!("x")))), format!("{:?}", ExitCode::from(1)));
    }
}
