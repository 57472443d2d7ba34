use serde_json::{Value, json};

use super::*;

/// A topology given as JSON, encoded; `{"hex": …}` does not occur in these.
fn decode_json(value: &Value) -> Result<Topology, ProtocolError> {
    decode(&rmp_serde::to_vec_named(value).unwrap())
}

fn node(kind: &str, name: &str, inputs: &[u32], further: &Value) -> Value {
    let mut node = json!({ "kind": kind, "name": name, "inputs": inputs });
    node.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    node
}

fn source() -> Value {
    let framing = json!({
        "kind": "length", "header": 4, "width": 4, "offset": 0, "order": "big", "signed": false, "adjust": 0
    });
    let further = json!({
        "pipeline": "p", "source": { "kind": "tcp", "host": "127.0.0.1", "port": 7010 }, "decoder": "Decoder",
        "framing": framing, "event_time": false
    });
    node("source", "Decoder", &[], &further)
}

fn sink(input: u32) -> Value {
    node("sink", "Encoder", &[input], &json!({ "sink": { "kind": "stdout" }, "encoder": "Encoder" }))
}

/// The full error, with its causes, for a topology of these nodes.
fn error(nodes: &[Value]) -> String {
    let error = decode_json(&json!({ "name": "app", "nodes": nodes })).expect_err("refused");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// `source()` with the value at `path` replaced.
fn source_with(path: &str, value: Value) -> Value {
    let mut source = source();
    *source.pointer_mut(path).unwrap() = value;
    source
}

#[test]
fn a_topology_is_read_into_types() {
    let topology = decode_json(&json!({ "name": "app", "nodes": [source(), sink(0)] })).unwrap();
    assert_eq!(topology.name, "app");
    assert_eq!(topology.node(NodeId(1)).kind_name(), "sink");
    assert_eq!(
        topology.node(NodeId(0)).kind,
        NodeKind::Source {
            pipeline: "p".to_owned(),
            source: SourceConfig::Tcp { host: "127.0.0.1".to_owned(), port: 7010, acknowledged: false },
            decoder: Some("Decoder".to_owned()),
            framing: Some(Framing::Length {
                header: 4,
                width: 4,
                offset: 0,
                order: ByteOrder::Big,
                signed: false,
                adjust: 0
            }),
            event_time: false,
        }
    );
}

#[test]
fn unknown_kinds_and_keys_are_named_with_their_node() {
    let text = error(&[source(), node("widow", "w", &[0], &json!({}))]);
    assert!(text.contains("node 1: unknown variant `widow`, expected one of `source`, `computation`"), "{text}");
    let text = error(&[source(), node("collect", "c", &[0], &json!({ "pool": "legacy" }))]);
    assert!(text.contains("node 1: unknown field `pool`"), "{text}");
    let text = error(&[source_with("/source", json!({ "kind": "stdin", "path": "x" }))]);
    assert!(text.contains("node 0: unknown field `path`"), "{text}");
    let text = error(&[source_with("/source", json!({ "kind": "kafka" }))]);
    assert!(text.contains("node 0: unknown variant `kafka`"), "{text}");
    let text = error(&[source(), node("key_by", "k", &[0], &json!({ "keys": null, "unknown_key": "drop" }))]);
    assert!(text.contains("node 1: unknown variant `drop`"), "{text}");
}

#[test]
fn missing_keys_are_named_also_those_that_may_be_nil() {
    let text = error(&[source(), node("key_by", "k", &[0], &json!({ "unknown_key": "create" }))]);
    assert!(text.contains("node 1: missing field `keys`"), "{text}");
    let text = error(&[source(), node("computation", "c", &[0], &json!({}))]);
    assert!(text.contains("node 1: missing field `pool`"), "{text}");
    let mut without = source();
    without.as_object_mut().unwrap().remove("framing");
    assert!(error(&[without]).contains("node 0: missing field `framing`"));
    let text = error(&[source(), json!({ "name": "c", "inputs": [0] })]);
    assert!(text.contains("node 1: missing field `kind`"), "{text}");
}

#[test]
fn a_flag_that_is_absent_is_false() {
    for (described, append) in [
        (json!({ "kind": "file", "path": "x" }), false),
        (json!({ "kind": "file", "path": "x", "append": true }), true),
    ] {
        let config: SinkConfig = serde_json::from_value(described.clone()).expect("a sink");
        assert_eq!(config, SinkConfig::File { path: "x".to_owned(), append });
        assert_eq!(serde_json::to_value(&config).expect("a map"), described);
    }
    for (described, follow) in [
        (json!({ "kind": "file", "path": "x" }), false),
        (json!({ "kind": "file", "path": "x", "follow": true }), true),
    ] {
        let config: SourceConfig = serde_json::from_value(described.clone()).expect("a source");
        assert_eq!(config, SourceConfig::File { path: "x".to_owned(), follow });
        assert_eq!(serde_json::to_value(&config).expect("a map"), described);
    }
}

#[test]
fn an_array_is_no_substitute_for_a_map() {
    assert!(matches!(decode(&[0x92, 0xa0, 0x90]), Err(ProtocolError::FieldType { expected: "a map", .. })));
    let text = error(&[json!(["computation", "c", [0]])]);
    assert!(text.contains("node 0: invalid type: sequence, expected a map"), "{text}");
    let text = error(&[source_with("/source", json!(["tcp", "127.0.0.1", 7010]))]);
    assert!(text.contains("invalid type: sequence, expected a map"), "{text}");
    let text = error(&[source(), node("sink", "s", &[0], &json!({ "sink": ["stdout"], "encoder": "e" }))]);
    assert!(text.contains("invalid type: sequence, expected a map"), "{text}");
    let text = error(&[source_with("/framing", json!(["decoder", 4]))]);
    assert!(text.contains("invalid type: sequence, expected a map"), "{text}");
}

#[test]
fn nodes_must_fit_together() {
    assert_eq!(
        error(&[source(), node("computation", "c", &[1], &json!({ "pool": null, "fill": null }))]),
        "node 1 (`c`) takes input from node 1, which does not come before it"
    );
    assert_eq!(
        error(&[node("computation", "c", &[], &json!({ "pool": "legacy", "fill": null }))]),
        "node 0 (`c`) is a computation with 0 inputs"
    );
    assert_eq!(error(&[source(), source_with("/inputs", json!([0]))]), "node 1 (`Decoder`) is a source with 1 inputs");
    assert_eq!(
        error(&[source(), sink(0), node("computation", "c", &[0, 1], &json!({ "pool": null, "fill": null }))]),
        "node 2 (`c`) takes input from node 1, which is a sink"
    );
}

fn followed_and_cut_by_its_decoder() -> Value {
    let mut source = source_with("/source", json!({ "kind": "file", "path": "x", "follow": true }));
    source["framing"] = json!({ "kind": "decoder", "header": 4 });
    source
}

#[test]
fn a_framing_must_be_possible() {
    let refused = "node 0 (`Decoder`) is a source whose framing is missing, impossible, or given to a generator";
    let impossible = [
        source_with("/framing", Value::Null),
        source_with("/framing/width", json!(0)),
        source_with("/framing/width", json!(9)),
        source_with("/framing/offset", json!(1)),
        source_with("/framing/offset", json!(u32::MAX)),
        source_with("/source", json!({ "kind": "generator" })),
        followed_and_cut_by_its_decoder(),
    ];
    for source in &impossible {
        assert_eq!(error(std::slice::from_ref(source)), refused, "{source}");
    }
    let empty_delimiter = Topology {
        stop_at: Vec::new(),
        name: "app".to_owned(),
        nodes: vec![Node {
            name: "Decoder".to_owned(),
            inputs: Vec::new(),
            kind: NodeKind::Source {
                pipeline: "p".to_owned(),
                source: SourceConfig::Stdin {},
                decoder: None,
                framing: Some(Framing::Delimiter { delimiter: Bytes::new() }),
                event_time: false,
            },
        }],
    };
    assert_eq!(decode(&empty_delimiter.encode()).expect_err("no delimiter").to_string(), refused);
}

#[test]
fn listed_keys_must_be_keys() {
    for keys in [json!([true]), json!([1.5]), json!([["a", null]]), json!([{ "a": 1 }])] {
        let text = error(&[source(), node("key_by", "k", &[0], &json!({ "keys": keys, "unknown_key": "create" }))]);
        assert!(text.contains("key"), "{text}");
    }
}

#[test]
fn bytes_after_the_map_and_deep_nesting_are_refused() {
    let mut encoded = rmp_serde::to_vec_named(&json!({ "name": "app", "nodes": [] })).unwrap();
    encoded.push(0);
    assert!(matches!(decode(&encoded), Err(ProtocolError::TrailingBytes { count: 1, .. })));
    let mut deep = vec![0x81, 0xa1, b'n'];
    deep.extend(std::iter::repeat_n(0x91, 100_000));
    assert!(matches!(decode(&deep), Err(ProtocolError::TooDeep { .. })));
}
