use bytes::Bytes;

use super::*;

/// Two sources merged, one of them with awkward names, into a keyed step and two sinks.
fn topology() -> Topology {
    let node = |name: &str, inputs: &[u32], kind| Node {
        name: name.to_owned(),
        inputs: inputs.iter().copied().map(NodeId).collect(),
        kind,
    };
    let source = |source, decoder: Option<&str>, framing| NodeKind::Source {
        pipeline: "words".to_owned(),
        source,
        decoder: decoder.map(str::to_owned),
        framing,
        event_time: false,
    };
    let tcp = SourceConfig::Tcp { host: "localhost".to_owned(), port: 7010, acknowledged: false };
    let lines = Framing::Delimiter { delimiter: Bytes::from_static(b"\n") };
    let state = NodeKind::State { table: "totals".to_owned(), table_type: "Totals".to_owned() };
    let sink = |sink| NodeKind::Sink { sink, encoder: "Encode".to_owned() };
    Topology {
        stop_at: Vec::new(),
        name: "word count".to_owned(),
        nodes: vec![
            node("words", &[], source(tcp, Some("Decode"), Some(lines))),
            node("more", &[], source(SourceConfig::Generator {}, None, None)),
            node("split \"<all>\"", &[0, 1], NodeKind::Computation { pool: None, fill: None }),
            node("letter", &[2], NodeKind::KeyBy { keys: Some(vec![]), unknown_key: UnknownKey::Reject }),
            node("count", &[3], state),
            node("out", &[4], sink(SinkConfig::Stdout {})),
            node("copy", &[4], sink(SinkConfig::File { path: "C:\\x".to_owned(), append: false })),
        ],
    }
}

#[test]
fn text_is_a_tree_that_shows_shared_steps_once() {
    let expected = "\
word count
├─ words (tcp localhost:7010, decoder Decode, frames end with \"\\n\")
│  └─ split \"<all>\" (computation)
│     └─ letter (key_by, 0 keys listed, others are dead letters)
│        └─ count (state totals: Totals)
│           ├─ out (stdout, encoder Encode)
│           └─ copy (file C:\\x, encoder Encode)
└─ more (generator)
   └─ split \"<all>\" (computation), see above
";
    assert_eq!(render(&topology(), GraphFormat::Text), expected);
}

#[test]
fn mermaid_has_a_node_and_an_edge_for_each_and_no_raw_quotes() {
    let text = render(&topology(), GraphFormat::Mermaid);
    assert!(text.starts_with("flowchart LR\n"), "{text}");
    assert!(text.contains("    n2[\"split #34;#60;all#62;#34;<br/>computation\"]\n"), "{text}");
    assert_eq!(text.matches(" --> ").count(), 6, "{text}");
    assert!(text.contains("    n4[(\"count<br/>state totals: Totals\")]\n"), "{text}");
}

#[test]
fn dot_escapes_what_it_must() {
    let text = render(&topology(), GraphFormat::Dot);
    assert!(text.starts_with("digraph \"word count\" {\n") && text.ends_with("}\n"), "{text}");
    assert!(text.contains(r#"n2 [shape=box, label="split \"<all>\"\ncomputation"];"#), "{text}");
    assert!(text.contains(r#"label="copy\nfile C:\\x, encoder Encode""#), "{text}");
    assert!(text.contains("    n1 -> n2;\n"), "{text}");
}

#[test]
fn json_is_the_topology() {
    let json: serde_json::Value = serde_json::from_str(&render(&topology(), GraphFormat::Json)).expect("JSON");
    assert_eq!(json["nodes"][4]["table"], "totals");
    assert_eq!(json["nodes"][2]["inputs"], serde_json::json!([0, 1]));
}
