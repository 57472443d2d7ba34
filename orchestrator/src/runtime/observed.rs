//! Figures that the loop of a run keeps: open connections, and rates.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::engine::Counts;
use crate::ids::SourceId;

/// The time over which rates are measured, about.
const WINDOW: Duration = Duration::from_secs(5);

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Observed {
    /// By source.
    connections: Vec<usize>,
    samples: VecDeque<Sample>,
}

#[derive(Debug)]
struct Sample {
    at: Instant,
    counts: Counts,
}

impl Observed {
    pub(super) fn new(sources: usize) -> Self {
        Self { connections: vec![0; sources], samples: VecDeque::new() }
    }

    pub(super) fn opened(&mut self, source: SourceId) {
        self.connections[source.index()] += 1;
    }

    pub(super) fn closed(&mut self, source: SourceId) {
        self.connections[source.index()] -= 1;
    }

    /// Open connections of a source.
    pub(super) fn connections(&self, source: SourceId) -> usize {
        self.connections[source.index()]
    }

    /// Adds the counts of now and drops those that are older than the window.
    pub(super) fn sample(&mut self, counts: Counts, now: Instant) {
        self.samples.push_back(Sample { at: now, counts });
        while self.samples.len() > 2 && now.duration_since(self.samples[1].at) >= WINDOW {
            self.samples.pop_front();
        }
    }

    /// Messages a second of each stage and each sink since the oldest sample.
    pub(super) fn rates(&self, latest: &Counts, now: Instant) -> (Vec<f64>, Vec<f64>) {
        let Some(first) = self.samples.front() else {
            return (vec![0.0; latest.stages.len()], vec![0.0; latest.sinks.len()]);
        };
        // Right after a sample the time is almost zero.
        let seconds = now.duration_since(first.at).as_secs_f64().max(1e-3);
        let rate = |(now, then): (&u64, &u64)| (now - then) as f64 / seconds;
        let rates = |now: &[u64], then: &[u64]| now.iter().zip(then).map(rate).collect();
        (rates(&latest.stages, &first.counts.stages), rates(&latest.sinks, &first.counts.sinks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(messages: u64) -> Counts {
        Counts { stages: Vec::new(), sinks: vec![messages] }
    }

    #[test]
    fn a_rate_is_of_the_last_few_seconds() {
        let start = Instant::now();
        let mut observed = Observed::new(0);
        for second in 0..60 {
            observed.sample(counts(second * 100), start + Duration::from_secs(second));
        }
        observed.sample(counts(59 * 100), start + Duration::from_secs(60));
        let (_, sinks) = observed.rates(&counts(59 * 100), start + Duration::from_secs(60));
        assert!((sinks[0] - 80.0).abs() < 1.0, "four of five seconds had a hundred each: {sinks:?}");
    }
}
