//! Errors as a user sees them: their own traceback first, then `error`, `caused by`, `hint`; and the exit code.

use std::error::Error;
use std::fmt::Write as _;
use std::process::ExitCode;

use crate::cli::{DeadLettersError, InitError, PoolsError, ReceiveError, SendError};
use crate::control::client::ClientError;
use crate::interpreter::{Diagnosis, InterpreterError};
use crate::runtime::RunError;
use crate::sink::SinkError;
use crate::source::SourceError;
use crate::worker::pool::PoolError;

/// How the command ended; documented in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The application failed while it ran.
    Failed = 1,
    /// The command line is wrong. clap uses this code itself.
    Usage = 2,
    /// The application, or its interpreter, could not be loaded.
    Load = 3,
    /// A port or a path is busy or cannot be used.
    Busy = 4,
    /// No application answers at the control socket.
    Absent = 5,
    /// Stopped at once.
    Interrupted = 130,
}

/// Everything a subcommand can fail with.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// No Python to run.
    #[error(transparent)]
    Interpreter(#[from] InterpreterError),
    /// The Python there is cannot run workers.
    #[error(transparent)]
    UnfitInterpreter(#[from] Diagnosis),
    /// Pools are not defined as they have to be.
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
    /// A running application could not be reached, or said no.
    #[error(transparent)]
    Control(#[from] ClientError),
    /// `dead-letters` failed.
    #[error(transparent)]
    DeadLetters(#[from] DeadLettersError),
    /// `init` failed.
    #[error(transparent)]
    Init(#[from] InitError),
    /// `top` has nothing to draw on.
    #[error("standard output is no terminal")]
    NoTerminal,
    /// The machine does not even let the command begin.
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
        text
    }

    /// The code the process exits with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit() as u8)
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Interpreter(_) | Self::UnfitInterpreter(_) => Exit::Load,
            Self::Run(error) => match error {
                RunError::Pool(_) | RunError::Plan(_) | RunError::UnknownPool { .. } => Exit::Load,
                RunError::Source(_)
                | RunError::DeadLetters(_)
                | RunError::Control(_)
                | RunError::Sink(SinkError::Create { .. }) => Exit::Busy,
                RunError::Interrupted { .. }
                | RunError::InterruptedLate
                | RunError::InterruptedEarly
                | RunError::Stopped { .. } => Exit::Interrupted,
                RunError::Sink(_) | RunError::Engine(_) | RunError::MessageFailed { .. } | RunError::Signals(_) => {
                    Exit::Failed
                }
            },
            Self::Control(error) if error.is_absent() => Exit::Absent,
            Self::Receive(error) if error.is_busy() => Exit::Busy,
            Self::Init(_) | Self::DeadLetters(DeadLettersError::File(_)) => Exit::Busy,
            Self::DeadLetters(error) if error.is_usage() => Exit::Usage,
            Self::NoTerminal | Self::Pools(_) => Exit::Usage,
            Self::Send(_) | Self::Receive(_) | Self::Control(_) | Self::DeadLetters(_) | Self::Start(_) => Exit::Failed,
        }
    }

    /// What the user's own code, or its interpreter, said.
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

    fn hint(&self) -> Option<String> {
        match self {
            Self::Interpreter(error) => error.hint(),
            Self::UnfitInterpreter(diagnosis) => Some(diagnosis.hint()),
            Self::Pools(error) => error.hint(),
            Self::Run(RunError::Pool(error)) => match error.bare() {
                PoolError::Refused(refused) => refused.hint.clone(),
                _ => None,
            },
            Self::Run(RunError::UnknownPool { pool, .. }) => Some(format!(
                "name its Python: --pool {pool}=PATH, or in wallaroo.toml beside the application: [pool.{pool}] and python = \"PATH\""
            )),
            Self::Run(RunError::Source(SourceError::Busy { .. })) => {
                Some("another process listens there: stop it, or give the application another --in address".to_owned())
            }
            Self::Run(RunError::MessageFailed { .. }) => {
                Some("--on-error dead-letter keeps the stream going and puts such messages aside".to_owned())
            }
            Self::Run(RunError::Interrupted { .. }) => {
                Some("one signal alone finishes what was accepted first".to_owned())
            }
            Self::Run(RunError::Control(error)) => error.hint().map(str::to_owned),
            Self::Control(error) => error.hint(),
            Self::DeadLetters(error) => error.hint().map(str::to_owned),
            Self::Init(error) => error.hint().map(str::to_owned),
            Self::NoTerminal => Some("`wallaroo-orch status --watch` prints the same as lines".to_owned()),
            _ => None,
        }
    }
}

/// An error with its causes on one line, for the log.
pub(crate) fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
