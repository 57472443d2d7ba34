//! How long messages take: through a stage's worker, and from a source to a sink.
//!
//! Every message is counted with the time since it was handed to the engine, whenever that was, so a stall shows in all the
//! messages that waited for it. Stamps are kept by block and by batch, not by message: the messages of a batch count as old as
//! the oldest of them, which overstates a batch's younger ones by what the batch spans, a few milliseconds.

use std::time::Duration;

use hdrhistogram::Histogram;
use wallaroo_protocol::StageId;

/// Longer times count as this one.
const LONGEST: Duration = Duration::from_secs(3600);
/// Decimal digits that are kept of a time.
const DIGITS: u8 = 2;

/// Times of the messages of a run.
#[derive(Debug)]
pub(super) struct Latencies {
    end_to_end: Histogram<u64>,
    /// By stage.
    stages: Vec<Histogram<u64>>,
}

/// What is known of a distribution of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LatencyStatus {
    /// Messages counted.
    pub messages: u64,
    /// Half of them took no longer.
    pub p50: Duration,
    /// Nine of ten.
    pub p90: Duration,
    /// 99 of a hundred.
    pub p99: Duration,
    /// 999 of a thousand.
    pub p999: Duration,
    /// All of them.
    pub longest: Duration,
}

impl Latencies {
    pub(super) fn new(stages: usize) -> Self {
        Self { end_to_end: histogram(), stages: (0..stages).map(|_| histogram()).collect() }
    }

    /// So many messages have been handed to a sink after `took`.
    pub(super) fn left(&mut self, took: Duration, messages: u64) {
        record(&mut self.end_to_end, took, messages);
    }

    /// So many messages of a stage were answered `took` after their batch could begin.
    pub(super) fn answered(&mut self, stage: StageId, took: Duration, messages: u64) {
        record(&mut self.stages[stage.index()], took, messages);
    }

    pub(super) fn end_to_end(&self) -> LatencyStatus {
        summary(&self.end_to_end)
    }

    pub(super) fn stage(&self, stage: StageId) -> LatencyStatus {
        summary(&self.stages[stage.index()])
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, DIGITS).expect("the bounds are constants that fit")
}

fn record(histogram: &mut Histogram<u64>, took: Duration, messages: u64) {
    histogram.saturating_record_n(took.as_nanos() as u64, messages);
}

fn summary(histogram: &Histogram<u64>) -> LatencyStatus {
    let at = |share| Duration::from_nanos(histogram.value_at_quantile(share));
    LatencyStatus {
        messages: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        longest: Duration::from_nanos(histogram.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_a_stall_counts() {
        let mut latencies = Latencies::new(1);
        latencies.left(Duration::from_millis(1), 900);
        latencies.left(Duration::from_millis(100), 100);
        let LatencyStatus { messages, p50, p99, longest, .. } = latencies.end_to_end();
        assert_eq!(messages, 1000);
        let about = |time: Duration, wanted: u64| time.as_millis().abs_diff(wanted.into()) <= 1;
        assert!(about(p50, 1) && about(p99, 100) && about(longest, 100), "{p50:?} {p99:?} {longest:?}");
    }
}
