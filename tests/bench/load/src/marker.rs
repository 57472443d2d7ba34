//! Numbers in messages that can be found again in what comes out.

/// What a number follows. A word of letters and digits, so that word count takes it for a word.
const MARK: &[u8] = b"zq";
const DIGITS: usize = 10;

/// The mark of a message, as text.
pub(crate) fn mark(number: u64) -> Vec<u8> {
    [MARK, format!("{number:0DIGITS$}").as_bytes()].concat()
}

/// The number of the message whose mark a line starts with.
pub(crate) fn number(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(MARK)?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
