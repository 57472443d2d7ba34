//! Prints letters. The content of a letter is not trusted: control characters are escaped before they reach the terminal.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde::Serialize;

use crate::cli::option::advice;
use crate::dead_letter::{DeadLetter, PayloadCodec};

/// Rows that share column widths. Later blocks of rows may be wider.
const BLOCK: usize = 1000;
/// The most characters of a step or a key in a table.
const NAME: usize = 32;
/// The most characters of an exception and its message in a table.
const REASON: usize = 100;
/// Bytes per line of a hex dump.
const DUMPED: usize = 16;

/// Columns: number, time, step, key, exception and message.
const HEADINGS: [&str; 5] = ["N", "TIME", "STEP", "KEY", "REASON"];

/// Letters, one per row.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<[String; 5]>,
    widths: [usize; 5],
}

impl Table {
    pub(super) fn new() -> Self {
        Self { rows: vec![HEADINGS.map(str::to_owned)], widths: [0; 5] }
    }

    pub(super) fn add(&mut self, number: u64, letter: &DeadLetter, output: &mut impl Write) -> io::Result<()> {
        let DeadLetter { time, step, key, exception, message, .. } = letter;
        self.rows.push([
            number.to_string(),
            format!("{time:.3}"),
            cut(step, NAME),
            cut(key.as_deref().unwrap_or("-"), NAME),
            cut(&format!("{exception}: {message}"), REASON),
        ]);
        if self.rows.len() >= BLOCK { self.print(output) } else { Ok(()) }
    }

    pub(super) fn finish(mut self, output: &mut impl Write) -> io::Result<()> {
        self.print(output)
    }

    fn print(&mut self, output: &mut impl Write) -> io::Result<()> {
        for row in &self.rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let [number_width, time_width, step_width, key_width, _] = self.widths;
        for [number, time, step, key, reason] in self.rows.drain(..) {
            let place = format!("{number:>number_width$}  {time:time_width$}  {step:step_width$}");
            writeln!(output, "{place}  {key:key_width$}  {reason}")?;
        }
        Ok(())
    }
}

/// One letter as a line of JSON.
pub(super) fn json(number: u64, letter: &DeadLetter, output: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Numbered<'a> {
        number: u64,
        #[serde(flatten)]
        letter: &'a DeadLetter,
    }
    serde_json::to_writer(&mut *output, &Numbered { number, letter })?;
    output.write_all(b"\n")
}

/// One letter with all its fields.
pub(super) fn whole(number: u64, letter: &DeadLetter, output: &mut impl Write) -> io::Result<()> {
    let unknown = || "-".to_owned();
    let fields = [
        ("number", number.to_string()),
        ("time", format!("{:.3}", letter.time)),
        ("application", letter.application.clone()),
        ("step", letter.step.clone()),
        ("key", letter.key.clone().unwrap_or_else(unknown)),
        ("source", letter.source.clone().unwrap_or_else(unknown)),
        ("address", letter.source_address.clone().unwrap_or_else(unknown)),
        ("connection", letter.connection.clone().unwrap_or_else(unknown)),
        ("exception", letter.exception.clone()),
        ("message", letter.message.clone()),
        ("limit", letter.limit.map_or_else(unknown, |limit| format!("{limit} ({})", advice(limit)))),
        ("value", letter.value.clone()),
    ];
    for (name, value) in fields {
        // Further lines of a value are aligned with its first.
        writeln!(output, "{name:<12} {}", shown(&value).trim_end().replace('\n', "\n             "))?;
    }
    if !letter.traceback.is_empty() {
        writeln!(output, "\n{}", shown(&letter.traceback).trim_end())?;
    }
    writeln!(output, "\npayload: {}", payload_name(letter))?;
    match std::str::from_utf8(&letter.payload) {
        Ok(text) if letter.payload_codec == PayloadCodec::Frame && shown(text) == text => writeln!(output, "{text}"),
        _ => output.write_all(hex(&letter.payload).as_bytes()),
    }
}

fn payload_name(letter: &DeadLetter) -> String {
    let which =
        letter.payload_index.map(|index| format!(", value number {index} (counted from 0)")).unwrap_or_default();
    let length = letter.payload.len();
    match letter.payload_codec {
        PayloadCodec::Frame => format!("the message as it was read, {length} bytes"),
        PayloadCodec::Msgpack => format!("values as MessagePack, {length} bytes{which}"),
        PayloadCodec::Pickle => format!("values as a pickle, {length} bytes{which}"),
        PayloadCodec::Objects => format!("values as MessagePack of their attributes, {length} bytes{which}"),
        PayloadCodec::App => format!("values as the application serialized them, {length} bytes{which}"),
    }
}

/// The text with control characters escaped, except newlines and tabs.
fn shown(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => clean.push(character),
            character if character.is_control() => clean.extend(character.escape_default()),
            character => clean.push(character),
        }
    }
    clean
}

/// The text on one line of at most `most` characters.
fn cut(text: &str, most: usize) -> String {
    let clean = |text: &str| shown(text).replace(['\n', '\t'], " ");
    match text.char_indices().nth(most) {
        None => clean(text),
        Some((end, _)) => clean(&text[..end]) + "…",
    }
}

/// A hex dump: offset, bytes, and the bytes as printable ASCII.
fn hex(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (row, chunk) in bytes.chunks(DUMPED).enumerate() {
        let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        let printable = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' };
        let text: String = chunk.iter().map(printable).collect();
        let _ = writeln!(dump, "{:08x}  {:<width$}  {text}", row * DUMPED, digits.join(" "), width = 3 * DUMPED - 1);
    }
    dump
}
