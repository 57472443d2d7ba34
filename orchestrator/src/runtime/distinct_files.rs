//! Refuses a run in which one file would be read and written, or written twice, or the application's own written, before any file is opened: opening a sink's file
//! empties it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use wallaroo_protocol::topology::{SinkConfig, SourceConfig};

use super::RunError;
use crate::plan::Plan;

const STDOUT: &str = "standard output";

/// What makes two paths one file.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Identity {
    /// Device and inode.
    Existing(u64, u64),
    /// A file that will be created: the folder's device and inode, and the name.
    New(u64, u64, OsString),
}

/// Returns an error if a file that is written has another part in the run. Pipes and devices may have several.
pub(super) fn check_files(plan: &Plan, application: &str, dead_letters: Option<&Path>) -> Result<(), RunError> {
    let mut known: HashMap<Identity, String> = HashMap::new();
    for file in files_of(application).into_iter().filter(|file| file.is_file()) {
        known.extend(of_path(&file).map(|identity| (identity, "the application".to_owned())));
    }
    for source in &plan.sources {
        let identity = match &source.config {
            SourceConfig::File { path, .. } => of_path(path.as_ref()),
            SourceConfig::Stdin {} => of_stream(io::stdin().as_fd()),
            SourceConfig::Tcp { .. } | SourceConfig::Generator {} | SourceConfig::Connector { .. } => None,
        };
        if let Some(identity) = identity {
            known.insert(identity, format!("source {:?}", plan.name(source.node)));
        }
    }
    let mut written: Vec<(Option<Identity>, String, String)> = Vec::new();
    for sink in &plan.sinks {
        if let SinkConfig::File { path, .. } = &sink.config {
            written.push((of_path(path.as_ref()), format!("sink {:?}", plan.name(sink.node)), path.clone()));
        }
    }
    // Several sinks may write to standard output.
    if plan.sinks.iter().any(|sink| matches!(sink.config, SinkConfig::Stdout {})) {
        written.push((of_stream(io::stdout().as_fd()), STDOUT.to_owned(), STDOUT.to_owned()));
    }
    if let Some(path) = dead_letters {
        written.push((of_path(path), "the dead letter file".to_owned(), path.display().to_string()));
    }
    for (identity, part, path) in written {
        let Some(identity) = identity else { continue };
        if let Some(other) = known.get(&identity) {
            return Err(RunError::SameFile { part, other: other.clone(), path });
        }
        known.insert(identity, part);
    }
    Ok(())
}

/// Where the code of an application may be that is given as a path, or as the name of a module below the current folder.
fn files_of(application: &str) -> [PathBuf; 3] {
    let module = application.replace('.', "/");
    [application.into(), format!("{module}.py").into(), format!("{module}/__init__.py").into()]
}

fn of_path(path: &Path) -> Option<Identity> {
    if let Ok(found) = path.metadata() {
        return found.is_file().then(|| Identity::Existing(found.dev(), found.ino()));
    }
    // A link to a file that does not exist yet.
    let path = path.read_link().map_or_else(|_| path.to_owned(), |to| path.parent().unwrap_or(path).join(to));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // What is wrong with the folder is said when the file is opened.
    let folder = folder.metadata().ok()?;
    Some(Identity::New(folder.dev(), folder.ino(), path.file_name()?.to_owned()))
}

fn of_stream(stream: impl AsFd) -> Option<Identity> {
    let found = File::from(stream.as_fd().try_clone_to_owned().ok()?).metadata().ok()?;
    found.is_file().then(|| Identity::Existing(found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_one_under_every_spelling() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("data"), "").expect("written");
        symlink("data", path("link")).expect("linked");
        std::fs::hard_link(path("data"), path("hard")).expect("linked");
        for other in ["link", "hard", "./data"] {
            assert_eq!(of_path(&path("data")), of_path(&path(other)), "{other}");
        }
        assert_ne!(of_path(&path("data")), of_path(&path("new")));
        symlink("new", path("dangling")).expect("linked");
        for other in ["./new", "dangling"] {
            assert_eq!(of_path(&path("new")), of_path(&path(other)), "{other}");
        }
        assert_eq!(of_path(Path::new("/dev/null")), None);
    }
}
