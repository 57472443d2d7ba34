use super::*;

/// What is promised between a source and a sink, without and with a state folder.
fn promises(source: &SourceConfig, sink: &SinkConfig) -> [String; 2] {
    let (from, to) = (source_row(source), sink_row(sink));
    let (without_state, with_state) = promises_of(&from, &to);
    [without_state.to_string(), with_state.to_string()]
}

fn tcp<T>(make: impl FnOnce(String, u16) -> T) -> T {
    make("localhost".to_owned(), 7)
}

fn source_file(follow: bool) -> SourceConfig {
    SourceConfig::File { path: "in".to_owned(), follow }
}

fn sink_file(append: bool) -> SinkConfig {
    SinkConfig::File { path: "out".to_owned(), append }
}

#[test]
fn each_source_says_what_it_does_after_a_death() {
    for (source, without_state, with_state) in [
        (
            source_file(false),
            "the file is read from its start",
            "exactly once: the file is read on behind what was recorded",
        ),
        (
            source_file(true),
            "the file is read from its start, and rotated ones are not",
            "exactly once: the file is found, also if it was rotated, and read on behind what was recorded",
        ),
        (
            SourceConfig::Generator {},
            "the generator begins anew",
            "exactly once: the generator goes on behind its last recorded value",
        ),
        (
            tcp(|host, port| SourceConfig::Tcp { host, port, acknowledged: false }),
            "what was received and not delivered is lost, and the client is not told",
            "exactly once, of what was recorded before the death of the orchestrator: what was received and not \
             recorded is lost, and the client is not told",
        ),
        (
            tcp(|host, port| SourceConfig::Tcp { host, port, acknowledged: true }),
            "what was received is lost, and a client that goes on is told so",
            "exactly once: clients send again what they were not told is durable",
        ),
        (
            SourceConfig::Connector { class: "app.Orders".to_owned(), pool: None },
            "the connector begins where its code says",
            "exactly once: the connector goes on behind the position that was recorded last",
        ),
        (
            SourceConfig::Stdin {},
            "what was read and not delivered is lost",
            "exactly once, of what was recorded before the death of the orchestrator: what was read and not recorded \
             is lost",
        ),
    ] {
        let without_state = format!(
            "exactly once while the orchestrator lives, nothing after its death: {without_state}; the file is emptied"
        );
        let with_state = format!("{with_state}; the file is cut back to what was delivered and written on");
        assert_eq!(promises(&source, &sink_file(false)), [without_state, with_state]);
    }
}

#[test]
fn each_sink_says_what_it_does_after_a_death() {
    for (sink, without_state, with_state) in [
        (
            sink_file(true),
            ["exactly once", "the file is written on behind all that it has"],
            ["exactly once", "the file is cut back to what was delivered and written on"],
        ),
        (
            tcp(|host, port| SinkConfig::Tcp { host, port }),
            ["at least once", "what the consumer has not acknowledged is sent again only after a broken connection"],
            ["at least once", "what the consumer has not acknowledged is sent again"],
        ),
        (
            SinkConfig::Stdout {},
            ["exactly once", "what was written stays"],
            ["at least once", "what no record counts as written is written again"],
        ),
    ] {
        let [level, reason] = without_state;
        let without_state = format!(
            "{level} while the orchestrator lives, nothing after its death: the generator begins anew; {reason}"
        );
        let [level, reason] = with_state;
        let with_state = format!("{level}: the generator goes on behind its last recorded value; {reason}");
        assert_eq!(promises(&SourceConfig::Generator {}, &sink), [without_state, with_state]);
    }
}
