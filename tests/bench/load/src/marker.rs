//! Numbers in messages that can be found again in what comes out.

/// What a number follows. A word of letters and digits, so that word count takes it for a word.
const MARK: &[u8] = b"zq";
const DIGITS: usize = 10;
/// Numbers after which marks are the same again: a count of words must not have a state that grows with every message.
const DIFFERENT: u64 = 4096;

/// The mark of a message, as text.
pub(crate) fn mark(number: u64) -> Vec<u8> {
    [MARK, format!("{number:0DIGITS$}").as_bytes()].concat()
}

/// The number of the message whose mark a line starts with.
pub(crate) fn number(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(MARK)?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Finds messages whose marks are taken in turn by their order.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    next: u64,
}

impl Turns {
    /// The number that the mark of message `number` has.
    pub(crate) fn of(number: u64) -> u64 {
        number % DIFFERENT
    }

    /// The message that a mark with the number `marked` is of: the first one after the last that was found.
    pub(crate) fn find(&mut self, marked: u64) -> u64 {
        let found = self.next + (marked + DIFFERENT - self.next % DIFFERENT) % DIFFERENT;
        self.next = found + 1;
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_in_order_are_found_by_marks_that_repeat() {
        let mut turns = Turns::default();
        let found: Vec<u64> = (0..3 * DIFFERENT).map(|number| turns.find(Turns::of(number))).collect();
        assert_eq!(found, (0..3 * DIFFERENT).collect::<Vec<_>>());
        assert_eq!(turns.find(Turns::of(4 * DIFFERENT - 1)), 4 * DIFFERENT - 1, "some were lost");
    }
}
