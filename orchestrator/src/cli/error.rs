//! Errors as a user sees them: the traceback of the user's own code first, then `error`, `caused by`, `hint`; and the exit code.
//!
//! Errors below this module carry fields. Only this module words hints, and only here are flags named in them.

mod hint;

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use super::dead_letters::DeadLettersError;
use super::init::InitError;
use super::pools::PoolsError;
use super::receive::ReceiveError;
use super::send::SendError;
use super::state::{Failure, StateCommandError};
use super::terminal::printable;
use crate::control::client::ClientError;
use crate::interpreter::{Diagnosis, InterpreterError};
use crate::runtime::{RunError, StateError};
use crate::sink::SinkError;
use crate::worker::pool::PoolError;

use self::hint::Hint;

/// How the command ended; documented in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// The application failed while it ran.
    Failed = 1,
    /// The command line is wrong. clap uses this code itself.
    Usage = 2,
    /// The application or its interpreter could not be loaded.
    Load = 3,
    /// A port or a path is in use or cannot be used.
    Busy = 4,
    /// No application answers at the control socket.
    Absent = 5,
    /// Stopped at once.
    Interrupted = 130,
}

/// Why a subcommand failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// There is no Python to run.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// The Python cannot run workers.
    #[error(transparent)]
    UnfitInterpreter(#[from] Diagnosis),
    /// The definitions of pools are wrong.
    #[error(transparent)]
    Pools(#[from] PoolsError),
    /// The run failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// `send` failed.
    #[error(transparent)]
    Send(#[from] SendError),
    /// `receive` failed.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The run has ended, but part of its input was not read.
    #[error("the rest of {input} was not read: {reason}")]
    InputLeft {
        /// The file, stream or generator.
        input: String,
        /// Why.
        reason: String,
    },
    /// The run has ended, and every message has failed.
    #[error("all {messages} messages became dead letters")]
    NothingProcessed {
        /// Messages that entered.
        messages: u64,
    },
    /// A running application could not be reached, or refused the request.
    #[error(transparent)]
    Control(#[from] ClientError),
    /// `dead-letters` failed.
    #[error(transparent)]
    DeadLetters(#[from] DeadLettersError),
    /// `state` failed.
    #[error(transparent)]
    State(#[from] StateCommandError),
    /// `init` failed.
    #[error(transparent)]
    Init(#[from] InitError),
    /// Options that contradict each other.
    #[error("{0}")]
    Usage(&'static str),
    /// `top` needs a terminal to draw on.
    #[error("standard output is not a terminal")]
    NoTerminal,
    /// The operating system refused something before the subcommand began.
    #[error("cannot start")]
    Start(#[from] std::io::Error),
}

impl CliError {
    /// The text for standard error.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Some(traceback) = self.traceback() {
            text.push_str(traceback);
            if !traceback.is_empty() && !traceback.ends_with('\n') {
                text.push('\n');
            }
        }
        let _ = writeln!(text, "error: {self}");
        let mut source = self.source();
        while let Some(cause) = source {
            let _ = writeln!(text, "  caused by: {cause}");
            source = cause.source();
        }
        if let Some(hint) = self.hint() {
            let _ = writeln!(text, "hint: {hint}");
        }
        // Messages may quote the user's data.
        printable(&text)
    }

    /// The code the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit() as u8)
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Interpreter(_) | Self::UnfitInterpreter(_) => Exit::Load,
            Self::Run(error) => run_exit(error),
            Self::Control(error) if error.is_absent() => Exit::Absent,
            Self::Receive(error) if error.is_busy() => Exit::Busy,
            Self::Init(_) | Self::DeadLetters(DeadLettersError::File(_)) => Exit::Busy,
            Self::DeadLetters(error) if error.is_usage() => Exit::Usage,
            Self::State(error) => match error.failure() {
                Failure::Data => Exit::Failed,
                Failure::Usage => Exit::Usage,
                Failure::Load => Exit::Load,
                Failure::File => Exit::Busy,
            },
            Self::NoTerminal | Self::Pools(_) | Self::Usage(_) => Exit::Usage,
            Self::Send(_)
            | Self::Receive(_)
            | Self::Control(_)
            | Self::DeadLetters(_)
            | Self::InputLeft { .. }
            | Self::NothingProcessed { .. }
            | Self::Start(_) => Exit::Failed,
        }
    }

    /// What the user's own code, or its interpreter, printed.
    fn traceback(&self) -> Option<&str> {
        match self {
            Self::Run(RunError::Pool(error)) => match error.bare() {
                PoolError::Refused(refused) => refused.traceback.as_deref(),
                PoolError::Start { last_lines, .. } => Some(last_lines),
                _ => None,
            },
            Self::Run(RunError::MessageFailed { traceback, .. }) => Some(traceback),
            Self::Control(ClientError::Refused(refusal)) => refusal.details.as_deref(),
            _ => None,
        }
    }
}

fn run_exit(error: &RunError) -> Exit {
    match error {
        RunError::Pool(_) | RunError::Plan(_) | RunError::UnknownPool { .. } => Exit::Load,
        RunError::Source(_)
        | RunError::SourceChanged { .. }
        | RunError::DeadLetters(_)
        | RunError::SameFile { .. }
        | RunError::OwnSource { .. }
        | RunError::Control(_)
        | RunError::State(StateError::Changed { .. } | StateError::Unreadable(_) | StateError::Log(_))
        | RunError::Sink(SinkError::Create { .. } | SinkError::Shorter { .. }) => Exit::Busy,
        RunError::Interrupted { .. }
        | RunError::InterruptedLate
        | RunError::InterruptedEarly
        | RunError::Stopped { .. } => Exit::Interrupted,
        RunError::Sink(_)
        | RunError::Engine(_)
        | RunError::MessageFailed { .. }
        | RunError::TooManyDeadLetters { .. }
        | RunError::LocalSocket(_)
        | RunError::Signals(_) => Exit::Failed,
    }
}

#[cfg(test)]
mod tests;
