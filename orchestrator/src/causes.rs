//! An error together with what caused it, as one line of text.

use std::error::Error;
use std::fmt::Write as _;

/// The error and its causes, the outermost first, separated by colons.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
