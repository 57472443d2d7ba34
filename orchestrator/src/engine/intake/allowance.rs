//! How much of a source may be under way, by time: its queue holds about as much as leaves it within [`EngineConfig::queue_time`].
//!
//! What leaves is counted, whatever slows it down, rather than computed from what stages cost. There is always enough for two batches
//! of every worker. So an estimate that is too low holds nothing up: what leaves raises it.
//!
//! [`EngineConfig::queue_time`]: crate::engine::EngineConfig::queue_time

use std::time::Duration;

use super::outflow::Outflow;
use crate::engine::{Action, Engine};
use crate::ids::SourceId;

/// Bytes allowed before anything is known.
const FIRST: usize = 4 << 10;
/// How much of what is known of the weight of frames counts after one more block.
const MEMORY: f64 = 0.9;
/// A source is told a new allowance if it differs by more than a part of so many.
const LEAST_CHANGE: usize = 4;

/// What one source is allowed.
#[derive(Debug)]
pub(super) struct Allowance {
    outflow: Outflow,
    /// Moving average of what a frame is charged.
    frame_charge: Option<f64>,
    /// What the source was told.
    told: usize,
}

impl Allowance {
    pub(super) fn new(queue_time: Duration) -> Self {
        Self { outflow: Outflow::new(queue_time), frame_charge: None, told: 0 }
    }

    /// Notes what the frames of a block are charged.
    pub(super) fn charged(&mut self, frames: usize, charge: usize) {
        let sample = charge as f64 / frames.max(1) as f64;
        let average = self.frame_charge.map_or(sample, |average| average * MEMORY + sample * (1.0 - MEMORY));
        self.frame_charge = Some(average);
    }

    /// Notes that messages have left the queue.
    pub(super) fn leave(&mut self, messages: usize, now: Duration) {
        self.outflow.leave(messages, now);
    }

    /// The allowance, if the source is to be told; `busy` messages keep its workers busy.
    fn news(&mut self, busy: usize, most: usize, now: Duration) -> Option<usize> {
        let messages = self.outflow.lately(now).max(busy) as f64;
        let bytes = self.frame_charge.map_or(FIRST, |charge| (messages * charge) as usize).clamp(FIRST.min(most), most);
        let changed = bytes.abs_diff(self.told) > self.told / LEAST_CHANGE || bytes == most && self.told < most;
        changed.then(|| {
            self.told = bytes;
            bytes
        })
    }
}

impl Engine {
    /// Tells sources how much they may have under way, where that has changed.
    pub(in crate::engine) fn allow_intake(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let plan = self.plan.clone();
        for (id, source) in (0..).map(SourceId).zip(&plan.sources) {
            let busy = self.busy_messages(source.stage);
            let allowance = &mut self.intake.sources[id.index()].allowance;
            if let Some(bytes) = allowance.news(busy, self.config.queue_bytes, now) {
                actions.push(Action::Allow { source: id, bytes });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MOST: usize = 16 << 20;

    #[test]
    fn as_much_as_has_left_lately_and_enough_for_the_workers() {
        let mut allowance = Allowance::new(SECOND);
        assert_eq!(allowance.news(1, MOST, Duration::ZERO), Some(FIRST));
        assert_eq!(allowance.news(1, MOST, Duration::ZERO), None);
        allowance.charged(10, 1000);
        assert_eq!(allowance.news(200, MOST, Duration::ZERO), Some(20_000));
        allowance.leave(10_000, SECOND);
        assert_eq!(allowance.news(200, MOST, SECOND), Some(1_000_000));
        allowance.leave(1_000_000, SECOND);
        assert_eq!(allowance.news(200, MOST, SECOND), Some(MOST));
        assert_eq!(allowance.news(200, MOST, 3 * SECOND), Some(20_000), "nothing has left for a while");
    }
}
