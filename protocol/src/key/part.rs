//! A decoded key, for people and for JSON. Not used on the hot path of messages.

use std::fmt::{self, Display, Write as _};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, SeqAccess, Visitor},
    ser::SerializeMap as _,
};

use super::{KeyError, hex, validate};
use crate::writer::Writer;

/// A key, or one element of a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Nil,
    Int(i64),
    Str(String),
    Bin(Vec<u8>),
    Tuple(Vec<Part>),
}

impl Part {
    /// Decodes a key.
    pub(super) fn parse(encoded: &[u8]) -> Result<Self, KeyError> {
        validate(encoded)?;
        rmp_serde::from_slice(encoded).map_err(|_| KeyError::Type { found: "an unreadable value" })
    }

    /// Encodes the part. A nil inside a tuple is written too; the reader of the key refuses it.
    pub(super) fn write(&self, writer: &mut Writer) {
        match self {
            Self::Nil => writer.nil(),
            Self::Int(number) => writer.int(*number),
            Self::Str(text) => writer.str(text),
            Self::Bin(bytes) => writer.bin(bytes),
            Self::Tuple(parts) => {
                writer.array(parts.len());
                for part in parts {
                    part.write(writer);
                }
            }
        }
    }
}

/// As Python's `repr`.
impl Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => formatter.write_str("None"),
            Self::Int(number) => number.fmt(formatter),
            Self::Str(text) => quote(formatter, text.chars(), char::is_control),
            Self::Bin(bytes) => {
                formatter.write_char('b')?;
                quote(formatter, bytes.iter().map(|byte| char::from(*byte)), |char| !matches!(char, ' '..='~'))
            }
            Self::Tuple(parts) => {
                formatter.write_char('(')?;
                for (index, part) in parts.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(formatter, "{separator}{part}")?;
                }
                formatter.write_str(if parts.len() == 1 { ",)" } else { ")" })
            }
        }
    }
}

/// Writes a Python string literal, in single quotes unless the text contains single quotes and no double quotes.
fn quote(
    formatter: &mut fmt::Formatter<'_>,
    chars: impl Iterator<Item = char> + Clone,
    escaped: impl Fn(char) -> bool,
) -> fmt::Result {
    let has = |quote| chars.clone().any(|char| char == quote);
    let quote = if has('\'') && !has('"') { '"' } else { '\'' };
    formatter.write_char(quote)?;
    for char in chars {
        match char {
            '\n' => formatter.write_str("\\n")?,
            '\r' => formatter.write_str("\\r")?,
            '\t' => formatter.write_str("\\t")?,
            '\\' => formatter.write_str("\\\\")?,
            _ if char == quote => write!(formatter, "\\{quote}")?,
            _ if escaped(char) => write!(formatter, "\\x{:02x}", u32::from(char))?,
            _ => formatter.write_char(char)?,
        }
    }
    formatter.write_char(quote)
}

/// In human-readable formats bytes become `{"hex": …}`, as in the test vectors.
impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Nil => serializer.serialize_none(),
            Self::Int(number) => serializer.serialize_i64(*number),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bin(bytes) => serialize_bin(bytes, serializer),
            Self::Tuple(parts) => parts.serialize(serializer),
        }
    }
}

/// Bytes as bytes in binary formats, and as `{"hex": …}` in human-readable formats.
pub(crate) fn serialize_bin<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return serializer.serialize_bytes(bytes);
    }
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry("hex", &hex(bytes))?;
    map.end()
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartVisitor)
    }
}

struct PartVisitor;

impl<'de> Visitor<'de> for PartVisitor {
    type Value = Part;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key: a str, bytes, int or a tuple of these")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Part, E> {
        Ok(Part::Nil)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Part, E> {
        Ok(Part::Int(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Part, E> {
        i64::try_from(number).map(Part::Int).map_err(|_| E::custom(KeyError::IntRange))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Part, E> {
        Ok(Part::Str(text.to_owned()))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Part, E> {
        Ok(Part::Bin(bytes.to_vec()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Part, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = elements.next_element()? {
            parts.push(part);
        }
        Ok(Part::Tuple(parts))
    }
}
