//! Which letters a command selects.

use std::str::FromStr;

use super::DeadLettersError;
use crate::dead_letter::file::LetterFile;

/// A number, or a range of them, as the user writes it: `3` or `3-7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    first: u64,
    last: u64,
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 1 <= first && first <= last => Ok(Self { first, last }),
            _ => Err("expected a number from 1, or a range such as 3-7".to_owned()),
        }
    }
}

/// Selects letters by number, or all of them, and checks that every number exists.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// Empty: all letters.
    numbers: &'a [Numbers],
    /// The last line seen.
    lines: u64,
}

impl<'a> Selection<'a> {
    pub(super) fn new(numbers: &'a [Numbers]) -> Self {
        Self { numbers, lines: 0 }
    }

    /// Whether a line is selected. To be called for every line of the file, in order.
    pub(super) fn takes(&mut self, number: u64) -> bool {
        self.lines = number;
        self.numbers.is_empty() || self.numbers.iter().any(|wanted| (wanted.first..=wanted.last).contains(&number))
    }

    /// Checks that every number exists. To be called after the last line.
    pub(super) fn check(&self, file: &LetterFile) -> Result<(), DeadLettersError> {
        match self.numbers.iter().map(|wanted| wanted.last).find(|last| *last > self.lines) {
            None => Ok(()),
            Some(number) => {
                Err(DeadLettersError::NoSuchLetter { path: file.path().to_owned(), number, lines: self.lines })
            }
        }
    }
}
