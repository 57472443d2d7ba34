//! MessagePack as the vectors' JSON: bytes are `{"hex": …}`. Made of `rmp-serde`, not of the code under test.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};
use wallaroo_protocol::key as protocol_key;

/// One encoded value.
pub(crate) fn value(encoded: &[u8]) -> Value {
    rmp_serde::from_slice::<Neutral>(encoded).expect("MessagePack").0
}

/// Bytes.
pub(crate) fn bytes(bytes: &[u8]) -> Value {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("a String takes any text");
    }
    json!({ "hex": hex })
}

/// The key that `decoded` stands for.
pub(crate) fn key(decoded: &Value) -> Bytes {
    match decoded {
        Value::Null => protocol_key::nil(),
        Value::String(text) => protocol_key::from_str(text),
        Value::Number(number) => protocol_key::from_int(number.as_i64().expect("a signed 64-bit int")),
        Value::Array(parts) => protocol_key::tuple(&parts.iter().map(key).collect::<Vec<_>>()),
        Value::Object(map) => protocol_key::from_bytes(&crate::unhex(map["hex"].as_str().expect("hex"))),
        Value::Bool(_) => panic!("a bool is no key"),
    }
}

struct Neutral(Value);

impl<'de> Deserialize<'de> for Neutral {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NeutralVisitor).map(Neutral)
    }
}

struct NeutralVisitor;

impl<'de> Visitor<'de> for NeutralVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value of the protocol")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E: de::Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(bytes(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Neutral(value)) = elements.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Neutral(value))) = entries.next_entry()? {
            map.insert(name, value);
        }
        Ok(map.into())
    }
}
