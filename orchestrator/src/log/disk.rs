//! The file system as the log uses it: few calls, so that tests can make each of them fail.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// Folders and whole files.
pub(super) trait Disk: Send {
    /// Makes a folder, unless it exists.
    fn create_folder(&mut self, path: &Path) -> io::Result<()>;
    /// The names of the files in a folder, in no order.
    fn names(&mut self, folder: &Path) -> io::Result<Vec<String>>;
    /// A file of `len` zeros that have their place on the disk. If the file exists, its content is dropped first.
    fn create(&mut self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>>;
    /// A file that exists, to write to.
    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// The whole content of a file.
    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>>;
    /// Removes a file. It may come back after a power cut until the folder is synced.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Makes durable which files a folder has.
    fn sync_folder(&mut self, path: &Path) -> io::Result<()>;
}

/// A file that is open for writing.
pub(super) trait DiskFile: Send {
    /// Writes a part of `bytes` at `offset`, and returns how many. The rest has to be written by further calls.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Drops what is after `keep` bytes, then extends the file to `len` bytes by zeros that have their place on the disk.
    fn cut(&mut self, keep: u64, len: u64) -> io::Result<()>;
    /// Makes all that was written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system of the machine.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn names(&mut self, folder: &Path) -> io::Result<Vec<String>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn create(&mut self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).open(path)?;
        if let Err(error) = allocate(&file, len) {
            // A full disk is left alone until the next attempt, which empties the file as well.
            let _ = file.set_len(0);
            return Err(error);
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open(&mut self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn cut(&mut self, keep: u64, len: u64) -> io::Result<()> {
        self.0.set_len(keep)?;
        allocate(&self.0, len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// Reserves the place of `len` bytes. A file system that cannot do so gets a file of that length.
fn allocate(file: &File, len: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, len.cast_signed()) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return file.set_len(len),
            Err(error) => return Err(error.into()),
        }
    }
}
