//! What the checks ask of a run that has ended.

use wallaroo_orch::dead_message::DeadMessage;
use wallaroo_orch::plan::SourcePlan;
use wallaroo_protocol::NodeId;

use super::World;
use crate::check;
use crate::scenario::Lane;

impl World {
    /// The dead letters.
    pub(crate) fn dead(&self) -> impl Iterator<Item = &DeadMessage> {
        self.dead.iter().map(|(_, message)| message)
    }

    /// The keys of windows that were given up because their timer was there when a worker died once too often.
    pub(crate) fn lost_windows(&self, node: NodeId) -> Vec<bytes::Bytes> {
        let stages = &self.scenario.plan.stages;
        let is_there =
            |at: NodeId| stages.iter().any(|stage| stage.steps.contains(&node) && (at == node || at == stage.root));
        let lost = self.dead().filter(|message| is_there(message.node) && message.payload.is_empty());
        lost.filter(|message| message.exception == "WorkerDeath").filter_map(|message| message.key.clone()).collect()
    }

    /// The values that may have come as far as to a step.
    pub(crate) fn passed(&self) -> impl Iterator<Item = u64> {
        let generated = self.generated();
        let is_generated = generated.is_some();
        let all = generated.map_or_else(|| self.order.clone(), |generated| (0..generated).collect());
        all.into_iter().filter(move |value| !(is_generated && check::kills_its_generator(self, *value)))
    }

    /// How many values a generator makes, if there is one.
    pub(crate) fn generated(&self) -> Option<u64> {
        let is_generator = |source: &SourcePlan| source.framing.is_none();
        let values = self.scenario.values.len();
        let made = self.scenario.fatal_value.map_or(values, |fatal| fatal.min(values));
        self.scenario.plan.sources.iter().any(is_generator).then_some(made as u64)
    }

    /// How many values came too late at a step with windows.
    pub(crate) fn late_at(&self, node: NodeId) -> u64 {
        let stages = self.scenario.plan.stages.iter().zip(self.engine.status().stages);
        stages.filter(|(stage, _)| stage.steps.contains(&node)).map(|(_, status)| status.late).sum()
    }

    /// Values clients have handed over.
    pub(crate) fn sent_values(&self) -> Vec<u64> {
        let lanes = self.scenario.lanes.iter().zip(&self.sent);
        let whole = |(lane, sent): (&Lane, &usize)| {
            let mut end = 0;
            let arrives = |frame: &&Vec<u64>| {
                end += if lane.is_uncut { 4 + frame.len() * 8 } else { 1 };
                end <= *sent
            };
            let sound = lane.nonsense_before.unwrap_or(usize::MAX);
            lane.frames.iter().take(sound).take_while(arrives).flatten().copied().collect::<Vec<_>>()
        };
        lanes.flat_map(whole).collect()
    }

    /// Whether a generator ended early because of a drain, so that nobody knows how far it came.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.stopped
    }
}
