//! How far a source has come, so that a later run can go on there. Sources make positions; the engine and the log carry them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use crc32fast::Hasher;
use serde::{Deserialize, Serialize};

/// Bytes at the beginning of a file that are hashed, at most. Enough to tell two files apart, few enough to be read at each start.
pub const HEAD: u64 = 4 << 10;

/// The name that a client gives its stream of messages, so that it can go on with it on another connection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct StreamName(Arc<str>);

impl StreamName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for StreamName {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<&str> for StreamName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.as_str().to_owned()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What is behind a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// It cannot be said: nobody can be asked for it again.
    #[default]
    Unknown,
    /// A part of its file.
    File(FilePosition),
    /// So many messages of each stream. Other streams have not begun.
    Messages(BTreeMap<StreamName, u64>),
    /// So many messages of each partition of a connector, and where it goes on behind them. Others have not begun.
    Marks(BTreeMap<StreamName, Mark>),
}

/// Where a connector goes on in a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Messages of the partition that are behind it.
    pub messages: u64,
    /// What the connector has said of the last of them. Empty: nothing, or there is none.
    pub mark: Bytes,
}

impl Position {
    /// So many messages of one stream.
    pub fn in_stream(stream: StreamName, messages: u64) -> Self {
        Self::Messages(BTreeMap::from([(stream, messages)]))
    }

    /// Behind so many messages of one partition of a connector.
    pub fn in_partition(partition: StreamName, messages: u64, mark: Bytes) -> Self {
        Self::Marks(BTreeMap::from([(partition, Mark { messages, mark })]))
    }

    /// Takes in where a source has come to since. What that does not name stays.
    pub fn advance(&mut self, later: &Self) {
        match (&mut *self, later) {
            (_, Self::Unknown) => {}
            (Self::Messages(streams), Self::Messages(later)) => {
                streams.extend(later.iter().map(|(stream, messages)| (stream.clone(), *messages)));
            }
            (Self::Marks(partitions), Self::Marks(later)) => {
                partitions.extend(later.iter().map(|(partition, mark)| (partition.clone(), mark.clone())));
            }
            (position, later) => *position = later.clone(),
        }
    }

    /// The place in its file.
    pub fn file(&self) -> Option<FilePosition> {
        if let Self::File(position) = self { Some(*position) } else { None }
    }

    /// Bytes of its file that are behind it.
    pub fn bytes(&self) -> Option<u64> {
        self.file().map(|position| position.offset)
    }

    /// Messages that are behind it, by stream or partition.
    pub fn into_messages(self) -> impl Iterator<Item = (StreamName, u64)> {
        self.into_marks().map(|(stream, mark)| (stream, mark.messages))
    }

    /// Where each stream or partition goes on. Those of clients, which know it themselves, have no marks.
    pub fn into_marks(self) -> impl Iterator<Item = (StreamName, Mark)> {
        let (streams, partitions) = match self {
            Self::Messages(streams) => (streams, BTreeMap::new()),
            Self::Marks(partitions) => (BTreeMap::new(), partitions),
            Self::Unknown | Self::File(_) => (BTreeMap::new(), BTreeMap::new()),
        };
        let streams = streams.into_iter().map(|(stream, messages)| (stream, Mark { messages, mark: Bytes::new() }));
        streams.chain(partitions)
    }
}

/// A place in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePosition {
    /// Bytes of the file that are behind it.
    pub offset: u64,
    /// The file.
    pub file: FileIdentity,
}

/// What tells a file from others, also from one that is later found under the same path.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Its device.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
    /// Bytes at its beginning that are hashed.
    pub head: u32,
    /// CRC-32 of them.
    pub checksum: u32,
}

impl FilePosition {
    /// The beginning of a file of which nothing has been read.
    pub fn beginning(device: u64, inode: u64) -> Self {
        Self { offset: 0, file: FileIdentity { device, inode, head: 0, checksum: 0 } }
    }

    /// Moves past the next bytes of the file, as they are read.
    pub fn read(&mut self, bytes: &[u8]) {
        self.file.read(self.offset, bytes);
        self.offset += bytes.len() as u64;
    }

    /// The position so many bytes later.
    #[must_use]
    pub fn after(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }

    /// Bytes of the file that have been read, at least.
    pub fn bytes_read(&self) -> u64 {
        self.offset.max(self.file.head.into())
    }
}

impl FileIdentity {
    /// Takes in bytes that begin at `offset`, behind those that were taken in before.
    fn read(&mut self, offset: u64, bytes: &[u8]) {
        if u64::from(self.head) != offset || offset >= HEAD {
            return;
        }
        let more = bytes.len().min((HEAD - offset) as usize);
        let mut hasher = Hasher::new_with_initial(self.checksum);
        hasher.update(&bytes[..more]);
        self.checksum = hasher.finalize();
        self.head += more as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_first_bytes_however_they_are_read() {
        let content: Vec<u8> = (0..3 * HEAD).map(|number| (number % 251) as u8).collect();
        for piece in [1, 7, 1_000, 4_096, 5_000, content.len()] {
            let mut position = FilePosition::beginning(1, 2);
            for bytes in content.chunks(piece) {
                position.read(bytes);
                let head = position.offset.min(HEAD) as usize;
                assert_eq!(position.file.head as usize, head);
                assert_eq!(position.file.checksum, crc32fast::hash(&content[..head]), "{piece}");
            }
            assert_eq!(position.offset, 3 * HEAD);
        }
    }
}
