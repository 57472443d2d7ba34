//! Writing to standard output and standard error in a way that cannot panic: a reader that has gone away is no error.

use std::fmt::Arguments;
use std::io::Write;

/// Writes a line to standard output.
pub(super) fn line(text: Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes text that ends with its own newline to standard output.
pub(super) fn text(text: Arguments<'_>) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Writes a line to standard error, for people.
pub(super) fn note(text: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
