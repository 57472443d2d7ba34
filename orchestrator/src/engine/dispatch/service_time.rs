//! How long a stage takes for one message: a moving average that sizes its batches.

use std::time::Duration;

/// Moving average of the time one message takes in a worker. Empty until the first batch has been answered.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct ServiceTime {
    nanoseconds: Option<f64>,
}

impl ServiceTime {
    /// Takes in that `messages` took `elapsed`. Rises faster than it falls: a batch too large hurts more than one too small.
    pub(in crate::engine) fn observe(&mut self, messages: u32, elapsed: Duration) {
        let sample = (elapsed.as_nanos() as f64 / f64::from(messages.max(1))).max(1.0);
        self.nanoseconds = Some(match self.nanoseconds {
            None => sample,
            Some(average) if sample > average => average * 0.5 + sample * 0.5,
            Some(average) => average * 0.75 + sample * 0.25,
        });
    }

    /// Takes in that `messages` have not been done after `elapsed`.
    pub(in crate::engine) fn takes_at_least(&mut self, messages: u32, elapsed: Duration) {
        let least = elapsed.as_nanos() as f64 / f64::from(messages.max(1));
        self.nanoseconds = Some(self.nanoseconds.unwrap_or_default().max(least));
    }

    /// How many messages fit into `target`; one while nothing is known.
    pub(in crate::engine) fn messages_within(self, target: Duration, most: u32) -> u32 {
        match self.nanoseconds {
            None => 1,
            Some(average) => ((target.as_nanos() as f64 / average) as u32).clamp(1, most),
        }
    }

    /// The average, for display.
    pub(in crate::engine) fn average(self) -> Option<Duration> {
        self.nanoseconds.map(|average| Duration::from_nanos(average as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_with_single_messages_and_follows_the_measurement() {
        let mut service = ServiceTime::default();
        let target = Duration::from_millis(5);
        assert_eq!(service.messages_within(target, 1000), 1);
        service.observe(1, Duration::from_micros(50));
        assert_eq!(service.messages_within(target, 1000), 100);
        for _ in 0..100 {
            service.observe(100, Duration::from_micros(100));
        }
        assert_eq!(service.messages_within(target, 1000), 1000);
        service.observe(1, Duration::from_secs(1));
        assert_eq!(service.messages_within(target, 1000), 1);
    }
}
