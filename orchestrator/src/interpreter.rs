//! Finds the Python that runs the workers, and diagnoses it when they do not start.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use std::{env, io};

use nix::unistd::{AccessFlags, access};
use tokio::process::Command;
use tokio::time::timeout;

/// How long an interpreter may take to answer [`QUESTIONS`].
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks an interpreter for its version and for the modules the SDK needs. Runs under any Python since version 2.
const QUESTIONS: &str = "
import sys
if sys.path[:1] == ['']:
    del sys.path[0]
found = []
if sys.version_info >= (3, 4):
    from importlib.util import find_spec
    found = [name for name in ('wallaroo', 'msgpack') if find_spec(name)]
sys.stdout.write('wallaroo-diagnosis %d.%d %s\\n' % (sys.version_info[0], sys.version_info[1], ' '.join(found)))
";

/// The oldest Python the SDK runs on.
const OLDEST: (u32, u32) = (3, 9);

/// Why no Python can be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InterpreterError {
    /// There is no file at the given path.
    #[error("there is no Python interpreter at {}", path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// The file is not a program.
    #[error("{} is not an executable file", path.display())]
    NotExecutable {
        /// The path.
        path: PathBuf,
    },
    /// There is no command of that name.
    #[error("there is no {name} on the PATH")]
    NotOnPath {
        /// The name.
        name: String,
    },
    /// No Python was named, and none was found in the usual places.
    #[error("no Python found: no active virtual environment, none beside wallaroo-orch, no python3 on the PATH")]
    NoneFound,
}

/// What is wrong with an interpreter whose workers do not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Diagnosis {
    /// It cannot run Python code.
    #[error("{} does not start: {reason}", python.display())]
    DoesNotStart {
        /// The interpreter.
        python: PathBuf,
        /// What happened instead.
        reason: String,
    },
    /// It is older than the SDK.
    #[error("{} is Python {major}.{minor}, which is too old", python.display())]
    TooOld {
        /// The interpreter.
        python: PathBuf,
        /// Major version.
        major: u32,
        /// Minor version.
        minor: u32,
    },
    /// The SDK is not installed for it.
    #[error("{} has no wallaroo module", python.display())]
    NoSdk {
        /// The interpreter.
        python: PathBuf,
    },
    /// The SDK's only dependency is not installed for it.
    #[error("{} has the wallaroo module but not msgpack, which it needs", python.display())]
    NoMsgpack {
        /// The interpreter.
        python: PathBuf,
    },
}

/// The interpreter to run, as an absolute path: the `requested` one, else that of the active virtual environment, else the one
/// beside this command, else `python3`. Symbolic links are not resolved: through its link an interpreter finds the virtual
/// environment it belongs to.
pub fn resolve(requested: Option<&Path>) -> Result<PathBuf, InterpreterError> {
    let command = env::current_exe().ok();
    let surroundings = Surroundings {
        virtual_environment: env::var_os("VIRTUAL_ENV").filter(|path| !path.is_empty()).map(PathBuf::from),
        beside: command.as_deref().and_then(Path::parent).map(Path::to_owned),
        path: env::var_os("PATH").unwrap_or_default(),
    };
    surroundings.resolve(requested)
}

/// Where interpreters are searched.
struct Surroundings {
    /// Folder of the active virtual environment.
    virtual_environment: Option<PathBuf>,
    /// Folder of the `wallaroo-orch` command. The wheel installs the command beside its interpreter.
    beside: Option<PathBuf>,
    /// The `PATH` variable.
    path: OsString,
}

impl Surroundings {
    fn resolve(&self, requested: Option<&Path>) -> Result<PathBuf, InterpreterError> {
        match requested {
            // As in a shell, a name with a slash is a path.
            Some(path) if path.as_os_str().as_bytes().contains(&b'/') || path.is_dir() => usable(path),
            Some(name) => self.on_path(name.as_os_str()),
            None => self.default(),
        }
    }

    fn default(&self) -> Result<PathBuf, InterpreterError> {
        if let Some(environment) = &self.virtual_environment {
            // The user activated it: an error is better than silently running another Python.
            return usable(&environment.join("bin/python"));
        }
        let mut beside = self.beside.iter().flat_map(|folder| [folder.join("python"), folder.join("python3")]);
        if let Some(python) = beside.find_map(|python| usable(&python).ok()) {
            return Ok(python);
        }
        self.on_path(OsStr::new("python3")).map_err(|_| InterpreterError::NoneFound)
    }

    fn on_path(&self, name: &OsStr) -> Result<PathBuf, InterpreterError> {
        let found = env::split_paths(&self.path).find_map(|folder| usable(&folder.join(name)).ok());
        found.ok_or_else(|| InterpreterError::NotOnPath { name: name.to_string_lossy().into_owned() })
    }
}

/// `path` made absolute, if it is a program. The folder of a virtual environment stands for its interpreter.
fn usable(path: &Path) -> Result<PathBuf, InterpreterError> {
    let mut path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if path.join("bin/python").is_file() {
        path.push("bin/python");
    }
    if !path.exists() {
        return Err(InterpreterError::Missing { path });
    }
    if !path.is_file() || access(&path, AccessFlags::X_OK).is_err() {
        return Err(InterpreterError::NotExecutable { path });
    }
    Ok(path)
}

/// Finds out why workers of `python` fail to start; `None` if nothing is found. Call it only after a failure: it starts the
/// interpreter once.
pub async fn diagnose(python: &Path) -> Option<Diagnosis> {
    let does_not_start = |reason: String| Some(Diagnosis::DoesNotStart { python: python.to_owned(), reason });
    let mut command = Command::new(python);
    command.args(["-c", QUESTIONS]).stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(DIAGNOSIS_TIMEOUT, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return does_not_start(reason(&error)),
        Err(_) => return does_not_start(format!("no answer within {DIAGNOSIS_TIMEOUT:?}")),
    };
    // The user's site packages may print something before the answer.
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(answer) = text.lines().find_map(|line| line.strip_prefix("wallaroo-diagnosis ")) else {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        return does_not_start(last.map_or_else(|| output.status.to_string(), |line| line.trim().to_owned()));
    };
    examine(python, answer)
}

fn examine(python: &Path, answer: &str) -> Option<Diagnosis> {
    let python = python.to_owned();
    let mut words = answer.split(' ');
    let version = words.next().and_then(|version| version.split_once('.'));
    let (major, minor) = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))?;
    let found: Vec<&str> = words.collect();
    if (major, minor) < OLDEST {
        Some(Diagnosis::TooOld { python, major, minor })
    } else if !found.contains(&"wallaroo") {
        Some(Diagnosis::NoSdk { python })
    } else if !found.contains(&"msgpack") {
        Some(Diagnosis::NoMsgpack { python })
    } else {
        None
    }
}

fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        // The error for a script without a `#!` line, and for a program of another architecture.
        Some(nix::libc::ENOEXEC) => "it is not a program this machine can run".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
