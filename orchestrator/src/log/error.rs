//! What can go wrong with a state folder. Each error names the file and says what to do.

use std::io;
use std::path::{Path, PathBuf};

use super::Lsn;

/// Why a log could not be opened or goes no further.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A call to the operating system failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was attempted: a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A sync failed. What was written before it may be lost, and a second sync would not tell.
    #[error("cannot sync {path}: what was written last may be lost; check the disk, then start again")]
    Sync {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// There is no room on the disk.
    #[error("the disk of {path} is full: free some room there")]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// The error of the system, or of the store.
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("{path} is in use by {owner}: stop that run, or give this one another folder")]
    InUse {
        /// The state folder.
        path: PathBuf,
        /// The process, as far as it is known.
        owner: String,
    },
    /// The folder cannot be written to.
    #[error("cannot write to {path}: make it writable, or give another folder")]
    ReadOnly {
        /// The state folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The folder holds files, and none of them is `FORMAT`.
    #[error(
        "{path} is not a state folder: it holds {found} and no file FORMAT; give an empty folder, or restore FORMAT"
    )]
    NotAStateFolder {
        /// The folder.
        path: PathBuf,
        /// One of the files in it.
        found: String,
    },
    /// `FORMAT` cannot be read.
    #[error("{path} is damaged ({reason}): restore the folder from a copy")]
    FormatDamaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A newer version of this program wrote the file.
    #[error("{path} has format version {found}, this program knows versions up to {known}: use a newer program")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// An older version of this program wrote the file.
    #[error(
        "{path} has format version {found}, this program reads version {known} only: use the program that wrote it, or give another folder"
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u32,
        /// The version that can be read.
        known: u32,
    },
    /// The folder belongs to another application.
    #[error("{path} holds the state of application {found:?}, not of {expected:?}: give another folder")]
    OtherApplication {
        /// The state folder.
        path: PathBuf,
        /// The application that the folder belongs to.
        found: String,
        /// The application that runs.
        expected: String,
    },
    /// The log lacks records that were durable.
    #[error(
        "{file} is damaged at offset {offset}: record {lsn} {reason}, and records up to {durable} were durable; \
         restore the folder from a copy"
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where in it the damage begins, in bytes.
        offset: u64,
        /// The first record that is damaged or missing.
        lsn: Lsn,
        /// What is wrong.
        reason: String,
        /// The highest record that is known to have been durable.
        durable: Lsn,
    },
    /// The store of checkpoint and states failed or is damaged.
    #[error("cannot {action} the store {path}")]
    Store {
        /// What was attempted: a verb.
        action: &'static str,
        /// The store's file.
        path: PathBuf,
        /// The store's error.
        source: Box<redb::Error>,
    },
    /// The store holds bytes that were not written so.
    #[error("the store {path} is damaged ({reason}): restore the folder from a copy")]
    StoreDamaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The caller gave a record or checkpoint whose number is not the next one.
    #[error("record or checkpoint {given} was given when {expected} was due")]
    OutOfOrder {
        /// The number that was given.
        given: Lsn,
        /// The number that was due.
        expected: Lsn,
    },
    /// A record is larger than the format can hold.
    #[error("record {lsn} has {bytes} bytes, the log holds records of at most {most}")]
    TooLarge {
        /// The record.
        lsn: Lsn,
        /// Its size.
        bytes: u64,
        /// The largest size.
        most: u64,
    },
}

impl LogError {
    /// Whether a file holds what was not written so.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::StoreDamaged { .. } | Self::FormatDamaged { .. })
    }

    /// The error of `action` on `path`. A full disk has a variant of its own.
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if is_full(&source) { Self::Full { path, source } } else { Self::Io { action, path, source } }
    }

    /// The error of a sync of `path`. It is never tried again, whatever the reason.
    pub(super) fn sync(path: &Path, source: io::Error) -> Self {
        Self::Sync { path: path.to_path_buf(), source }
    }
}

/// Whether `error` says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether `error` says that a folder cannot be written to.
pub(super) fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}
