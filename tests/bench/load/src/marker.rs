//! Numbers in messages that can be found again in the output.

/// The prefix of a number. A mark has only letters and digits, so word count treats it as a word.
const MARK: &[u8] = b"zq";
const DIGITS: usize = 10;
/// The number of messages after which marks repeat, so the state of a word count does not grow with every message.
const DIFFERENT: u64 = 4096;

/// The mark of a message, as text.
pub(crate) fn mark(number: u64) -> Vec<u8> {
    [MARK, format!("{number:0DIGITS$}").as_bytes()].concat()
}

/// The number in the mark at the start of a line.
pub(crate) fn number(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(MARK)?.get(..DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Finds the messages of marks that are used in turn, by their order.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    next: u64,
}

impl Turns {
    /// The number in the mark of message `number`.
    pub(crate) fn of(number: u64) -> u64 {
        number % DIFFERENT
    }

    /// The message of a mark with the number `marked`: the first such message after the last one found.
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
