//! Writing to standard output and standard error in a way that cannot panic. A reader that has gone away is no error; that standard
//! output could not be written for another reason is known at the end.

use std::fmt::Arguments;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

/// Why standard output could not be written, if it could not.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Writes a line to standard output.
pub(super) fn line(text: Arguments<'_>) {
    note_failure(writeln!(io::stdout(), "{text}"));
}

/// Writes text that ends with its own newline to standard output.
pub(super) fn text(text: Arguments<'_>) {
    note_failure(write!(io::stdout(), "{text}"));
}

/// Writes a line to standard error, for people.
pub(super) fn note(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Fails if something has not been written to standard output though its reader is there: its disk is full.
pub(super) fn written() -> io::Result<()> {
    note_failure(io::stdout().flush());
    FAILURE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .map_or(Ok(()), |error| Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))))
}

/// Whether the log may use colours: standard error is a terminal that can show them, and the user has not said no (`NO_COLOR`).
pub(super) fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !unwanted && !is_dumb()
}

/// Whether the terminal cannot move its cursor.
pub(super) fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|name| name == "dumb")
}

/// The text without characters that would steer a terminal; newlines and tabs stay.
pub(super) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => printable.push(character),
            _ if character.is_control() => printable.extend(character.escape_default()),
            _ => printable.push(character),
        }
    }
    printable
}

fn note_failure(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        FAILURE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        assert_eq!(printable("a\tb\n\u{1b}[2Jc\r\u{9b}é"), "a\tb\n\\u{1b}[2Jc\\r\\u{9b}é");
    }
}
