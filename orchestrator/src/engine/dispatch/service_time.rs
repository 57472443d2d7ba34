//! How long a stage takes: for one message, which sizes its batches, and for a batch whatever is in it, which makes small ones a waste.

use std::time::Duration;

/// How much of what is known of the cost of batches counts after one more.
const MEMORY: f64 = 0.9;
/// Once in so many batches a larger one is tried where time limits their size, so that the cost of a batch itself is seen.
const TRIAL: u32 = 8;

/// How far one batch moves what is typical.
const MEDIAN_STEP: f64 = 1.05;

/// What batches of a stage cost. Empty until the first batch has been answered.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine) struct ServiceTime {
    /// Moving average of the time that one message takes, its share of the batch's own cost included.
    nanoseconds: Option<f64>,
    /// About the median of that time over the latest batches: a call that takes long now and then hardly moves it.
    typical: Option<f64>,
    costs: Costs,
    batches: u32,
    /// Messages of the latest batch.
    latest: u32,
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
        self.typical = Some(match self.typical {
            None => sample,
            Some(typical) if sample > typical => (typical * MEDIAN_STEP).min(sample),
            Some(typical) => (typical / MEDIAN_STEP).max(sample),
        });
        self.costs.observe(f64::from(messages.max(1)), elapsed.as_nanos() as f64);
        self.batches = self.batches.wrapping_add(1);
        self.latest = messages.max(1);
    }

    /// Takes in that `messages` have not been done after `elapsed`.
    pub(in crate::engine) fn takes_at_least(&mut self, messages: u32, elapsed: Duration) {
        let least = elapsed.as_nanos() as f64 / f64::from(messages.max(1));
        self.nanoseconds = Some(self.nanoseconds.unwrap_or_default().max(least));
    }

    /// How many messages fit into `target`; one while nothing is known. More, if a batch itself costs more than half of that: then so
    /// many that their own cost is as large.
    pub(in crate::engine) fn messages_within(self, target: Duration, most: u32) -> u32 {
        let Some(average) = self.nanoseconds else { return 1 };
        let target = target.as_nanos() as f64;
        let fitting = ((target / average) as u32).clamp(1, most);
        let limited_by_time = fitting < most && self.latest >= fitting;
        if limited_by_time && self.costs.fixed() * 2.0 > target {
            // No further than twice as far as has been seen.
            let worthwhile = (self.costs.fixed() / self.costs.each().max(1.0)) as u32;
            return worthwhile.min(self.latest.saturating_mul(2)).clamp(fitting, most);
        }
        if limited_by_time && self.batches.is_multiple_of(TRIAL) {
            fitting.saturating_mul(2).min(most)
        } else {
            fitting
        }
    }

    /// Time that a message takes, except for slow ones.
    pub(in crate::engine) fn typical(self) -> Option<Duration> {
        self.typical.map(|typical| Duration::from_nanos(typical as u64))
    }

    /// The average, for display.
    pub(in crate::engine) fn average(self) -> Option<Duration> {
        self.nanoseconds.map(|average| Duration::from_nanos(average as u64))
    }
}

/// The line through the costs of the latest batches: what a batch costs, and what each of its messages adds. Sums of least squares,
/// older batches counting less.
#[derive(Debug, Clone, Copy, Default)]
struct Costs {
    weight: f64,
    messages: f64,
    time: f64,
    squares: f64,
    products: f64,
}

impl Costs {
    fn observe(&mut self, messages: f64, time: f64) {
        let add = |sum: &mut f64, sample: f64| *sum = *sum * MEMORY + sample;
        add(&mut self.weight, 1.0);
        add(&mut self.messages, messages);
        add(&mut self.time, time);
        add(&mut self.squares, messages * messages);
        add(&mut self.products, messages * time);
    }

    /// Nanoseconds that each message adds; all of it, while all batches were of about the same size.
    fn each(&self) -> f64 {
        let (messages, time) = (self.messages / self.weight, self.time / self.weight);
        let variance = self.squares / self.weight - messages * messages;
        let all = time / messages;
        // A tenth of the mean, squared.
        if variance < messages * messages / 100.0 {
            return all;
        }
        let each = (self.products / self.weight - messages * time) / variance;
        // Larger batches that take far less than small ones say nothing of a batch's cost: a small one was held up.
        if each * messages < -time / 2.0 { all } else { each.clamp(0.0, all) }
    }

    /// Nanoseconds that a batch costs, whatever is in it.
    fn fixed(&self) -> f64 {
        (self.time - self.each() * self.messages) / self.weight
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

    #[test]
    fn a_slow_call_now_and_then_does_not_change_what_is_typical() {
        let mut service = ServiceTime::default();
        for batch in 0..1000 {
            service.observe(1, Duration::from_micros(if batch % 10 == 0 { 2_000_000 } else { 100 }));
        }
        let typical = service.typical().expect("measured");
        assert!((90..200).contains(&typical.as_micros()), "{typical:?}");
    }

    /// Runs `rows` in batches that cost `fixed` and `each` a row. Returns the time, and the size of the last batch.
    fn run(mut rows: u32, fixed: Duration, each: Duration) -> (Duration, u32) {
        let (mut service, mut time, mut size) = (ServiceTime::default(), Duration::ZERO, 0);
        while rows > 0 {
            size = service.messages_within(Duration::from_millis(5), 1000);
            let taken = size.min(rows);
            let elapsed = fixed + each * taken;
            service.observe(taken, elapsed);
            (rows, time) = (rows - taken, time + elapsed);
        }
        (time, size)
    }

    #[test]
    fn a_batch_that_costs_much_by_itself_grows() {
        let (fixed, each) = (Duration::from_millis(10), Duration::from_micros(100));
        let (time, _) = run(30_000, fixed, each);
        // One row at a time would take 303 s, batches of 100 rows 6 s.
        assert!(time < Duration::from_secs(9), "{time:?}");
    }

    #[test]
    fn rows_that_cost_much_are_taken_one_by_one() {
        let (time, last) = run(1000, Duration::ZERO, Duration::from_millis(10));
        assert_eq!(time, Duration::from_secs(10));
        assert!(last <= 2, "{last}");
    }

    #[test]
    fn without_a_cost_of_its_own_a_batch_takes_the_target() {
        let (_, last) = run(100_000, Duration::from_micros(20), Duration::from_micros(20));
        assert!((200..=600).contains(&last), "{last}");
    }
}
