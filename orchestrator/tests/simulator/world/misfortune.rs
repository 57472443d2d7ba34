//! What goes wrong, and what users change, at any time.

use wallaroo_orch::death::{Death, DeathCause, Marker, Running};
use wallaroo_orch::engine::Event;
use wallaroo_orch::ids::PoolId;
use wallaroo_orch::ids::SlotId;
use wallaroo_orch::plan::Input;
use wallaroo_protocol::{Batch, NodeId, Skip, ToWorker, input};

use super::{World, heard};
use crate::worker::{Worker, decode_values};

/// Deaths in a row of one slot that bad luck alone may cause.
const MOST_BAD_LUCK: usize = 4;

/// Slots a run may have at one time.
pub(crate) const MOST_SLOTS: u32 = 5;

/// Workers that bad luck kills in one run: a worker that always dies before it has replayed its journal never gets on.
const MOST_CRASHES: u64 = 50;

/// Deaths of the orchestrator in one run.
const MOST_ENDS: u64 = 20;

/// Workers that are retired, and changes of the slots, in one run: each may cost a replay of everything.
const MOST_CHANGES: u64 = 1000;

impl World {
    /// Lets something go wrong, now and then.
    pub(super) fn misfortune(&mut self) -> bool {
        let slots: Vec<SlotId> = self.workers.keys().copied().collect();
        let crashes = self.scenario.crashes > 0 && self.tally.crashes < MOST_CRASHES;
        if !slots.is_empty() && crashes && self.random.one_in(self.scenario.crashes) {
            let slot = self.random.pick(&slots);
            let struck = self.bad_luck.entry(slot).or_default();
            if *struck < MOST_BAD_LUCK {
                *struck += 1;
                self.crash(slot);
                return true;
            }
        }
        let ends = self.scenario.ends > 0 && self.tally.ends < MOST_ENDS && !self.stopped;
        if ends && self.random.one_in(self.scenario.ends) {
            self.die();
            return true;
        }
        let calm = self.tally.retirements + self.tally.changes > MOST_CHANGES;
        if !slots.is_empty() && !calm && self.scenario.retires > 0 && self.random.one_in(self.scenario.retires) {
            let slot = self.random.pick(&slots);
            let generation = self.workers[&slot].generation;
            self.tally.retirements += 1;
            let event = match self.random.below(3) {
                0 => Event::Overweight { slot, generation, resident: 110, limit: 100 },
                _ => Event::Retire { slot, generation },
            };
            self.tell(event);
            return true;
        }
        if !calm && self.scenario.changes > 0 && self.random.one_in(self.scenario.changes) {
            self.change();
            return true;
        }
        if self.scenario.drains_early && !self.stopped && self.random.one_in(200) {
            self.tally.drains += 1;
            self.suspended_at = (self.scenario.ends > 0 && self.random.one_in(2)).then_some(self.now);
            self.tell(if self.suspended_at.is_some() { Event::Suspend } else { Event::Drain });
            return true;
        }
        if self.scenario.stands_still && self.random.one_in(100) {
            self.tally.standstills += 1;
            // Longer than the step timeout: every worker that was busy before is now past its deadline.
            let gap = self.scenario.config.step_timeout * 2;
            self.now += gap;
            self.tell(Event::StoodStill { gap });
            self.tell(Event::Tick);
            return true;
        }
        if self.scenario.slow > 0 && self.random.one_in(self.scenario.slow) {
            self.go_slowly();
            return true;
        }
        if self.random.one_in(50) {
            self.tell(Event::Tick);
        }
        false
    }

    /// All workers take longer than the step timeout for what they were sent, but move on.
    fn go_slowly(&mut self) {
        self.tally.slow += 1;
        // The end of a process is noticed long before a timeout.
        while let Some(death) = self.deaths.pop_front() {
            self.tell(death);
        }
        for _ in 0..3 {
            self.now += self.scenario.config.step_timeout / 2;
            let lives = |(slot, worker): (&SlotId, &Worker)| (!worker.hangs).then_some((*slot, worker.generation));
            let moved: Vec<_> = self.workers.iter().filter_map(lives).collect();
            for (slot, generation) in moved {
                self.tell(Event::Moved { slot, generation });
            }
            self.tell(Event::Tick);
        }
    }

    /// The user wants more slots or fewer, or another worker in one of them.
    fn change(&mut self) {
        self.tally.changes += 1;
        let event = match self.random.below(3) {
            0 if !self.engine.is_scaling() => {
                self.scaling = self.random.pick(&self.scenario.plan.pools().collect::<Vec<_>>());
                Event::Scale { pool: self.scaling, slots: 1 + self.random.below(MOST_SLOTS as usize) as u32 }
            }
            0 | 1 => {
                let slots: Vec<SlotId> = self.engine.status().slots.iter().map(|slot| slot.slot).collect();
                Event::Replace { slot: self.random.pick(&slots) }
            }
            _ => Event::Save,
        };
        self.tell(event);
    }

    /// A worker dies for a reason that is not in its input.
    fn crash(&mut self, slot: SlotId) {
        let worker = &self.workers[&slot];
        let running = worker.inbox.iter().find_map(|message| match message {
            ToWorker::Batch(batch) => Some(batch.clone()),
            _ => None,
        });
        let input = |batch: &Batch| self.scenario.plan.stages[batch.stage.index()].input;
        let anonymous = |batch: &Batch| matches!(input(batch), Input::Cut(_) | Input::Generate(..));
        if running.as_ref().is_some_and(|batch| batch.careful && anonymous(batch)) {
            // One death more and bytes or values would be given up of which nobody could say which they were.
            return;
        }
        self.tally.crashes += 1;
        if worker.hangs {
            // It was at work on these when a step was out.
            self.blamed.extend(worker.at_work.iter().copied());
        }
        let mut marker = worker.marker.clone().filter(|_| worker.hangs);
        if let Some(batch) = running.filter(|_| !worker.hangs) {
            let (node, noted) = self.note(&batch);
            marker = Some(Marker::Running(Running { batch: batch.batch, node, message: noted }));
        }
        self.bury(slot, DeathCause::Signalled(9), marker);
    }

    /// What a worker that happens to run `batch` may have noted; whoever is watched then may be blamed.
    fn note(&mut self, batch: &Batch) -> (NodeId, Option<Skip>) {
        let root = self.scenario.plan.stages[batch.stage.index()].root;
        let mut messages = Vec::new();
        if let Ok(frames) = input::parse_frames(&batch.input) {
            messages
                .extend((0..).zip(frames).map(|(origin, frame)| (Skip { origin, value: 0 }, decode_values(&frame))));
        } else if let Ok(groups) = input::parse_groups(&batch.input) {
            for (origin, group) in (0..).zip(groups) {
                if group.is_timer() {
                    let window = self.random.below(3) as u32;
                    messages.push((Skip { origin, value: window }, Vec::new()));
                    continue;
                }
                let values = decode_values(&group.untimed().1);
                messages.extend((0..).zip(values).map(|(value, id)| (Skip { origin, value }, vec![id])));
            }
        }
        messages.retain(|(message, _)| !batch.skip.contains(message));
        if messages.is_empty() || !batch.careful || self.random.one_in(3) {
            // Deaths without a note count too, and in the end the whole batch is given up.
            self.blamed.extend(messages.into_iter().flat_map(|(_, values)| values));
            return (root, None);
        }
        let at = self.random.below(messages.len());
        let (message, values) = messages.swap_remove(at);
        self.blamed.extend(values);
        (root, Some(message))
    }

    pub(super) fn bury(&mut self, slot: SlotId, cause: DeathCause, marker: Option<Marker>) {
        let Some(worker) = self.workers.remove(&slot) else { return };
        self.tally.pool_deaths += u64::from(slot.pool != PoolId::MAIN);
        let generation = worker.generation;
        // What it said last may be heard before its death is noticed, after, or never.
        let mut replies = worker.outbox;
        let before = self.random.below(replies.len() + 1);
        for reply in replies.drain(..before) {
            self.tell(heard(slot, generation, reply));
        }
        if self.random.one_in(2) {
            self.stale.extend(replies.into_iter().map(|reply| (slot, generation, reply)));
        }
        let death = Death { cause, marker, trace: String::new() };
        let event = Event::WorkerLost { slot, generation, death };
        self.deaths.push_back(event);
    }
}
