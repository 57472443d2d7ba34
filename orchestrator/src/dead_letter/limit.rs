//! How often one step's dead letters are logged.

use std::time::{Duration, Instant};

/// Letters logged without a pause.
const AT_ONCE: u32 = 5;
/// The least time between later letters.
const PAUSE: Duration = Duration::from_secs(1);

/// The first few are logged, then one a second.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    logged: u32,
    last: Option<Instant>,
    suppressed: u64,
}

impl LogLimit {
    /// Whether there was no letter yet.
    pub(super) fn is_new(&self) -> bool {
        self.last.is_none()
    }

    /// Whether to log one at `now`; if so, how many were suppressed since the last one that was.
    pub(super) fn admit(&mut self, now: Instant) -> Option<u64> {
        let rested = self.last.is_none_or(|last| now.duration_since(last) >= PAUSE);
        if self.logged >= AT_ONCE && !rested {
            self.suppressed += 1;
            return None;
        }
        self.logged = self.logged.saturating_add(1);
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }

    /// How many were suppressed since the last one that was logged.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_the_first_few_then_one_a_second() {
        let start = Instant::now();
        let mut limit = LogLimit::default();
        assert!(limit.is_new());
        for _ in 0..AT_ONCE {
            assert_eq!(limit.admit(start), Some(0));
        }
        for _ in 0..3 {
            assert_eq!(limit.admit(start + PAUSE / 2), None);
        }
        assert_eq!(limit.suppressed(), 3);
        assert_eq!(limit.admit(start + PAUSE), Some(3));
        assert_eq!(limit.admit(start + PAUSE), None);
        assert_eq!(limit.admit(start + 2 * PAUSE), Some(1));
        assert_eq!(limit.suppressed(), 0);
    }
}
