//! Where control sockets lie: in a folder that only the user can enter, named after the application.

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use super::listener::BindError;

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Which socket a run is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The one at this path and no other.
    At(PathBuf),
    /// One named after this application, in the user's [`folder`].
    Of(String),
}

impl Place {
    /// The place of an application given as on the command line: a path of a `.py` file or a module's name.
    pub fn of(application: &str) -> Self {
        let name = Path::new(application).file_stem().unwrap_or(application.as_ref());
        Self::Of(name.to_string_lossy().into_owned())
    }
}

/// The folder of this user's sockets.
pub fn folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let parent = runtime.filter(|path| path.is_absolute() && path.is_dir()).unwrap_or_else(env::temp_dir);
    parent.join(format!("wallaroo-{}", nix::unistd::geteuid()))
}

/// Makes `folder` unless it is there, and sees to it that nobody else can put anything into it.
pub(super) fn make_private(folder: &Path) -> Result<(), BindError> {
    let failed = |source| BindError::Folder { folder: folder.to_owned(), source };
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    // Not through a link: in a temp folder anybody may have put one there.
    let found = fs::symlink_metadata(folder).map_err(failed)?;
    let private = found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw() && found.mode() & OTHERS == 0;
    if private { Ok(()) } else { Err(BindError::NotPrivate { folder: folder.to_owned() }) }
}

/// The sockets in the user's folder, whether or not anybody listens.
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
        assert_eq!(Place::of("examples/word_count.py"), Place::Of("word_count".to_owned()));
        assert_eq!(Place::of("package.module"), Place::Of("package".to_owned()));
    }
}
