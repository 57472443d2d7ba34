//! `wallaroo-orch state reset`: changes where the next run goes on to read a file.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::StateCommandError;
use crate::cli::terminal;
use crate::plan::ShapeStep;
use crate::position::Position;
use crate::source;
use crate::state_folder::{self, Alone};

/// Arguments of `wallaroo-orch state reset`.
#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// The folder given to `run --state`
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The name of the source, as `show` prints it
    #[arg(long, value_name = "NAME")]
    source: String,
    /// Where the next run goes on: a number of bytes from the start of the file, at which a message must begin
    #[arg(long, value_name = "start|end|POSITION")]
    to: To,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum To {
    Start,
    End,
    Position(u64),
}

impl FromStr for To {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            number => number.parse().map(Self::Position).map_err(|_| "not start, end or a number of bytes".to_owned()),
        }
    }
}

/// Why no position was changed.
#[derive(Debug, thiserror::Error)]
pub enum ResetError {
    /// There is no such source.
    #[error("there is no source {name:?}; there are {known}")]
    NoSuchSource {
        /// The name that was given.
        name: String,
        /// The sources that there are.
        known: String,
    },
    /// Several sources have the name.
    #[error("{count} sources are named {name:?}: give each its own name")]
    SeveralSources {
        /// The name.
        name: String,
        /// How many.
        count: usize,
    },
    /// The source is not a file.
    #[error("source {name:?} has no position: it is {kind}, and only a file can be read again")]
    NoPosition {
        /// The source.
        name: String,
        /// What it is.
        kind: String,
    },
    /// The file is shorter.
    #[error("{path} has {length} bytes: there is no position {position}")]
    Beyond {
        /// The file.
        path: String,
        /// Its length in bytes.
        length: u64,
        /// The position that was given.
        position: u64,
    },
    /// The file cannot be looked at.
    #[error("cannot read {path}: run the command in the folder in which the application runs")]
    File {
        /// The file, as the application names it.
        path: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl ResetError {
    /// Whether the command line is wrong.
    pub(super) fn is_usage(&self) -> bool {
        !matches!(self, Self::File { .. })
    }
}

/// Changes the position and prints the old one.
pub(super) fn reset(args: &ResetArgs) -> Result<(), StateCommandError> {
    let (opened, alone) = Alone::open(&args.folder)?;
    let (number, source) = find(&alone, &args.source)?;
    let position = position(source, args.to)?;
    let has_event_times = source.has_event_times();
    let mut checkpoint = alone.content.checkpoint;
    let now = position.bytes().unwrap_or(0);
    let before = std::mem::replace(&mut checkpoint.sources[number].position, position).bytes().unwrap_or(0);
    state_folder::store(opened, checkpoint)?;
    terminal::line(format_args!(
        "source {:?} goes on at byte {now}; it was at byte {before}, and --to {before} undoes this",
        args.source
    ));
    if now < before && has_event_times {
        terminal::note(format_args!("note: windows that have ended stay ended: values for them are late"));
    }
    Ok(())
}

fn find<'a>(alone: &'a Alone, name: &str) -> Result<(usize, &'a ShapeStep), ResetError> {
    let found: Vec<_> = alone.shape.sources().enumerate().filter(|(_, source)| source.name == name).collect();
    match found[..] {
        [one] => Ok(one),
        [] => {
            let known: Vec<String> = alone.shape.sources().map(|source| format!("{:?}", source.name)).collect();
            Err(ResetError::NoSuchSource { name: name.to_owned(), known: known.join(", ") })
        }
        _ => Err(ResetError::SeveralSources { name: name.to_owned(), count: found.len() }),
    }
}

/// The position in the file that is there now. The start is unknown: it is that of whichever file is there when the run begins.
fn position(step: &ShapeStep, to: To) -> Result<Position, ResetError> {
    let Some(path) = step.file() else {
        let kind = step.kind.trim_start_matches("source ").to_owned();
        return Err(ResetError::NoPosition { name: step.name.clone(), kind });
    };
    let found = std::fs::metadata(&path).and_then(|found| {
        if found.is_file() { Ok(found.len()) } else { Err(io::Error::other("it is not a regular file")) }
    });
    let failed = |source| ResetError::File { path: path.clone(), source };
    let length = found.map_err(failed)?;
    let offset = match to {
        To::Start => return Ok(Position::Unknown),
        To::End => length,
        To::Position(position) if position > length => return Err(ResetError::Beyond { path, length, position }),
        To::Position(position) => position,
    };
    source::file::position_at(Path::new(&path), offset).map(Position::File).map_err(failed)
}
