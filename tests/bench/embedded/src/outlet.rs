//! Gathers the messages of a sink step, so that one write to the socket carries many.

use bytes::Bytes;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyBytes, PyString};
use tokio::sync::mpsc;
use wallaroo_orch::sink_chunk::SinkChunk;
use wallaroo_orch::sink::SinkEvent;

/// The maximum number of bytes that are gathered before they are handed over.
const GATHER: usize = 64 << 10;
/// A message of this size or more is handed over without a copy.
const LARGE: usize = 16 << 10;
/// The number of unwritten bytes at which the pipeline waits.
const QUEUE: usize = 16 << 20;

/// The pipeline's end of a sink.
pub(crate) struct Outlet {
    bytes: Vec<u8>,
    lengths: Vec<u32>,
    chunks: mpsc::UnboundedSender<SinkChunk>,
    events: mpsc::UnboundedReceiver<SinkEvent>,
    unwritten: usize,
}

impl Outlet {
    pub(crate) fn new(chunks: mpsc::UnboundedSender<SinkChunk>, events: mpsc::UnboundedReceiver<SinkEvent>) -> Self {
        Self { bytes: Vec::with_capacity(GATHER), lengths: Vec::new(), chunks, events, unwritten: 0 }
    }

    /// Accepts what an encoder returned.
    pub(crate) fn take(&mut self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(text) = message.cast_exact::<PyString>() {
            let encoded = text.to_str()?;
            if encoded.len() < LARGE {
                self.copy(message.py(), encoded.as_bytes());
            } else {
                let backed = PyBackedStr::try_from(text.clone())?;
                self.pass(message.py(), Bytes::from_owner(TextBytes(backed)));
            }
        } else if let Ok(bytes) = message.cast_exact::<PyBytes>() {
            if bytes.as_bytes().len() < LARGE {
                self.copy(message.py(), bytes.as_bytes());
            } else {
                self.pass(message.py(), Bytes::from_owner(PyBackedBytes::from(bytes.clone())));
            }
        } else if !message.is_none() {
            return Err(PyTypeError::new_err("an encoder returns str, bytes or None"));
        }
        Ok(())
    }

    /// Hands over the gathered bytes.
    pub(crate) fn flush(&mut self, py: Python<'_>) {
        if self.lengths.is_empty() {
            return;
        }
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(GATHER));
        let messages = self.lengths.len();
        let lengths = std::mem::replace(&mut self.lengths, Vec::with_capacity(messages));
        self.hand_over(py, SinkChunk { bytes: bytes.into(), lengths });
    }

    fn copy(&mut self, py: Python<'_>, message: &[u8]) {
        self.bytes.extend_from_slice(message);
        self.lengths.push(message.len() as u32);
        if self.bytes.len() >= GATHER {
            self.flush(py);
        }
    }

    fn pass(&mut self, py: Python<'_>, bytes: Bytes) {
        self.flush(py);
        let lengths = vec![bytes.len() as u32];
        self.hand_over(py, SinkChunk { bytes, lengths });
    }

    fn hand_over(&mut self, py: Python<'_>, chunk: SinkChunk) {
        self.unwritten += chunk.bytes.len();
        // The sink ends only with the process.
        let _ = self.chunks.send(chunk);
        while let Ok(event) = self.events.try_recv() {
            self.note(&event);
        }
        while self.unwritten > QUEUE {
            let Some(event) = py.detach(|| self.events.blocking_recv()) else { return };
            self.note(&event);
        }
    }

    fn note(&mut self, event: &SinkEvent) {
        if let SinkEvent::Written { bytes, .. } = event {
            self.unwritten -= bytes;
        }
    }
}

/// The UTF-8 bytes of a `str`.
struct TextBytes(PyBackedStr);

impl AsRef<[u8]> for TextBytes {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
