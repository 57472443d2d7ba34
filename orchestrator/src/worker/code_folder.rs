//! Where the workers of an edition keep the application's code as the first of them imported it; see "Code" in `spec/protocol.md`.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;

/// A folder of one edition. It is deleted with its last clone.
#[derive(Debug, Clone)]
pub struct CodeFolder(Arc<TempDir>);

impl CodeFolder {
    /// An empty folder that only this user can read. Without one, which the log says, the code is not frozen: a worker that is
    /// started later runs what is on disk then.
    pub fn create() -> Option<Self> {
        let private = Permissions::from_mode(0o700);
        match tempfile::Builder::new().prefix("wallaroo-code-").permissions(private).tempdir() {
            Ok(folder) => Some(Self(Arc::new(folder))),
            Err(error) => {
                let place = std::env::temp_dir();
                tracing::warn!(
                    "no folder for copies of the application's code can be made in {}: {error}; changes of its files take effect \
                     whenever a worker is started",
                    place.display()
                );
                None
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
