//! `wallaroo-orch state`: shows, checks and changes the folder of `run --state` while no run uses it.

mod key;
mod python;
mod reset;
mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::key::KeyArgs;
pub(super) use self::python::PythonError;
use self::python::{Form, PythonArgs};
use self::reset::{ResetArgs, ResetError};
use super::error::CliError;
use crate::cli::terminal;
use crate::log::LogError;
use crate::state_folder::{Alone, FolderError};

/// Arguments of `wallaroo-orch state`.
#[derive(Debug, Args)]
pub(super) struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Show what is in a state folder: positions, tables, queues, sizes
    Show(ShowArgs),
    /// Print the state of one key
    Get(GetArgs),
    /// Read all of a state folder and say whether it is whole. Nothing is changed
    Verify(FolderArgs),
    /// Print the stored states as JSON Lines
    Export(ExportArgs),
    /// Change the position at which the next run goes on to read a file
    Reset(ResetArgs),
}

#[derive(Debug, Args)]
struct FolderArgs {
    /// The folder given to `run --state`
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct ShowArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct GetArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// The name of the state table, as `show` prints it
    #[arg(value_name = "TABLE")]
    table: String,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    python: PythonArgs,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Only the states of this table
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    #[command(flatten)]
    python: PythonArgs,
}

/// Why a command about a state folder failed.
#[derive(Debug, thiserror::Error)]
pub enum StateCommandError {
    /// A run uses the folder.
    #[error("a run is going on in {} ({owner})", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The process, as far as it is known.
        owner: String,
    },
    /// The folder cannot be read or changed.
    #[error(transparent)]
    Folder(FolderError),
    /// No step has such a table.
    #[error("there is no state table {table:?}; there {known}")]
    NoSuchTable {
        /// The name that was given.
        table: String,
        /// The tables that there are.
        known: String,
    },
    /// A key has no stored state.
    #[error("table {table:?} has no stored state of key {key}{}", in_journal(*batches))]
    NoSuchKey {
        /// The table.
        table: String,
        /// The key as it was given.
        key: String,
        /// Batches in the journal that have values of the key.
        batches: usize,
    },
    /// No position was changed.
    #[error(transparent)]
    Reset(#[from] ResetError),
    /// Python did not show the states.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// The thread that does the work did not finish.
    #[error("the command was interrupted")]
    Aborted(#[source] tokio::task::JoinError),
}

/// What went wrong, as far as the exit code tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// What was asked for is not there, or is damaged.
    Data,
    /// The command line names something that does not exist.
    Usage,
    /// The application cannot be imported.
    Load,
    /// A file cannot be used.
    File,
}

impl StateCommandError {
    /// What the exit code says.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::InUse { .. } | Self::Folder(FolderError::NotWritten { .. }) => Failure::File,
            Self::Folder(FolderError::Log(error)) if !error.is_damage() => Failure::File,
            Self::Reset(error) if !error.is_usage() => Failure::File,
            Self::NoSuchTable { .. } | Self::Reset(_) => Failure::Usage,
            Self::Python(PythonError::NotImported { .. }) => Failure::Load,
            Self::Folder(_) | Self::NoSuchKey { .. } | Self::Python(_) | Self::Aborted(_) => Failure::Data,
        }
    }
}

impl From<FolderError> for StateCommandError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Log(LogError::InUse { path, owner }) => Self::InUse { folder: path, owner },
            error => Self::Folder(error),
        }
    }
}

fn in_journal(batches: usize) -> String {
    if batches == 0 {
        return String::new();
    }
    format!("; its values are in the journal ({}): a run has not saved it yet", counted(batches, "batch", "batches"))
}

/// A number and what it counts.
fn counted(number: usize, one: &str, more: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {more}") }
}

/// Runs the command.
pub(super) async fn run(args: StateArgs) -> Result<(), CliError> {
    let interpreter = match &args.command {
        StateCommand::Get(args) => Some(args.python.resolve()?),
        StateCommand::Export(args) => Some(args.python.resolve()?),
        _ => None,
    };
    let python = interpreter.clone().unwrap_or_default();
    // Blocking calls are fine: the command does nothing else at the same time.
    let work = move || match args.command {
        StateCommand::Show(args) => {
            show::show(&Alone::inspect(&args.folder.folder)?, args.json);
            Ok(())
        }
        StateCommand::Get(args) => get(&args, &python),
        StateCommand::Verify(args) => verify(&args.folder),
        StateCommand::Export(args) => export(&args, &python),
        StateCommand::Reset(args) => reset::reset(&args),
    };
    let ended = tokio::task::spawn_blocking(work).await.map_err(StateCommandError::Aborted)?;
    if let (Err(StateCommandError::Python(PythonError::Ended { .. })), Some(python)) = (&ended, interpreter)
        && let Some(diagnosis) = crate::interpreter::diagnose(&python).await
    {
        return Err(diagnosis.into());
    }
    Ok(ended?)
}

fn verify(folder: &Path) -> Result<(), StateCommandError> {
    let Alone { content, unsynced, sizes, .. } = Alone::inspect(folder)?;
    let states = counted(content.states.len(), "state", "states");
    let records = counted(content.records, "record", "records");
    let journal = counted(content.checkpoint.journal.len(), "batch", "batches");
    let stored = match content.stored {
        Some(lsn) => format!("checkpoint at record {lsn}"),
        None => "no checkpoint".to_owned(),
    };
    terminal::line(format_args!(
        "whole: {stored}, {states}, {records} after it ({} bytes), {journal} in the journal",
        sizes.records
    ));
    if unsynced > 0 {
        terminal::line(format_args!("the log ends in {unsynced} bytes that were never synced: the next run cuts them"));
    }
    Ok(())
}

fn get(args: &GetArgs, python: &Path) -> Result<(), StateCommandError> {
    let alone = Alone::inspect(&args.folder.folder)?;
    let tables = show::tables(&alone);
    check_table(&args.table, &tables)?;
    let key = args.key.encoded();
    let batches = show::batches_with(&key, &alone.content.checkpoint);
    let state = alone.content.states.iter().find(|state| *state.table == args.table && state.key == key);
    let Some(state) = state else {
        return Err(StateCommandError::NoSuchKey { table: args.table.clone(), key: args.key.to_string(), batches });
    };
    args.python.print(python, Form::Repr, [state])?;
    if batches > 0 {
        terminal::note(format_args!(
            "note: this state may lack {} of the journal with values of its key",
            counted(batches, "batch", "batches")
        ));
    }
    Ok(())
}

fn export(args: &ExportArgs, python: &Path) -> Result<(), StateCommandError> {
    let alone = Alone::inspect(&args.folder.folder)?;
    if let Some(table) = &args.table {
        check_table(table, &show::tables(&alone))?;
    }
    let is_wanted = |table: &str| args.table.as_deref().is_none_or(|wanted| wanted == table);
    let states = alone.content.states.iter().filter(|state| is_wanted(&state.table));
    args.python.print(python, Form::Json, states)?;
    let journal = alone.content.checkpoint.journal.len();
    if journal > 0 {
        let journal = counted(journal, "batch", "batches");
        terminal::note(format_args!(
            "note: these states may lack {journal} of the journal, which a run has not saved yet"
        ));
    }
    Ok(())
}

fn check_table(table: &str, tables: &[show::TableReport]) -> Result<(), StateCommandError> {
    if tables.iter().any(|known| known.name == table) {
        return Ok(());
    }
    let known: Vec<String> = tables.iter().map(|known| format!("{:?}", known.name)).collect();
    let known = if known.is_empty() { "is none".to_owned() } else { format!("are {}", known.join(", ")) };
    Err(StateCommandError::NoSuchTable { table: table.to_owned(), known })
}
