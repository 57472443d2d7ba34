//! What a user can do about an error. The only module that names flags in the text of an error.

use std::io::ErrorKind;

use super::CliError;
use crate::cli::dead_letters::DeadLettersError;
use crate::cli::init::InitError;
use crate::cli::option::advice;
use crate::cli::pools::PoolsError;
use crate::cli::state::{PythonError, StateCommandError};
use crate::control::client::ClientError;
use crate::control::listener::BindError;
use crate::control::{Refusal, RefusalKind};
use crate::dead_letter::file::LetterFileError;
use crate::engine::EngineError;
use crate::interpreter::{Diagnosis, InterpreterError};
use crate::log::LogError;
use crate::runtime::{RunError, StateError};
use crate::source::SourceError;
use crate::state_folder::FolderError;
use crate::state_folder::other_steps::OtherSteps;
use crate::worker::pool::PoolError;

/// An error that may have a hint.
pub(super) trait Hint {
    /// What to do about the error, as a lowercase fragment.
    fn hint(&self) -> Option<String>;
}

impl Hint for CliError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Interpreter(error) => error.hint(),
            Self::UnfitInterpreter(diagnosis) => diagnosis.hint(),
            Self::Pools(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Control(error) => error.hint(),
            Self::DeadLetters(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::Init(error) => error.hint(),
            Self::NoTerminal => Some("`wallaroo-orch status --watch` prints the same as lines".to_owned()),
            Self::InputLeft { .. } => {
                Some("what was read before was processed; the log says where reading ended".to_owned())
            }
            Self::NothingProcessed { .. } => Some("the log has the first traceback of each step".to_owned()),
            Self::Send(_) | Self::Receive(_) | Self::Start(_) | Self::Usage(_) => None,
        }
    }
}

impl Hint for InterpreterError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } | Self::NotExecutable { .. } => {
                "--python takes the path of an interpreter, for example .venv/bin/python, or the name of a command, for example python3.11"
                    .to_owned()
            }
            Self::NotOnPath { name } => format!("give the path of the interpreter instead: --python /path/to/{name}"),
            Self::NoneFound => "install Python 3.9 or later, or name an interpreter: --python PATH".to_owned(),
        })
    }
}

impl Hint for Diagnosis {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::DoesNotStart { python, .. } => format!("try it by hand: {} --version", python.display()),
            Self::TooOld { .. } => {
                "wallaroo needs Python 3.9 or later: name another interpreter, --python PATH".to_owned()
            }
            Self::NoSdk { python } => {
                let python = python.display();
                format!(
                    "install it there: {python} -m pip install wallaroo-sdk; or name another interpreter: --python PATH"
                )
            }
            Self::NoMsgpack { python } => format!("install it there: {} -m pip install msgpack", python.display()),
        })
    }
}

impl Hint for OtherSteps {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unsettled { .. } => {
                "run the old steps once more with --settle: they finish what is left and end; then start these"
                    .to_owned()
            }
            Self::Gone { gone } => {
                let options: Vec<String> = gone.keys().map(|name| format!("--drop-state {name:?}")).collect();
                format!("keep the names of the old steps, or drop what they left: {}", options.join(" "))
            }
            Self::Numbered { .. } => {
                "give each new step a name of its own with name=, so that the old ones keep theirs".to_owned()
            }
            Self::Keys { .. } => "list the same keys, or begin anew with another --state folder".to_owned(),
        })
    }
}

impl Hint for PoolsError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => {
                Some("a pool is [pool.NAME] with python = \"PATH\" and optionally workers and worker-memory".to_owned())
            }
            Self::Interpreter { .. } => {
                Some("the python of a pool is the path of an interpreter or the name of a command".to_owned())
            }
            Self::Unreadable { .. } | Self::Twice { .. } => None,
        }
    }
}

impl Hint for RunError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Pool(error) => match error.bare() {
                PoolError::Refused(refused) => refused.hint.clone(),
                _ => None,
            },
            Self::UnknownPool { pool, .. } => Some(format!(
                "name its Python: --pool {pool}=PATH, or in wallaroo.toml beside the application: [pool.{pool}] and python = \"PATH\""
            )),
            Self::Source(SourceError::Busy { .. }) => {
                Some("another process listens there: stop it, or give the application another --in address".to_owned())
            }
            Self::MessageFailed { by_step: true, .. } => Some(
                "the step has on_error=\"stop\"; with \"dead-letter\" the stream goes on and such messages are put aside"
                    .to_owned(),
            ),
            Self::SourceChanged { name, folder, offset, .. } => Some(format!(
                "restore the file, or read what is there now: `wallaroo-orch state reset {} --source {name:?} --to start` (--to {offset} goes on behind as many bytes as were read)",
                folder.display()
            )),
            Self::MessageFailed { .. } => Some(
                "with --on-error dead-letter the stream goes on and such messages are put aside as dead letters"
                    .to_owned(),
            ),
            Self::State(StateError::Changed { reason, .. }) => reason.hint(),
            Self::Engine(EngineError::StateUnsaved { .. }) => Some(
                "make that state one that pickle takes, then start again with the same --state; or give more --queue-bytes, of which the journal may have four times"
                    .to_owned(),
            ),
            Self::SameFile { .. } => Some("no file was changed; give each its own path".to_owned()),
            Self::OwnSource { .. } => Some("give the sink the address of its consumer".to_owned()),
            Self::TooManyDeadLetters { .. } => Some(
                "--max-dead-letters sets this limit; what was under way is lost, messages that were delivered stay delivered"
                    .to_owned(),
            ),
            Self::Interrupted { is_kept: true, .. } => {
                Some("nothing is lost: the next run with the same --state goes on with them".to_owned())
            }
            Self::Interrupted { .. } => Some("a single signal lets the run finish what it has accepted".to_owned()),
            Self::Control(error) => error.hint(),
            _ => None,
        }
    }
}

impl Hint for BindError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InUse { .. } => "stop that run, or give this one another socket: --control PATH",
            Self::NotASocket { .. } | Self::TooLong { .. } | Self::NotPrivate { .. } => {
                "choose another path for the socket: --control PATH"
            }
            Self::Metrics { .. } => "choose a free port: --metrics HOST:PORT",
            Self::Folder { .. } | Self::Listen { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl Hint for ClientError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotRunning { .. } => {
                Some("is it running? `wallaroo-orch run` prints the path of its socket".to_owned())
            }
            Self::NoneRuns { folder } => Some(format!(
                "there is no socket that answers in {}; --control PATH names one elsewhere",
                folder.display()
            )),
            Self::SeveralRun { .. } => Some("choose one: --control PATH".to_owned()),
            Self::Refused(refusal) => refusal.hint(),
            Self::Answer { .. } => Some("is it a wallaroo-orch of the same version?".to_owned()),
            Self::NotReady { .. } => None,
        }
    }
}

impl Hint for Refusal {
    fn hint(&self) -> Option<String> {
        if self.kind == RefusalKind::Starting {
            return Some("`wallaroo-orch status --wait-ready 30s` waits until it runs".to_owned());
        }
        let parts: Vec<String> = self.hint.clone().into_iter().chain(self.limit.map(advice)).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

impl Hint for DeadLettersError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoSuchLetter { .. } => {
                "`wallaroo-orch dead-letters list` shows the numbers; they change when letters are removed"
            }
            Self::NoAddress { .. } | Self::BadAddress { .. } => "--to HOST:PORT says where to send",
            Self::Damaged { .. } => "`wallaroo-orch dead-letters drop FILE N` removes such a line; nothing else does",
            Self::NotRemoved { .. } => {
                "remove them with `wallaroo-orch dead-letters drop`: another retry would send them twice"
            }
            Self::File(LetterFileError::Busy { .. }) => "wait until it is done",
            Self::File(LetterFileError::Changed { .. }) => "nothing was removed; look at the file and try again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Hint for StateCommandError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InUse { .. } => "`wallaroo-orch status` shows it; its folder is read and changed once it has ended",
            Self::NoSuchKey { batches: 0, .. } => {
                "`wallaroo-orch state export` prints all keys; --key-json takes those that are not text"
            }
            Self::Python(PythonError::NotLoaded) => {
                "--app APP imports the application, which has the classes of its states"
            }
            Self::Folder(FolderError::Log(LogError::Io { source, .. })) if source.kind() == ErrorKind::NotFound => {
                "give the folder of `wallaroo-orch run --state`"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl Hint for InitError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { .. } => Some("nothing was written: give the name of a new folder".to_owned()),
            Self::Folder { .. } | Self::Write { .. } => None,
        }
    }
}
