//! What may wait at any moment.

use super::World;
use super::misfortune::MOST_SLOTS;

impl World {
    /// Fails if a queue has outgrown its bound.
    pub(super) fn check_bounds(&self) {
        let config = &self.scenario.config;
        // A queue is checked before a batch is formed: it may outgrow its bound by what is in flight then, by as much again that
        // died and is repeated, and by what the resequencer held until its turn came.
        let batches = 2 * config.slots.max(MOST_SLOTS) as usize * config.window;
        let in_flight = batches * self.largest_output;
        for (sink, chunks) in self.to_write.iter().enumerate() {
            let pending: usize = chunks.iter().sum();
            let bound = 2 * config.queue_bytes + in_flight;
            assert!(pending <= bound, "{pending} bytes wait at sink {sink}, {bound} are allowed");
        }
        let letters = self.engine.letter_bytes();
        let bound = config.queue_bytes + batches * self.largest_letters;
        assert!(letters <= bound, "{letters} bytes of dead letters wait, {bound} are allowed");
        let queues = self.scenario.plan.stages.len() * 2 + self.scenario.plan.sinks.len();
        let bound = queues * (config.queue_bytes + in_flight);
        let queued = self.engine.queued_bytes() - letters;
        assert!(queued <= bound, "{queued} bytes are queued, {bound} are allowed");
    }
}
