//! How much has left a queue lately.

use std::time::Duration;

/// Parts into which the time is divided that is looked back.
const PARTS: u64 = 8;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Outflow {
    part: Duration,
    /// What left in each of the latest parts, by their number modulo [`PARTS`].
    amounts: [usize; PARTS as usize],
    total: usize,
    /// The number of the latest part.
    latest: u64,
}

impl Outflow {
    /// Nothing has left. `window` is looked back, to an eighth exactly.
    pub(super) fn new(window: Duration) -> Self {
        let part = (window / PARTS as u32).max(Duration::from_nanos(1));
        Self { part, amounts: [0; PARTS as usize], total: 0, latest: 0 }
    }

    /// Notes that so much leaves now.
    pub(super) fn leave(&mut self, amount: usize, now: Duration) {
        self.advance(now);
        self.amounts[(self.latest % PARTS) as usize] += amount;
        self.total += amount;
    }

    /// What has left within the window.
    pub(super) fn lately(&mut self, now: Duration) -> usize {
        self.advance(now);
        self.total
    }

    fn advance(&mut self, now: Duration) {
        let number = (now.as_nanos() / self.part.as_nanos()) as u64;
        for part in self.latest + 1..=number.min(self.latest + PARTS) {
            let amount = &mut self.amounts[(part % PARTS) as usize];
            self.total -= std::mem::take(amount);
        }
        self.latest = self.latest.max(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_left_before_the_window_no_longer_counts() {
        let at = Duration::from_millis;
        let mut outflow = Outflow::new(at(800));
        outflow.leave(5, at(10));
        outflow.leave(7, at(450));
        assert_eq!(outflow.lately(at(799)), 12);
        assert_eq!(outflow.lately(at(800)), 7);
        outflow.leave(1, at(800));
        assert_eq!(outflow.lately(at(1199)), 8);
        assert_eq!(outflow.lately(at(1200)), 1);
        assert_eq!(outflow.lately(at(1_000_000)), 0);
    }
}
