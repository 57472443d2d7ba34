//! The marker: a file shared with a worker, in which it notes what it is doing. It outlives the worker.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use nix::sys::memfd::{MFdFlags, memfd_create};
use wallaroo_protocol::{BatchId, NodeId, Skip};

use crate::death::{Marker, Running};

/// Bytes of the six words at the start.
const WORDS: usize = 48;
/// Where the word is that changes when the worker has moved on.
const PROGRESS: u64 = 24;
/// Where the word is in which this process notes the batch that is withdrawn.
const WITHDRAWN: u64 = 40;
/// The longest key that a worker notes.
const LONGEST_KEY: u64 = 1 << 16;
/// In the upper half of the second word: a step runs.
const RUNNING: u32 = 1;
/// A state is being pickled.
const SAVING: u32 = 2;
/// A state is being unpickled.
const LOADING: u32 = 3;

/// See the [module](self). Clones share the file.
#[derive(Debug, Clone)]
pub struct MarkerFile(Arc<File>);

impl MarkerFile {
    /// An empty marker.
    pub fn create() -> io::Result<Self> {
        let file = memfd_create("wallaroo-marker", MFdFlags::MFD_CLOEXEC)?;
        Ok(Self(Arc::new(File::from(file))))
    }

    /// The descriptor that the worker inherits.
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// What the worker last noted.
    pub fn read(&self) -> Option<Marker> {
        let mut words = [0; WORDS];
        self.0.read_exact_at(&mut words, 0).ok()?;
        let [batch, step, message, _, key_bytes] = [0, 8, 16, 24, 32].map(|at| word(&words[at..at + 8]));
        let halves = |word: u64| (word as u32, (word >> 32) as u32);
        let ((node, phase), (origin, value)) = (halves(step), halves(message));
        match phase {
            RUNNING => {
                let message = (origin != u32::MAX).then_some(Skip { origin, value });
                Some(Marker::Running(Running { batch: BatchId(batch), node: NodeId(node), message }))
            }
            SAVING | LOADING => {
                let mut key = vec![0; key_bytes.min(LONGEST_KEY) as usize];
                self.0.read_exact_at(&mut key, WORDS as u64).ok()?;
                let marker = if phase == SAVING { Marker::Saving } else { Marker::Loading };
                Some(marker(Bytes::from(key)))
            }
            0 if batch != 0 => Some(Marker::Done(BatchId(batch))),
            _ => None,
        }
    }

    /// Tells the worker not to run a batch that it has not begun.
    pub fn withdraw(&self, batch: BatchId) {
        // Without the note it runs the batch, and the answer is dropped all the same.
        let _ = self.0.write_all_at(&batch.0.to_ne_bytes(), WITHDRAWN);
    }

    /// A number that changes when the worker has moved on to another message, step or state.
    pub fn progress(&self) -> u64 {
        let mut progress = [0; 8];
        // A worker that has not mapped it yet has made no progress.
        let _ = self.0.read_exact_at(&mut progress, PROGRESS);
        word(&progress)
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(bytes);
    u64::from_ne_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(words: [u64; 6], key: &[u8]) -> MarkerFile {
        let marker = MarkerFile::create().expect("memory");
        let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        marker.0.write_all_at(&words, 0).expect("written");
        marker.0.write_all_at(key, WORDS as u64).expect("written");
        marker
    }

    #[test]
    fn markers_are_read_as_the_spec_lays_down() {
        assert_eq!(marked([77, 3, 0, 0, 0, 0], b"").read(), Some(Marker::Done(BatchId(77))), "idle");
        let running = Running { batch: BatchId(77), node: NodeId(3), message: None };
        let in_step = 3 | 1 << 32;
        assert_eq!(marked([77, in_step, u64::MAX, 9, 0, 0], b"").read(), Some(Marker::Running(running)));
        let message = Some(Skip { origin: 5, value: 6 });
        let of_message = Marker::Running(Running { message, ..running });
        assert_eq!(marked([77, in_step, 5 | 6 << 32, 9, 0, 0], b"").read(), Some(of_message));
        let saving = marked([77, 2 << 32, 1, 12, 2, 0], b"\xa1kx");
        assert_eq!(saving.read(), Some(Marker::Saving(Bytes::from_static(b"\xa1k"))));
        assert_eq!(saving.progress(), 12);
        let loading = marked([77, 3 << 32, 1, 12, 2, 0], b"\xa1kx");
        assert_eq!(loading.read(), Some(Marker::Loading(Bytes::from_static(b"\xa1k"))));
    }

    #[test]
    fn an_empty_marker_says_nothing() {
        let marker = MarkerFile::create().expect("memory");
        assert_eq!((marker.read(), marker.progress()), (None, 0));
    }
}
