//! `wallaroo-orch dead-letters`: lists, shows, resends and removes the letters of a file.
//!
//! The number of a letter is its line in the file. A run may append to the file at the same time; [`crate::dead_letter::file`]
//! says how letters are removed from it safely.

mod print;
mod retry;
mod selection;

use std::collections::BTreeSet;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::print::Table;
use self::retry::RetryArgs;
use self::selection::{Numbers, Selection};
use super::send::SendError;
use crate::cli::terminal;
use crate::dead_letter::file::{Damage, LetterFile, LetterFileError, Line};

/// Arguments of `wallaroo-orch dead-letters`.
#[derive(Debug, Args)]
pub(super) struct DeadLettersArgs {
    #[command(subcommand)]
    command: DeadLettersCommand,
}

#[derive(Debug, Subcommand)]
enum DeadLettersCommand {
    /// List the letters of a file, one per line
    List(ListArgs),
    /// Show one letter in full: traceback, value and payload
    Show(ShowArgs),
    /// Send messages to their source again and remove their letters
    Retry(RetryArgs),
    /// Remove letters
    Drop(DropArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The file given to `run --dead-letters`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object per letter, with its number
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The file given to `run --dead-letters`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The letter's number in `list`
    #[arg(value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    number: u64,
}

#[derive(Debug, Args)]
struct DropArgs {
    /// The file given to `run --dead-letters`
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Numbers in `list`, or ranges of them. A line that is not a letter is removed only if it is named
    #[arg(value_name = "N|N-M", required_unless_present = "all")]
    numbers: Vec<Numbers>,
    /// Remove every letter
    #[arg(long, conflicts_with = "numbers")]
    all: bool,
}

/// Why a command about dead letters failed.
#[derive(Debug, thiserror::Error)]
pub enum DeadLettersError {
    /// The file cannot be read or changed.
    #[error(transparent)]
    File(#[from] LetterFileError),
    /// No letter has this number.
    #[error("{} has {lines} lines: there is no letter {number}", path.display())]
    NoSuchLetter {
        /// The file.
        path: PathBuf,
        /// The number asked for.
        number: u64,
        /// How many lines there are.
        lines: u64,
    },
    /// Some lines are not letters. The command has processed the others.
    #[error("line {number} of {} is not a dead letter{}", path.display(), also(*others))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first such line.
        number: u64,
        /// How many more there are.
        others: u64,
        /// What is wrong with the first one.
        source: Damage,
    },
    /// Neither the letter nor the command line says where to send it.
    #[error("letter {number} does not say where its source{} listens", of(source_name.as_deref()))]
    NoAddress {
        /// The letter.
        number: u64,
        /// The source's name.
        source_name: Option<String>,
    },
    /// A letter holds an address that cannot be parsed.
    #[error("letter {number} has the invalid address {address:?}: {reason}")]
    BadAddress {
        /// The letter.
        number: u64,
        /// The address in the letter.
        address: String,
        /// What an address looks like.
        reason: String,
    },
    /// Sending failed.
    #[error("the letters that could not be delivered are kept")]
    Send(#[source] SendError),
    /// Messages were sent, but their letters could not be removed.
    #[error("{sent} messages were sent, but their letters could not be removed")]
    NotRemoved {
        /// How many.
        sent: usize,
        /// Why.
        source: LetterFileError,
    },
    /// Some letters cannot be sent. Each was reported before, with the reason.
    #[error("{kept} of {asked} letters were not sent and are kept")]
    Kept {
        /// How many were not sent.
        kept: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Print(#[source] io::Error),
    /// The thread that does the work did not finish.
    #[error("the command was interrupted")]
    Aborted(#[source] tokio::task::JoinError),
}

impl DeadLettersError {
    /// Whether the command line is wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::NoSuchLetter { .. } | Self::NoAddress { .. })
    }
}

fn also(others: u64) -> String {
    if others == 0 { String::new() } else { format!(", and {others} more") }
}

fn of(source: Option<&str>) -> String {
    source.map(|name| format!(" {name:?}")).unwrap_or_default()
}

/// Runs the command.
pub(super) async fn run(args: DeadLettersArgs) -> Result<(), DeadLettersError> {
    // Blocking calls are fine: the command does nothing else at the same time.
    let work = move || match args.command {
        DeadLettersCommand::List(args) => list(&args, BufWriter::new(io::stdout().lock())),
        DeadLettersCommand::Show(args) => show(&args, BufWriter::new(io::stdout().lock())),
        DeadLettersCommand::Retry(args) => retry::retry(&args),
        DeadLettersCommand::Drop(args) => remove(&args),
    };
    match tokio::task::spawn_blocking(work).await.map_err(DeadLettersError::Aborted)? {
        // The reader, for example a pager, has closed the pipe.
        Err(DeadLettersError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

fn list(args: &ListArgs, mut output: impl Write) -> Result<(), DeadLettersError> {
    let file = LetterFile::open(&args.file)?;
    let mut damaged = DamagedLines::default();
    let mut table = Table::new();
    for line in file.lines()? {
        let Line { number, content } = line?;
        match content {
            Ok(letter) if args.json => print::json(number, &letter, &mut output),
            Ok(letter) => table.add(number, &letter, &mut output),
            Err(damage) => {
                damaged.add(number, damage);
                Ok(())
            }
        }
        .map_err(DeadLettersError::Print)?;
    }
    table.finish(&mut output).and_then(|()| output.flush()).map_err(DeadLettersError::Print)?;
    damaged.check(&file)
}

fn show(args: &ShowArgs, mut output: impl Write) -> Result<(), DeadLettersError> {
    let file = LetterFile::open(&args.file)?;
    let mut lines = 0;
    for line in file.lines()? {
        let Line { number, content } = line?;
        lines = number;
        if number == args.number {
            let letter = content.map_err(|source| {
                let path = file.path().to_owned();
                DeadLettersError::Damaged { path, number, others: 0, source }
            })?;
            return print::whole(number, &letter, &mut output)
                .and_then(|()| output.flush())
                .map_err(DeadLettersError::Print);
        }
    }
    Err(DeadLettersError::NoSuchLetter { path: file.path().to_owned(), number: args.number, lines })
}

fn remove(args: &DropArgs) -> Result<(), DeadLettersError> {
    let file = LetterFile::edit(&args.file)?;
    let mut selection = Selection::new(&args.numbers);
    let mut damaged = DamagedLines::default();
    let mut removed = BTreeSet::new();
    for line in file.lines()? {
        let Line { number, content } = line?;
        if !selection.takes(number) {
            continue;
        }
        match content {
            Err(damage) if args.all => damaged.add(number, damage),
            _ => drop(removed.insert(number)),
        }
    }
    selection.check(&file)?;
    let unknown = damaged.check(&file);
    file.remove(&removed)?;
    terminal::note(format_args!("dropped {} letters", removed.len()));
    unknown
}

/// Lines that are not letters. They do not stop the command; it reports them at the end.
#[derive(Debug, Default)]
struct DamagedLines {
    first: Option<(u64, Damage)>,
    others: u64,
}

impl DamagedLines {
    fn add(&mut self, number: u64, damage: Damage) {
        match self.first {
            None => self.first = Some((number, damage)),
            Some(_) => self.others += 1,
        }
    }

    fn check(self, file: &LetterFile) -> Result<(), DeadLettersError> {
        let Some((number, source)) = self.first else { return Ok(()) };
        Err(DeadLettersError::Damaged { path: file.path().to_owned(), number, others: self.others, source })
    }
}

#[cfg(test)]
mod tests;
