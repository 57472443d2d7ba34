//! Which option of the command line sets a limit, said wherever a limit is said to be exceeded.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use crate::limit::Limit;

/// The option that sets `limit`.
pub(super) fn option_of(limit: Limit) -> &'static str {
    match limit {
        Limit::MaxFrame => "--max-frame",
        Limit::WorkerMemory => "--worker-memory",
        Limit::StepTimeout => "--step-timeout",
        Limit::StartTimeout => "--start-timeout",
    }
}

/// What to do when `limit` is too low.
pub(super) fn advice(limit: Limit) -> String {
    format!("{} sets this limit", option_of(limit))
}

/// Fields of a log line for people: the option is named behind a field `limit`.
#[derive(Debug, Default)]
pub(super) struct FieldsWithOption(DefaultFields);

impl<'writer> FormatFields<'writer> for FieldsWithOption {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut found = FoundLimit(None);
        fields.record(&mut found);
        self.0.format_fields(writer.by_ref(), fields)?;
        match found.0 {
            Some(limit) => write!(writer, " ({})", advice(limit)),
            None => Ok(()),
        }
    }
}

struct FoundLimit(Option<Limit>);

impl Visit for FoundLimit {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "limit" {
            self.0 = Limit::ALL.into_iter().find(|limit| limit.name() == value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("nobody panicked").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_line_names_the_option_of_a_limit() {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer({
                let lines = lines.clone();
                move || lines.clone()
            })
            .with_ansi(false)
            .fmt_fields(FieldsWithOption::default())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(limit = Some(Limit::MaxFrame.name()), "too long");
            tracing::warn!(limit = None::<&str>, "too bad");
        });
        let text = String::from_utf8(lines.0.lock().expect("nobody panicked").clone()).expect("text");
        let ends: Vec<&str> = text.lines().map(|line| &line[line.find("too ").expect("the message")..]).collect();
        assert_eq!(ends, ["too long limit=\"max-frame\" (--max-frame sets this limit)", "too bad"]);
    }
}
