//! Keys: their encoding, its validation, the hash that places them, and their form for people.
//!
//! A key is `str`, `bin`, a signed 64-bit `int`, nil, or an array of these (nil only by itself), in MessagePack's
//! shortest form, so that two keys are equal exactly when their bytes are.

mod part;

use std::fmt;

use bytes::Bytes;
use rmp::Marker;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use self::part::Part;
pub(crate) use self::part::serialize_bin;
use crate::{type_name::type_name, writer::Writer};

/// How deep arrays may nest inside a key, the key itself included.
pub const MAX_KEY_NESTING: usize = 16;

/// Why bytes are not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The bytes end inside the key.
    #[error("the key's bytes end before the key does")]
    Truncated,
    /// Bytes follow the key.
    #[error("{count} bytes follow the key")]
    TrailingBytes {
        /// How many.
        count: usize,
    },
    /// A value that cannot be a key or part of one.
    #[error("a key is a str, bytes, int or a tuple of these, not {found}")]
    Type {
        /// What was found.
        found: &'static str,
    },
    /// An int or a length that has a shorter encoding. With both, the same key would have two partitions.
    #[error("an int or a length in the key is not in its shortest form")]
    NotShortest,
    /// An int above the signed 64-bit range.
    #[error("an int in the key exceeds the signed 64-bit range")]
    IntRange,
    /// A str that is not UTF-8.
    #[error("a str in the key is not UTF-8")]
    NotUtf8,
    /// Tuples nest too deep.
    #[error("the key nests deeper than {MAX_KEY_NESTING} levels")]
    TooDeep,
}

/// An encoded key that has been validated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Bytes);

impl Key {
    /// Checks that bytes are a key.
    pub fn new(encoded: Bytes) -> Result<Self, KeyError> {
        validate(&encoded)?;
        Ok(Self(encoded))
    }

    /// The encoded key.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&display(self.as_ref()))
    }
}

/// The hash that places a key: `partition = partition_hash(key) % partitions`. It is 64-bit FNV-1a finished by
/// `h ^= h >> 32`; without that step the low bits of short keys are poorly distributed. It is part of the protocol and
/// never changes.
pub fn partition_hash(key: &[u8]) -> u64 {
    let hash = key
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    hash ^ (hash >> 32)
}

/// Checks that `encoded` is one key and nothing else.
pub fn validate(encoded: &[u8]) -> Result<(), KeyError> {
    match encoded.len() - scan(encoded)? {
        0 => Ok(()),
        count => Err(KeyError::TrailingBytes { count }),
    }
}

/// The key as Python would print it: `'abc'`, `b'\x00'`, `42`, `(1, 'x')`, `None`. Bytes that are not a key are shown
/// in hex.
pub fn display(encoded: &[u8]) -> String {
    match Part::parse(encoded) {
        Ok(part) => part.to_string(),
        Err(_) => format!("<no key: {}>", hex(encoded)),
    }
}

/// Element `index` of an encoded list, as [`display`] would show it; `None` if there is no such element, or if the list holds values
/// that keys cannot have.
pub fn display_of(encoded: &[u8], index: usize) -> Option<String> {
    match Part::parse(encoded) {
        Ok(Part::Tuple(parts)) => parts.get(index).map(ToString::to_string),
        _ => None,
    }
}

/// The key `text`.
pub fn from_str(text: &str) -> Bytes {
    encoded(|writer| writer.str(text))
}

/// The key `bytes`.
pub fn from_bytes(bytes: &[u8]) -> Bytes {
    encoded(|writer| writer.bin(bytes))
}

/// The key `number`.
pub fn from_int(number: i64) -> Bytes {
    encoded(|writer| writer.int(number))
}

/// The key of all collected values: nil.
pub fn nil() -> Bytes {
    encoded(Writer::nil)
}

/// The key that is a tuple of `parts`, which are encoded keys themselves.
pub fn tuple<P: AsRef<[u8]>>(parts: &[P]) -> Bytes {
    encoded(|writer| {
        writer.array(parts.len());
        for part in parts {
            writer.raw(part.as_ref());
        }
    })
}

fn encoded(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::default();
    write(&mut writer);
    writer.finish()
}

/// The length of the key that `bytes` begin with.
pub(crate) fn scan(bytes: &[u8]) -> Result<usize, KeyError> {
    match bytes.first() {
        Some(first) if *first == Marker::Null.to_u8() => Ok(1),
        _ => scan_part(bytes, 0),
    }
}

/// The length of the key, other than nil, that `bytes` begin with. Recursion ends at [`MAX_KEY_NESTING`].
fn scan_part(bytes: &[u8], depth: usize) -> Result<usize, KeyError> {
    match element(bytes)? {
        (header, Element::Scalar(length)) => Ok(header + length),
        (_, Element::Array(_)) if depth == MAX_KEY_NESTING => Err(KeyError::TooDeep),
        (header, Element::Array(elements)) => {
            let mut at = header;
            for _ in 0..elements {
                at += scan_part(&bytes[at..], depth + 1)?;
            }
            Ok(at)
        }
    }
}

/// What follows an element's header.
enum Element {
    /// This many bytes; they were checked.
    Scalar(usize),
    /// This many elements.
    Array(usize),
}

/// Reads the header at the start of `bytes`: returns its length and what follows it.
fn element(bytes: &[u8]) -> Result<(usize, Element), KeyError> {
    let (&first, rest) = bytes.split_first().ok_or(KeyError::Truncated)?;
    let (size, least) = match Marker::from_u8(first) {
        Marker::FixPos(_) | Marker::FixNeg(_) => return Ok((1, Element::Scalar(0))),
        Marker::FixStr(length) => return str_payload(rest, 1, length.into()),
        Marker::FixArray(elements) => return Ok((1, Element::Array(elements.into()))),
        Marker::U8 | Marker::I8 => return int_payload(rest, 1, first),
        Marker::U16 | Marker::I16 => return int_payload(rest, 2, first),
        Marker::U32 | Marker::I32 => return int_payload(rest, 4, first),
        Marker::U64 | Marker::I64 => return int_payload(rest, 8, first),
        Marker::Str8 => (1, 0x20),
        Marker::Bin8 => (1, 0),
        Marker::Str16 | Marker::Bin16 => (2, 0x100),
        Marker::Array16 => (2, 0x10),
        Marker::Str32 | Marker::Bin32 | Marker::Array32 => (4, 0x1_0000),
        other => return Err(KeyError::Type { found: type_name(other) }),
    };
    let length = big_endian(rest.get(..size).ok_or(KeyError::Truncated)?) as usize;
    if length < least {
        return Err(KeyError::NotShortest);
    }
    let header = 1 + size;
    match Marker::from_u8(first) {
        Marker::Array16 | Marker::Array32 => Ok((header, Element::Array(length))),
        Marker::Str8 | Marker::Str16 | Marker::Str32 => str_payload(&rest[size..], header, length),
        _ if rest.len() - size < length => Err(KeyError::Truncated),
        _ => Ok((header, Element::Scalar(length))),
    }
}

fn str_payload(rest: &[u8], header: usize, length: usize) -> Result<(usize, Element), KeyError> {
    let text = rest.get(..length).ok_or(KeyError::Truncated)?;
    std::str::from_utf8(text).map_err(|_| KeyError::NotUtf8)?;
    Ok((header, Element::Scalar(length)))
}

/// Checks an int of `size` bytes after its marker: it must not fit a shorter encoding.
fn int_payload(rest: &[u8], size: usize, marker: u8) -> Result<(usize, Element), KeyError> {
    let value = big_endian(rest.get(..size).ok_or(KeyError::Truncated)?);
    let bits = 8 * size as u32;
    let shortest = match Marker::from_u8(marker) {
        Marker::U8 => value >= 0x80,
        Marker::U64 if value > i64::MAX as u64 => return Err(KeyError::IntRange),
        Marker::U16 | Marker::U32 | Marker::U64 => value >> (bits / 2) != 0,
        signed => {
            let negative = (value << (64 - bits)) as i64 >> (64 - bits);
            let fits_shorter = if matches!(signed, Marker::I8) { -32 } else { -1_i64 << (bits / 2 - 1) };
            negative < fits_shorter
        }
    };
    if shortest { Ok((1, Element::Scalar(size))) } else { Err(KeyError::NotShortest) }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])));
        text
    })
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Part::parse(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = Part::deserialize(deserializer)?;
        let mut writer = Writer::default();
        part.write(&mut writer);
        Self::new(writer.finish()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
