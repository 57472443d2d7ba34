//! Writes MessagePack in its shortest form into memory. Infallible, unlike `rmp`'s writers, which this wraps.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use rmp::encode::{self, ByteBuf, RmpWrite as _, ValueWriteError};

/// A body, or a piece of one, that is being written.
#[derive(Debug, Default)]
pub(crate) struct Writer(ByteBuf);

impl Writer {
    /// A writer that holds `capacity` bytes before it grows.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(ByteBuf::with_capacity(capacity))
    }

    /// Begins a message: writes its array header and type number. `fields` fields must follow.
    pub(crate) fn message(number: u8, fields: usize) -> Self {
        let mut writer = Self::default();
        writer.array(fields + 1);
        writer.uint(number.into());
        writer
    }

    pub(crate) fn finish(self) -> Bytes {
        self.0.into_vec().into()
    }

    pub(crate) fn nil(&mut self) {
        let Ok(()) = encode::write_nil(&mut self.0);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        let Ok(()) = encode::write_bool(&mut self.0, value);
    }

    pub(crate) fn uint(&mut self, value: u64) {
        infallible(encode::write_uint(&mut self.0, value));
    }

    /// A duration, in nanoseconds: a u64 holds 584 years of them.
    pub(crate) fn nanoseconds(&mut self, duration: Duration) {
        self.uint(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn int(&mut self, value: i64) {
        infallible(encode::write_sint(&mut self.0, value));
    }

    pub(crate) fn float(&mut self, value: f64) {
        infallible(encode::write_f64(&mut self.0, value));
    }

    pub(crate) fn str(&mut self, value: &str) {
        infallible(encode::write_str_len(&mut self.0, length(value.len())));
        self.raw(value.as_bytes());
    }

    pub(crate) fn bin(&mut self, value: &[u8]) {
        infallible(encode::write_bin_len(&mut self.0, length(value.len())));
        self.raw(value);
    }

    /// The header of an array; `elements` elements must follow.
    pub(crate) fn array(&mut self, elements: usize) {
        infallible(encode::write_array_len(&mut self.0, length(elements)));
    }

    /// Bytes that are already MessagePack.
    pub(crate) fn raw(&mut self, encoded: &[u8]) {
        let Ok(()) = self.0.write_bytes(encoded);
    }

    /// A str, or nil.
    pub(crate) fn optional_str(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.str(value),
            None => self.nil(),
        }
    }

    /// A signed integer, or nil.
    pub(crate) fn optional_int(&mut self, value: Option<i64>) {
        match value {
            Some(value) => self.int(value),
            None => self.nil(),
        }
    }

    /// An array of str.
    pub(crate) fn strs(&mut self, values: &[String]) {
        self.array(values.len());
        for value in values {
            self.str(value);
        }
    }
}

/// A length in MessagePack's type. Frames, and so everything in them, are far below 4 GiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).expect("what goes into one frame is shorter than 4 GiB")
}

/// Unwraps a result that has no error: writing to memory cannot fail.
fn infallible<T>(result: Result<T, ValueWriteError<Infallible>>) -> T {
    result.unwrap_or_else(|error| match error {
        ValueWriteError::InvalidMarkerWrite(never) | ValueWriteError::InvalidDataWrite(never) => match never {},
    })
}
