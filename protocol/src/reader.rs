//! Reads the MessagePack of one body. Every method checks a length against the bytes that are left before it uses it,
//! and returns slices of the body instead of copies.

use bytes::Bytes;
use rmp::Marker;

use crate::{MAX_NESTING, PROTOCOL_VERSION, ProtocolError, key, type_name::type_name};

/// A position in a body. Errors name the message `message`.
#[derive(Debug)]
pub(crate) struct Reader {
    body: Bytes,
    at: usize,
    message: &'static str,
}

impl Reader {
    /// A reader of `body`, which is (part of) the message called `message`.
    pub(crate) fn new(body: Bytes, message: &'static str) -> Self {
        Self { body, at: 0, message }
    }

    /// Opens a body: returns its type number, the number of fields after it, and a reader before the first field.
    pub(crate) fn open(body: Bytes) -> Result<(u8, usize, Self), ProtocolError> {
        let mut reader = Self::new(body, "message");
        let elements = match reader.array("type") {
            Err(ProtocolError::FieldType { found, .. }) => return Err(ProtocolError::NotAMessage { found }),
            Ok(0) => return Err(ProtocolError::NotAMessage { found: "an empty array" }),
            elements => elements?,
        };
        match reader.marker("type")? {
            Marker::FixPos(number) => Ok((number, elements - 1, reader)),
            other => Err(reader.wrong_type("type", "a positive fixint", other)),
        }
    }

    /// Sets the message's name, and checks that [`Reader::open`] reported (as `found`) the number of fields it must
    /// have.
    pub(crate) fn expect(&mut self, message: &'static str, expected: usize, found: usize) -> Result<(), ProtocolError> {
        self.message = message;
        if expected == found { Ok(()) } else { Err(ProtocolError::FieldCount { message, expected, found }) }
    }

    /// Reads the start of a `hello`, which is the same in every version of the protocol. The version is compared before
    /// anything else is read, so another version is reported as such. Returns the software's version.
    pub(crate) fn hello(&mut self, expected: usize, found: usize) -> Result<String, ProtocolError> {
        self.message = "hello";
        let protocol = self.uint("protocol")?;
        let version = self.string("version")?;
        if protocol != u64::from(PROTOCOL_VERSION) {
            return Err(ProtocolError::Version { theirs: protocol, version });
        }
        self.expect("hello", expected, found)?;
        Ok(version)
    }

    /// Ends the body: refuses bytes that were not read.
    pub(crate) fn finish(self) -> Result<(), ProtocolError> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(ProtocolError::TrailingBytes { message: self.message, count }),
        }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn remaining(&self) -> usize {
        self.body.len() - self.at
    }

    /// The bytes from `start` to the current position, without copying.
    pub(crate) fn since(&self, start: usize) -> Bytes {
        self.body.slice(start..self.at)
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, ProtocolError> {
        match self.marker(field)? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            other => Err(self.wrong_type(field, "a bool", other)),
        }
    }

    pub(crate) fn false_or_uint(&mut self, field: &'static str) -> Result<Option<u64>, ProtocolError> {
        match self.marker(field)? {
            Marker::False => Ok(None),
            marker => self.uint_after(marker, field).map(Some),
        }
    }

    pub(crate) fn uint(&mut self, field: &'static str) -> Result<u64, ProtocolError> {
        let marker = self.marker(field)?;
        self.uint_after(marker, field)
    }

    /// A uint that must fit 32 bits.
    pub(crate) fn uint32(&mut self, field: &'static str) -> Result<u32, ProtocolError> {
        u32::try_from(self.uint(field)?).map_err(|_| ProtocolError::FieldType {
            message: self.message,
            field,
            expected: "a uint of 32 bits",
            found: "a larger one",
        })
    }

    /// A signed integer of 64 bits.
    pub(crate) fn int(&mut self, field: &'static str) -> Result<i64, ProtocolError> {
        let marker = self.marker(field)?;
        self.int_after(marker, field)
    }

    /// A signed integer of 64 bits, or nil.
    pub(crate) fn optional_int(&mut self, field: &'static str) -> Result<Option<i64>, ProtocolError> {
        match self.marker(field)? {
            Marker::Null => Ok(None),
            marker => self.int_after(marker, field).map(Some),
        }
    }

    pub(crate) fn optional_uint(&mut self, field: &'static str) -> Result<Option<u64>, ProtocolError> {
        match self.marker(field)? {
            Marker::Null => Ok(None),
            marker => self.uint_after(marker, field).map(Some),
        }
    }

    /// A float of 64 bits.
    pub(crate) fn float(&mut self, field: &'static str) -> Result<f64, ProtocolError> {
        let marker = self.marker(field)?;
        if marker != Marker::F64 {
            return Err(self.wrong_type(field, "a float of 64 bits", marker));
        }
        let bytes = self.take(8, field)?;
        Ok(f64::from_be_bytes(bytes.try_into().unwrap_or_default()))
    }

    pub(crate) fn str(&mut self, field: &'static str) -> Result<&str, ProtocolError> {
        let marker = self.marker(field)?;
        self.str_after(marker, field)
    }

    pub(crate) fn string(&mut self, field: &'static str) -> Result<String, ProtocolError> {
        self.str(field).map(str::to_owned)
    }

    pub(crate) fn optional_string(&mut self, field: &'static str) -> Result<Option<String>, ProtocolError> {
        match self.marker(field)? {
            Marker::Null => Ok(None),
            marker => self.str_after(marker, field).map(|text| Some(text.to_owned())),
        }
    }

    /// An array of str.
    pub(crate) fn strings(&mut self, field: &'static str) -> Result<Vec<String>, ProtocolError> {
        let elements = self.array(field)?;
        (0..elements).map(|_| self.string(field)).collect()
    }

    /// The payload of a bin.
    pub(crate) fn bin(&mut self, field: &'static str) -> Result<Bytes, ProtocolError> {
        let length = self.bin_header(field)?;
        let start = self.at;
        self.take(length, field)?;
        Ok(self.since(start))
    }

    /// Skips a bin.
    pub(crate) fn skip_bin(&mut self, field: &'static str) -> Result<(), ProtocolError> {
        let length = self.bin_header(field)?;
        self.take(length, field).map(drop)
    }

    /// The payload of a str or a bin. A str is not checked to be UTF-8.
    pub(crate) fn payload(&mut self, field: &'static str) -> Result<&[u8], ProtocolError> {
        let length = match self.marker(field)? {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 | Marker::Bin8 => self.length(1, field)?,
            Marker::Str16 | Marker::Bin16 => self.length(2, field)?,
            Marker::Str32 | Marker::Bin32 => self.length(4, field)?,
            other => return Err(self.wrong_type(field, "a str or a bin", other)),
        };
        self.take(length, field)
    }

    /// The number of elements of an array, at most the number of remaining bytes.
    pub(crate) fn array(&mut self, field: &'static str) -> Result<usize, ProtocolError> {
        let elements = match self.marker(field)? {
            Marker::FixArray(elements) => elements.into(),
            Marker::Array16 => self.length(2, field)?,
            Marker::Array32 => self.length(4, field)?,
            other => return Err(self.wrong_type(field, "an array", other)),
        };
        self.check_elements(elements as u64, field)?;
        Ok(elements)
    }

    /// The number of records in a flat array of records with `size` elements each.
    pub(crate) fn records(&mut self, size: usize, field: &'static str) -> Result<usize, ProtocolError> {
        let found = self.array(field)?;
        if found % size == 0 {
            return Ok(found / size);
        }
        Err(ProtocolError::ElementCount { message: self.message, field, found, multiple: size })
    }

    /// The header of an array that is a record called `record`, with `expected` elements.
    pub(crate) fn record(&mut self, record: &'static str, expected: usize) -> Result<(), ProtocolError> {
        let found = self.array(record)?;
        if found == expected { Ok(()) } else { Err(ProtocolError::FieldCount { message: record, expected, found }) }
    }

    /// Skips a nil. Returns whether there was one.
    pub(crate) fn skip_nil(&mut self) -> bool {
        let nil = self.body.get(self.at) == Some(&Marker::Null.to_u8());
        self.at += usize::from(nil);
        nil
    }

    /// A key, as its encoded bytes.
    pub(crate) fn key(&mut self, field: &'static str) -> Result<Bytes, ProtocolError> {
        let start = self.at;
        self.skip_key(field)?;
        Ok(self.since(start))
    }

    /// Skips a key and returns its length in bytes.
    pub(crate) fn skip_key(&mut self, field: &'static str) -> Result<usize, ProtocolError> {
        match key::scan(&self.body[self.at..]) {
            Ok(length) => {
                self.at += length;
                Ok(length)
            }
            Err(key::KeyError::Truncated) => Err(ProtocolError::Truncated { message: self.message, field }),
            Err(source) => Err(ProtocolError::Key { message: self.message, field, source }),
        }
    }

    /// Any value at nesting depth `levels`, as its encoded bytes.
    pub(crate) fn value(&mut self, levels: usize, field: &'static str) -> Result<Bytes, ProtocolError> {
        let start = self.at;
        self.skip_value(levels, field)?;
        Ok(self.since(start))
    }

    /// Fails unless a map comes next.
    pub(crate) fn expect_map(&self, field: &'static str) -> Result<(), ProtocolError> {
        match self.body.get(self.at).map(|byte| Marker::from_u8(*byte)) {
            None => Err(ProtocolError::Truncated { message: self.message, field }),
            Some(Marker::FixMap(_) | Marker::Map16 | Marker::Map32) => Ok(()),
            Some(other) => Err(self.wrong_type(field, "a map", other)),
        }
    }

    /// Skips one value without recursion: `open` counts the elements still to come at each level of nesting.
    fn skip_value(&mut self, levels: usize, field: &'static str) -> Result<(), ProtocolError> {
        let mut open = [0_u64; MAX_NESTING];
        let mut depth = levels;
        loop {
            if let Some(elements) = self.skip_scalar_or_open(field)? {
                let level = open.get_mut(depth).ok_or(ProtocolError::TooDeep { message: self.message, field })?;
                if elements > 0 {
                    *level = elements;
                    depth += 1;
                    continue;
                }
            }
            while depth > levels {
                open[depth - 1] -= 1;
                if open[depth - 1] > 0 {
                    break;
                }
                depth -= 1;
            }
            if depth == levels {
                return Ok(());
            }
        }
    }

    /// Skips a scalar, or the header of an array or map; returns the number of its elements.
    fn skip_scalar_or_open(&mut self, field: &'static str) -> Result<Option<u64>, ProtocolError> {
        let (length, elements_each) = match self.marker(field)? {
            Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, None),
            Marker::U8 | Marker::I8 => (1, None),
            Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, None),
            Marker::FixExt2 => (3, None),
            Marker::U32 | Marker::I32 | Marker::F32 => (4, None),
            Marker::FixExt4 => (5, None),
            Marker::U64 | Marker::I64 | Marker::F64 => (8, None),
            Marker::FixExt8 => (9, None),
            Marker::FixExt16 => (17, None),
            Marker::FixStr(length) => (length.into(), None),
            Marker::Str8 | Marker::Bin8 => (self.length(1, field)?, None),
            Marker::Str16 | Marker::Bin16 => (self.length(2, field)?, None),
            Marker::Str32 | Marker::Bin32 => (self.length(4, field)?, None),
            Marker::Ext8 => (self.length(1, field)? + 1, None),
            Marker::Ext16 => (self.length(2, field)? + 1, None),
            Marker::Ext32 => (self.length(4, field)?.saturating_add(1), None),
            Marker::FixArray(elements) => (elements.into(), Some(1)),
            Marker::Array16 => (self.length(2, field)?, Some(1)),
            Marker::Array32 => (self.length(4, field)?, Some(1)),
            Marker::FixMap(pairs) => (pairs.into(), Some(2)),
            Marker::Map16 => (self.length(2, field)?, Some(2)),
            Marker::Map32 => (self.length(4, field)?, Some(2)),
            Marker::Reserved => return Err(ProtocolError::NotMessagePack { message: self.message, field }),
        };
        match elements_each {
            None => self.take(length, field).map(|_| None),
            Some(each) => self.check_elements(length as u64 * each, field).map(Some),
        }
    }

    /// Checks a count of elements: each takes at least one byte, so the count may not exceed the bytes that remain.
    fn check_elements(&self, announced: u64, field: &'static str) -> Result<u64, ProtocolError> {
        let remaining = self.remaining();
        if announced <= remaining as u64 {
            return Ok(announced);
        }
        Err(ProtocolError::TooManyElements { message: self.message, field, announced, remaining })
    }

    fn bin_header(&mut self, field: &'static str) -> Result<usize, ProtocolError> {
        match self.marker(field)? {
            Marker::Bin8 => self.length(1, field),
            Marker::Bin16 => self.length(2, field),
            Marker::Bin32 => self.length(4, field),
            other => Err(self.wrong_type(field, "a bin", other)),
        }
    }

    fn str_after(&mut self, marker: Marker, field: &'static str) -> Result<&str, ProtocolError> {
        let length = match marker {
            Marker::FixStr(length) => length.into(),
            Marker::Str8 => self.length(1, field)?,
            Marker::Str16 => self.length(2, field)?,
            Marker::Str32 => self.length(4, field)?,
            other => return Err(self.wrong_type(field, "a str", other)),
        };
        let message = self.message;
        std::str::from_utf8(self.take(length, field)?).map_err(|_| ProtocolError::NotUtf8 { message, field })
    }

    fn int_after(&mut self, marker: Marker, field: &'static str) -> Result<i64, ProtocolError> {
        match marker {
            Marker::FixNeg(value) => Ok(value.into()),
            Marker::I8 => Ok((self.big_endian(1, field)? as i8).into()),
            Marker::I16 => Ok((self.big_endian(2, field)? as i16).into()),
            Marker::I32 => Ok((self.big_endian(4, field)? as i32).into()),
            Marker::I64 => Ok(self.big_endian(8, field)? as i64),
            marker => i64::try_from(self.uint_after(marker, field)?).map_err(|_| ProtocolError::FieldType {
                message: self.message,
                field,
                expected: "an int of 64 bits",
                found: "a larger one",
            }),
        }
    }

    fn uint_after(&mut self, marker: Marker, field: &'static str) -> Result<u64, ProtocolError> {
        match marker {
            Marker::FixPos(value) => Ok(value.into()),
            Marker::U8 => self.big_endian(1, field),
            Marker::U16 => self.big_endian(2, field),
            Marker::U32 => self.big_endian(4, field),
            Marker::U64 => self.big_endian(8, field),
            other => Err(self.wrong_type(field, "a uint", other)),
        }
    }

    fn marker(&mut self, field: &'static str) -> Result<Marker, ProtocolError> {
        let byte = self.take(1, field)?[0];
        Ok(Marker::from_u8(byte))
    }

    fn length(&mut self, bytes: usize, field: &'static str) -> Result<usize, ProtocolError> {
        self.big_endian(bytes, field).map(|length| length as usize)
    }

    fn big_endian(&mut self, bytes: usize, field: &'static str) -> Result<u64, ProtocolError> {
        Ok(self.take(bytes, field)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn take(&mut self, length: usize, field: &'static str) -> Result<&[u8], ProtocolError> {
        if length > self.remaining() {
            return Err(ProtocolError::Truncated { message: self.message, field });
        }
        self.at += length;
        Ok(&self.body[self.at - length..self.at])
    }

    fn wrong_type(&self, field: &'static str, expected: &'static str, found: Marker) -> ProtocolError {
        match found {
            Marker::Reserved => ProtocolError::NotMessagePack { message: self.message, field },
            found => ProtocolError::FieldType { message: self.message, field, expected, found: type_name(found) },
        }
    }
}

#[cfg(test)]
mod tests;
