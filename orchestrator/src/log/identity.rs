//! Whose state a folder holds (`FORMAT`), and the lock that keeps a second process away (`LOCK`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::LogError;
use super::error::is_read_only;
use super::format::VERSION;

const FORMAT: &str = "FORMAT";
const FORMAT_BEING_WRITTEN: &str = "FORMAT.new";
const LOCK: &str = "LOCK";

/// Whose state a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The application's name. Another one is refused.
    pub application: String,
    /// A text that is equal for equal topologies. The caller decides what another one means.
    pub topology: String,
}

/// The file `FORMAT`.
#[derive(Serialize, Deserialize)]
struct FormatFile {
    about: String,
    version: u32,
    /// Tells the folder from all others.
    id: String,
    application: String,
    topology: String,
}

/// The part of `FORMAT` that every version has.
#[derive(Deserialize)]
struct AnyVersion {
    version: u32,
}

/// Held while a process uses the folder. The operating system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: Flock<File>,
}

/// Takes the lock of `folder`, which must exist.
pub(super) fn lock(folder: &Path) -> Result<FolderLock, LogError> {
    let path = folder.join(LOCK);
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let file = file.map_err(|source| refused(folder, "open", &path, source))?;
    let mut held = take(folder, &path, file, FlockArg::LockExclusiveNonblock)?;
    let line = format!("process {}\n", std::process::id());
    held.set_len(0).map_err(|source| LogError::io("write", &path, source))?;
    io::Seek::rewind(&mut *held).map_err(|source| LogError::io("write", &path, source))?;
    held.write_all(line.as_bytes()).map_err(|source| LogError::io("write", &path, source))?;
    Ok(FolderLock { _file: held })
}

/// Keeps runs away from `folder` while it is read. None: no run has used it yet. Other readers are let in.
pub(super) fn lock_to_read(folder: &Path) -> Result<Option<FolderLock>, LogError> {
    let path = folder.join(LOCK);
    match File::open(&path) {
        Ok(file) => Ok(Some(FolderLock { _file: take(folder, &path, file, FlockArg::LockSharedNonblock)? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError::io("open", &path, source)),
    }
}

fn take(folder: &Path, path: &Path, mut file: File, how: FlockArg) -> Result<Flock<File>, LogError> {
    let mut owner = String::new();
    // Only an error names the owner: a run whose lock holds other text starts all the same.
    let _ = file.read_to_string(&mut owner);
    Flock::lock(file, how).map_err(|(_, error)| match error {
        Errno::EWOULDBLOCK => LogError::InUse { path: folder.to_path_buf(), owner: described(&owner) },
        _ => LogError::io("lock", path, error.into()),
    })
}

fn described(owner: &str) -> String {
    match owner.trim() {
        "" => "another process".to_owned(),
        owner => owner.to_owned(),
    }
}

/// Makes `folder` unless it exists.
pub(super) fn create_folder(folder: &Path) -> Result<(), LogError> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(|source| refused(folder, "create", folder, source))?;
    match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => sync_folder(Path::new(".")),
        Some(parent) => sync_folder(parent),
        None => Ok(()),
    }
}

/// Reads `FORMAT`, or writes it if the folder is new. Returns the topology that it holds, and the folder's id. The caller has the lock.
pub(super) fn check(folder: &Path, identity: &Identity) -> Result<(String, String), LogError> {
    let path = folder.join(FORMAT);
    match fs::read(&path) {
        Ok(bytes) => {
            let found = read(&path, &bytes)?;
            if found.application != identity.application {
                let (found, expected) = (found.application, identity.application.clone());
                return Err(LogError::OtherApplication { path: folder.into(), found, expected });
            }
            Ok((found.topology, found.id))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse_other_files(folder)?;
            let id = new_id().map_err(|source| LogError::io("write", &path, source))?;
            write(folder, identity, id.clone())?;
            Ok((identity.topology.clone(), id))
        }
        Err(source) => Err(LogError::io("read", &path, source)),
    }
}

/// Writes another topology to `FORMAT`.
pub(super) fn change(folder: &Path, identity: &Identity) -> Result<(), LogError> {
    let path = folder.join(FORMAT);
    let bytes = fs::read(&path).map_err(|source| LogError::io("read", &path, source))?;
    write(folder, identity, read(&path, &bytes)?.id)
}

fn new_id() -> io::Result<String> {
    let mut random = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut random)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(random)))
}

/// Writes `FORMAT`. After a power cut, the old or the new content is there.
fn write(folder: &Path, identity: &Identity, id: String) -> Result<(), LogError> {
    let (new, path) = (folder.join(FORMAT_BEING_WRITTEN), folder.join(FORMAT));
    let content = FormatFile {
        about: "The state of a wallaroo application. spec/log.md describes the files of this folder.".to_owned(),
        version: VERSION,
        id,
        application: identity.application.clone(),
        topology: identity.topology.clone(),
    };
    let text = serde_json::to_string_pretty(&content).map_err(|error| LogError::io("write", &new, error.into()))?;
    let mut file = File::create(&new).map_err(|source| refused(folder, "create", &new, source))?;
    writeln!(file, "{text}").map_err(|source| LogError::io("write", &new, source))?;
    file.sync_all().map_err(|source| LogError::sync(&new, source))?;
    fs::rename(&new, &path).map_err(|source| LogError::io("rename", &new, source))?;
    sync_folder(folder)
}

/// What `FORMAT` says of a folder, and the format's version.
pub(super) fn read_any(folder: &Path) -> Result<(Identity, u32), LogError> {
    let path = folder.join(FORMAT);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(source) => {
            refuse_other_files(folder)?;
            return Err(LogError::io("read", &path, source));
        }
    };
    let FormatFile { version, application, topology, .. } = read(&path, &bytes)?;
    Ok((Identity { application, topology }, version))
}

fn read(path: &Path, bytes: &[u8]) -> Result<FormatFile, LogError> {
    let damaged = |error: serde_json::Error| LogError::FormatDamaged { path: path.into(), reason: error.to_string() };
    let AnyVersion { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version > VERSION {
        return Err(LogError::Newer { path: path.into(), found: version, known: VERSION });
    }
    if version < VERSION {
        return Err(LogError::Older { path: path.into(), found: version, known: VERSION });
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

/// A folder without `FORMAT` may hold only what an interrupted first start leaves. Called before anything is written there, too.
pub(super) fn refuse_other_files(folder: &Path) -> Result<(), LogError> {
    if folder.join(FORMAT).exists() {
        return Ok(());
    }
    let entries = fs::read_dir(folder).map_err(|source| LogError::io("read", folder, source))?;
    for entry in entries {
        let entry = entry.map_err(|source| LogError::io("read", folder, source))?;
        let found = entry.file_name().to_string_lossy().into_owned();
        if found != LOCK && found != FORMAT_BEING_WRITTEN {
            return Err(LogError::NotAStateFolder { path: folder.to_path_buf(), found });
        }
    }
    Ok(())
}

fn refused(folder: &Path, action: &'static str, path: &Path, source: io::Error) -> LogError {
    if is_read_only(&source) {
        return LogError::ReadOnly { path: PathBuf::from(folder), source };
    }
    LogError::io(action, path, source)
}

fn sync_folder(folder: &Path) -> Result<(), LogError> {
    let open = File::open(folder).map_err(|source| LogError::io("open", folder, source))?;
    open.sync_all().map_err(|source| LogError::sync(folder, source))
}
