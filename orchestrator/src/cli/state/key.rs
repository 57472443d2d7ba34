//! A key on the command line, encoded as the worker encodes it.

use std::fmt;

use bytes::Bytes;
use clap::Args;
use serde_json::{Value, json};

use crate::record::encoding;

/// A key: text, or JSON.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// The key, if it is text
    #[arg(value_name = "KEY", required_unless_present = "key_json")]
    key: Option<String>,
    /// The key as `export` prints it, for example 7 or '["a", 1]'
    #[arg(long, value_name = "JSON", conflicts_with = "key", value_parser = from_json)]
    key_json: Option<Value>,
}

impl KeyArgs {
    /// The key as it is stored.
    pub(super) fn encoded(&self) -> Bytes {
        let mut bytes = Vec::new();
        match (&self.key, &self.key_json) {
            (Some(text), _) => encoding::write(text, &mut bytes),
            (None, json) => encoding::write(json, &mut bytes),
        }
        bytes.into()
    }
}

impl fmt::Display for KeyArgs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.key, &self.key_json) {
            (Some(text), _) => write!(formatter, "{text:?}"),
            (None, json) => write!(formatter, "{}", json.as_ref().unwrap_or(&Value::Null)),
        }
    }
}

fn from_json(text: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
    wire_form(value)
}

/// A key as it is sent: `true` and `false` have a tag.
fn wire_form(value: Value) -> Result<Value, String> {
    match value {
        Value::Bool(value) => Ok(json!(["!bool", u8::from(value)])),
        Value::Number(number) if !number.is_i64() => Err(format!("{number} cannot be a key")),
        Value::Array(items) => items.into_iter().map(wire_form).collect(),
        Value::Object(_) => Err("an object cannot be a key".to_owned()),
        plain => Ok(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> Bytes {
        KeyArgs { key: None, key_json: Some(from_json(json).unwrap()) }.encoded()
    }

    #[test]
    fn keys_are_encoded_as_python_does() {
        assert_eq!(KeyArgs { key: Some("7".to_owned()), key_json: None }.encoded(), b"\xa17"[..]);
        assert_eq!(encoded("\"word\""), b"\xa4word"[..]);
        assert_eq!(encoded("7"), b"\x07"[..]);
        assert_eq!(encoded("200"), b"\xcc\xc8"[..]);
        assert_eq!(encoded("-1"), b"\xff"[..]);
        assert_eq!(encoded("[\"a\", [1, -200]]"), b"\x92\xa1a\x92\x01\xd1\xff\x38"[..]);
        assert_eq!(encoded("true"), b"\x92\xa5!bool\x01"[..]);
        assert_eq!(encoded("null"), b"\xc0"[..]);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        for json in ["1.5", "{}", "[{}]", "18446744073709551615", "word"] {
            assert!(from_json(json).is_err(), "{json}");
        }
    }
}
