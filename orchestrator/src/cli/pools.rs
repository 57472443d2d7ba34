//! Definitions of named pools, from `--pool` and from `wallaroo.toml` beside the application.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use bytesize::ByteSize;
use serde::{Deserialize, Deserializer, de};

use crate::control::routes::MOST_WORKERS;
use crate::interpreter::{self, InterpreterError};
use crate::worker::pool::PoolSettings;
use crate::worker::process::Interpreter;

/// The file beside the application.
const FILE: &str = "wallaroo.toml";

/// The syntax of `--pool`, by example.
const USAGE: &str = "examples: legacy=.venv/bin/python, or legacy=python3.9,workers=2,worker-memory=1GiB";

/// Why the definitions of pools cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PoolsError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// The file is not valid.
    #[error("{} is not valid: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where in the file.
        problem: String,
    },
    /// A pool is defined twice on the command line.
    #[error("the pool {name} is defined twice on the command line")]
    Twice {
        /// The pool.
        name: String,
    },
    /// The interpreter of a pool cannot be used.
    #[error("pool {name}: {source}")]
    Interpreter {
        /// The pool.
        name: String,
        /// Why not.
        source: InterpreterError,
    },
}

/// One pool, as the command line or the file defines it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Definition {
    /// The Python its workers run: a path, or the name of a command.
    python: PathBuf,
    /// The number of its workers.
    #[serde(default = "one", deserialize_with = "workers")]
    workers: u32,
    /// Bytes a worker may have resident.
    #[serde(default, deserialize_with = "memory")]
    worker_memory: Option<ByteSize>,
}

/// `wallaroo.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    #[serde(default)]
    pool: BTreeMap<Name, Definition>,
}

/// The name of a pool: only characters that need no quotes in `--pool` and in TOML.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

/// A `--pool` option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PoolOption {
    name: Name,
    definition: Definition,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if text.is_empty() || !text.chars().all(fits) {
            return Err(format!("{text:?} is not a valid name of a pool: use letters, digits, - and _"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl FromStr for PoolOption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("the interpreter is missing; {USAGE}"))?;
        let mut words = rest.split(',');
        let python = words.next().filter(|python| !python.is_empty());
        let python = PathBuf::from(python.ok_or_else(|| format!("the interpreter is missing; {USAGE}"))?);
        let mut definition = Definition { python, workers: one(), worker_memory: None };
        for word in words {
            match word.split_once('=') {
                Some(("workers", count)) => {
                    let count = count.parse().map_err(|error| format!("workers={count}: {error}"))?;
                    definition.workers = checked_workers(count)?;
                }
                Some(("worker-memory", bytes)) => {
                    definition.worker_memory =
                        Some(bytes.parse().map_err(|error| format!("worker-memory={bytes}: {error}"))?);
                }
                _ => return Err(format!("{word:?} is neither workers=N nor worker-memory=BYTES; {USAGE}")),
            }
        }
        Ok(Self { name: name.parse()?, definition })
    }
}

fn one() -> u32 {
    1
}

fn checked_workers(count: i64) -> Result<u32, String> {
    let fits = |count: &u32| (1..=MOST_WORKERS).contains(count);
    u32::try_from(count)
        .ok()
        .filter(fits)
        .ok_or_else(|| format!("workers is {count}, not between 1 and {MOST_WORKERS}"))
}

fn workers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    checked_workers(i64::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ByteSize>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(|error| de::Error::custom(format!("worker-memory = {text:?}: {error}")))
}

/// The settings of each named pool: those of the main pool, changed by the definition. A definition on the command line
/// replaces one in the file.
pub(super) fn settings(
    options: &[PoolOption],
    main: &PoolSettings,
) -> Result<BTreeMap<String, PoolSettings>, PoolsError> {
    let mut definitions = from_file(Path::new(&main.application))?;
    for (index, PoolOption { name, definition }) in options.iter().enumerate() {
        if options[..index].iter().any(|before| before.name == *name) {
            return Err(PoolsError::Twice { name: name.0.clone() });
        }
        definitions.insert(name.clone(), definition.clone());
    }
    let settings = |(Name(name), definition): (Name, Definition)| {
        let python = interpreter::resolve(Some(&definition.python))
            .map_err(|source| PoolsError::Interpreter { name: name.clone(), source })?;
        let settings = PoolSettings {
            interpreter: Interpreter { python, ..main.interpreter.clone() },
            slots: definition.workers,
            memory: definition.worker_memory.map(|bytes| bytes.as_u64()),
            ..main.clone()
        };
        Ok((name, settings))
    };
    definitions.into_iter().map(settings).collect()
}

/// The definitions of the file beside the application, if there is one. For an application given as a module, the file is
/// looked for in the current folder.
fn from_file(application: &Path) -> Result<BTreeMap<Name, Definition>, PoolsError> {
    let folder = application.parent().unwrap_or(Path::new(""));
    let path = folder.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(PoolsError::Unreadable { path, source }),
    };
    let mut settings: Settings = toml::from_str(&text).map_err(|error| PoolsError::Malformed {
        path: path.clone(),
        problem: error.to_string().trim_end().to_owned(),
    })?;
    for definition in settings.pool.values_mut() {
        // A path is relative to the file; the name of a command stays as it is.
        if definition.python.components().count() > 1 {
            definition.python = folder.join(&definition.python);
        }
    }
    Ok(settings.pool)
}

#[cfg(test)]
mod tests;
