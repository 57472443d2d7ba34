//! Has states unpickled and printed by the application's Python, which knows their classes.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use clap::Args;

use crate::engine::StoredState;
use crate::interpreter::{self, InterpreterError};
use crate::record::encoding;

/// Takes the current folder off the path, as for workers.
const START: &str =
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); from wallaroo.worker._stored_states import main; main()";
/// The exit code of the program if some states cannot be loaded.
const NOT_LOADED: i32 = 10;
/// The exit code of the program if the application cannot be imported.
const NOT_IMPORTED: i32 = 11;

/// The Python that shows states.
#[derive(Debug, Args)]
pub(super) struct PythonArgs {
    /// The Python of the application: a path, or the name of a command [default: as for `run`]
    #[arg(long, value_name = "PATH|NAME")]
    python: Option<PathBuf>,
    /// The application, which is imported first: path of a .py file or name of a module. States of its classes need it
    #[arg(long, value_name = "APP")]
    app: Option<String>,
}

/// How states are printed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// As Python shows it.
    Repr,
    /// As JSON Lines.
    Json,
}

/// Why states were not printed, or not all.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// Python did not start.
    #[error("cannot start {}", python.display())]
    Start {
        /// The interpreter.
        python: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Some states cannot be unpickled. Python has said which.
    #[error("not all states could be loaded: the causes are above")]
    NotLoaded,
    /// The application cannot be imported. Python has said why.
    #[error("{app} could not be imported: the cause is above")]
    NotImported {
        /// The application.
        app: String,
    },
    /// Python ended otherwise.
    #[error("{} ended with {status} before all states were printed", python.display())]
    Ended {
        /// The interpreter.
        python: PathBuf,
        /// How.
        status: ExitStatus,
    },
}

impl PythonArgs {
    /// The interpreter that is meant.
    pub(super) fn resolve(&self) -> Result<PathBuf, InterpreterError> {
        interpreter::resolve(self.python.as_deref())
    }

    /// Prints states to standard output.
    pub(super) fn print<'a>(
        &self,
        python: &Path,
        form: Form,
        states: impl IntoIterator<Item = &'a StoredState>,
    ) -> Result<(), PythonError> {
        let form = match form {
            Form::Repr => "repr",
            Form::Json => "json",
        };
        let failed = |source| PythonError::Start { python: python.to_owned(), source };
        let mut command = Command::new(python);
        command.args(["-c", START, form]).args(&self.app).stdin(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(input) = child.stdin.take() {
            // If it reads no more, its exit code says why.
            let _ = give(states, BufWriter::new(input));
        }
        let status = child.wait().map_err(failed)?;
        match status.code() {
            Some(0) => Ok(()),
            Some(NOT_LOADED) => Err(PythonError::NotLoaded),
            Some(NOT_IMPORTED) => Err(PythonError::NotImported { app: self.app.clone().unwrap_or_default() }),
            _ => Err(PythonError::Ended { python: python.to_owned(), status }),
        }
    }
}

/// Writes each state as a MessagePack array of table, encoded key and state.
fn give<'a>(states: impl IntoIterator<Item = &'a StoredState>, mut input: impl Write) -> io::Result<()> {
    let mut bytes = Vec::new();
    for state in states {
        bytes.clear();
        encoding::write(&(&*state.table, &state.key, &state.state), &mut bytes);
        input.write_all(&bytes)?;
    }
    input.flush()
}
