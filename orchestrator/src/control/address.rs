//! Where control sockets are: by default in a folder that only the user can enter, named after the application.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::listener::BindError;

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Where a run binds its control socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlAddress {
    /// At this path.
    At(PathBuf),
    /// In the user's [`folder`], under the name of this application.
    NamedAfter(String),
}

impl ControlAddress {
    /// The default for an application, given as the path of a `.py` file or the name of a module.
    pub fn of(application: &str) -> Self {
        let name = Path::new(application).file_name().unwrap_or(application.as_ref()).to_string_lossy();
        Self::NamedAfter(name.strip_suffix(".py").unwrap_or(&name).to_owned())
    }
}

/// The folder of the user's sockets.
pub fn folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parent = runtime.filter(|path| path.is_absolute() && path.is_dir()).unwrap_or_else(env::temp_dir);
    parent.join(format!("wallaroo-{}", nix::unistd::geteuid()))
}

/// Creates `folder` if it does not exist, and checks that no other user can create files in it.
pub(super) fn make_private(folder: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Folder { folder: folder.to_owned(), source };
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // Links are not followed: in a temporary folder any user may have created one.
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    let private = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & OTHERS == 0;
    if private { Ok(()) } else { Err(BindError::NotPrivate { folder: folder.to_owned() }) }
}

/// The sockets in the user's folder, including those that nobody listens on any more.
pub fn sockets() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder()) else { return Vec::new() };
    let sockets = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    let mut sockets: Vec<_> = sockets.map(|entry| entry.path()).collect();
    sockets.sort();
    sockets
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_is_made_private_and_one_that_is_not_is_refused() {
        let temporary = tempfile::tempdir().expect("a folder");
        let folder = temporary.path().join("sockets");
        make_private(&folder).expect("made");
        assert_eq!(fs::metadata(&folder).expect("there").mode() & 0o777, 0o700);
        make_private(&folder).expect("there already");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("ours");
        assert!(matches!(make_private(&folder), Err(BindError::NotPrivate { .. })));
    }

    #[test]
    fn a_link_is_no_private_folder() {
        let temporary = tempfile::tempdir().expect("a folder");
        let link = temporary.path().join("link");
        std::os::unix::fs::symlink(temporary.path(), &link).expect("linked");
        assert!(matches!(make_private(&link), Err(BindError::NotPrivate { .. })));
    }

    #[test]
    fn an_application_names_its_socket() {
        assert_eq!(ControlAddress::of("examples/word_count.py"), ControlAddress::NamedAfter("word_count".to_owned()));
        assert_eq!(ControlAddress::of("package.module"), ControlAddress::NamedAfter("package.module".to_owned()));
    }
}
