//! Limits the rate of sending.

use std::thread;
use std::time::{Duration, Instant};

/// The shortest sleep. At high rates several messages therefore share one write.
const SHORTEST: Duration = Duration::from_millis(1);

/// Allows the first message at once and the others evenly spaced. After a delay it catches up.
#[derive(Debug)]
pub(super) struct Pace {
    /// Messages a second.
    rate: f64,
    began: Instant,
    sent: u64,
}

impl Pace {
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, began: Instant::now(), sent: 0 }
    }

    /// Sleeps until at least one message is due. Returns how many are due.
    pub(super) fn wait(&self) -> u64 {
        loop {
            let elapsed = self.began.elapsed();
            match self.due(elapsed) {
                0 => thread::sleep(self.pause(elapsed)),
                due => return due,
            }
        }
    }

    /// Counts messages that have been sent.
    pub(super) fn sent(&mut self, messages: u64) {
        self.sent += messages;
    }

    fn due(&self, elapsed: Duration) -> u64 {
        let allowed = (elapsed.as_secs_f64() * self.rate) as u64 + 1;
        allowed.saturating_sub(self.sent)
    }

    fn pause(&self, elapsed: Duration) -> Duration {
        let next = Duration::try_from_secs_f64(self.sent as f64 / self.rate).unwrap_or(Duration::MAX);
        next.saturating_sub(elapsed).max(SHORTEST)
    }
}

/// Parses a rate: `1000` or `1000/s`.
pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("a rate is a number of messages a second, for example 1000/s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly_and_late_ones_are_made_up_for() {
        let mut pace = Pace::new(10.0);
        assert_eq!(pace.due(Duration::ZERO), 1);
        pace.sent(1);
        assert_eq!(pace.due(Duration::from_millis(60)), 0);
        assert_eq!(pace.pause(Duration::from_millis(60)), Duration::from_millis(40));
        assert_eq!(pace.due(Duration::from_millis(101)), 1);
        assert_eq!(pace.due(Duration::from_millis(1001)), 10);
    }

    #[test]
    fn high_rates_sleep_no_less_than_a_millisecond() {
        let mut pace = Pace::new(1e6);
        pace.sent(1);
        assert_eq!(pace.pause(Duration::ZERO), SHORTEST);
        assert_eq!(pace.due(SHORTEST), 1000);
    }

    #[test]
    fn rates_are_read_with_or_without_their_unit() {
        assert_eq!(parse_rate("1000/s"), Ok(1000.0));
        assert_eq!(parse_rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "inf", "x", "10/m"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }
}
