//! Partitions that move from slot to slot, so that slots can be added and taken away while the stream goes on.
//!
//! A few partitions at a time, a *wave*, are held: their groups wait in lanes of their own. The slot they leave is asked to
//! snapshot what changed of their keys. Its worker carries out what it is sent in order, so its answer also says that every
//! batch with one of their groups has been answered. From then on the snapshots are all there is to know about them: the router
//! sends them to their new slot, and what waited is released there. The old slot's journal is not touched: a replay leaves out
//! what does not live in its slot.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{BatchId, RequestId, SnapshotFailure, StageId, ToWorker, input, key};

use super::batch::{Origin, Work};
use super::placement::{self, Move};
use super::routing::PartitionId;
use super::slot::{Lane, Seat, Slot, SnapshotState};
use super::{Action, Engine};
use crate::ids::PoolId;
use crate::ids::SlotId;

/// Waves grow while they hold keys for less than this.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// Waves shrink when they hold keys for longer than this.
const LONG_PAUSE: Duration = Duration::from_millis(80);
/// Partitions in a wave, at most.
const LARGEST_WAVE: usize = 64;

/// A change of the number of a pool's slots.
#[derive(Debug)]
pub(super) struct Scaling {
    pool: PoolId,
    /// Slots there were.
    before: usize,
    /// Slots there are to be.
    goal: usize,
    planned: VecDeque<Move>,
    wave: Option<Wave>,
    /// Partitions in the next wave.
    wave_size: usize,
    /// Moves that would undo what has been done.
    undo: Vec<Move>,
    moved: usize,
    longest_pause: Duration,
    /// Why it is being undone.
    problem: Option<String>,
}

/// Partitions on their way.
#[derive(Debug)]
struct Wave {
    from: SlotId,
    moves: Vec<Move>,
    partitions: BTreeSet<PartitionId>,
    /// When they were first held.
    since: Duration,
    request: Option<RequestId>,
    /// What waits for them, by stage.
    waiting: Vec<Lane>,
    /// A state that cannot leave its worker.
    stuck: Option<String>,
}

/// Keys that were held and released to a slot which has not answered a batch with them yet.
#[derive(Debug)]
pub(super) struct Arrival {
    since: Duration,
    /// No batch before this one has them.
    first: BatchId,
}

impl Scaling {
    /// Lets everything that has moved go back; what cannot go back either stays where it is.
    fn turn_back(&mut self, problem: String) {
        if self.problem.is_none() {
            self.problem = Some(problem);
            self.planned = self.undo.drain(..).rev().collect();
            self.goal = self.before;
        }
    }
}

impl Engine {
    /// Begins to give a pool `slots` slots, and to spread the partitions over those of the main one. One such change at a time;
    /// [`Action::Scaled`] is its end.
    pub(super) fn scale(&mut self, pool: PoolId, slots: u32, actions: &mut Vec<Action>) {
        if self.scaling.is_some() || slots == 0 || pool.index() >= self.slots.pools() {
            debug_assert!(false, "one change at a time, of a pool there is");
            return;
        }
        let (before, goal) = (self.slots.of(pool).len(), slots as usize);
        for _ in before..goal {
            let slot = self.slots.push(pool, Slot::new(self.plan.stages.len()));
            actions.push(Action::Seat { slot });
        }
        // Nothing lives in other pools.
        let mut planned = if pool == PoolId::MAIN { placement::moves(&self.router, slots) } else { Vec::new() };
        planned.sort_by_key(|planned| (self.router.slot(planned.partition), planned.partition));
        self.scaling = Some(Box::new(Scaling {
            pool,
            before,
            goal,
            planned: planned.into(),
            wave: None,
            wave_size: 1,
            undo: Vec::new(),
            moved: 0,
            longest_pause: Duration::ZERO,
            problem: None,
        }));
    }

    /// Whether slots are being added or taken away.
    pub fn is_scaling(&self) -> bool {
        self.scaling.is_some()
    }

    /// The lane in which groups of a partition wait.
    pub(super) fn lane(&mut self, stage: StageId, partition: PartitionId) -> &mut Lane {
        match self.scaling.as_mut().and_then(|scaling| scaling.wave.as_mut()) {
            Some(wave) if wave.partitions.contains(&partition) => &mut wave.waiting[stage.index()],
            _ => &mut self.slots[self.router.slot(partition)].lanes[stage.index()],
        }
    }

    /// Whether a partition is on its way, so that nothing may run for it.
    pub(super) fn is_held(&self, partition: PartitionId) -> bool {
        self.wave().is_some_and(|wave| wave.partitions.contains(&partition))
    }

    /// Messages of a stage that wait for partitions on their way.
    pub(super) fn held_messages(&self, stage: StageId) -> usize {
        self.wave().map_or(0, |wave| wave.waiting[stage.index()].messages())
    }

    /// Whether nothing waits for partitions on their way, timers included.
    pub(super) fn holds_nothing(&self) -> bool {
        self.wave().is_none_or(|wave| wave.waiting.iter().all(Lane::is_empty))
    }

    fn wave(&self) -> Option<&Wave> {
        self.scaling.as_ref()?.wave.as_ref()
    }

    /// Does what can be done now.
    pub(super) fn go_on_scaling(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Some(mut scaling) = self.scaling.take() else { return };
        if scaling.wave.is_none() {
            scaling.wave = self.begin_wave(&mut scaling, now);
        }
        if let Some(wave) = &mut scaling.wave {
            self.ask_for(wave, actions);
        } else if scaling.planned.is_empty() && self.has_settled(&mut scaling, now, actions) {
            let Scaling { pool, moved, longest_pause, problem, .. } = *scaling;
            let slots = self.slots(pool);
            return actions.push(Action::Scaled { slots, moved, longest_pause, problem });
        }
        self.scaling = Some(scaling);
    }

    /// Holds the next partitions, once the slots between which they move have workers.
    fn begin_wave(&mut self, scaling: &mut Scaling, now: Duration) -> Option<Wave> {
        let from = self.router.slot(scaling.planned.front()?.partition);
        if let Some(reason) = &self.slots[from].unrecoverable {
            // Nobody knows which of its keys have changed.
            scaling.planned.retain(|planned| self.router.slot(planned.partition) != from);
            let problem = format!("the state in {} cannot move: {reason}", self.slot_name(from));
            scaling.turn_back(problem);
            return None;
        }
        let size = scaling.wave_size.min(scaling.planned.len());
        let same = |planned: &&Move| self.router.slot(planned.partition) == from;
        let count = scaling.planned.iter().take(size).take_while(same).count();
        let seated = |slot: SlotId| self.slots[slot].worker().is_some();
        if !seated(from) || !scaling.planned.iter().take(count).all(|planned| seated(planned.to)) {
            return None;
        }
        let moves: Vec<Move> = scaling.planned.drain(..count).collect();
        let partitions: BTreeSet<PartitionId> = moves.iter().map(|planned| planned.partition).collect();
        let mut waiting = Vec::with_capacity(self.plan.stages.len());
        for stage in &self.plan.stages {
            let lane = &mut self.slots[from].lanes[stage.id.index()];
            waiting.push(match stage.input.keyspace() {
                Some(keyspace) => {
                    lane.split_off(|group| partitions.contains(&self.router.partition(keyspace, group.key())))
                }
                None => Lane::default(),
            });
        }
        Some(Wave { from, moves, partitions, since: now, request: None, waiting, stuck: None })
    }

    /// Asks the slot that partitions leave for what changed of their keys, once nothing of them waits to be repeated there. Asks
    /// again when its worker died before it answered.
    fn ask_for(&mut self, wave: &mut Wave, actions: &mut Vec<Action>) {
        let slot = &self.slots[wave.from];
        let (Some(generation), SnapshotState::Idle) = (slot.worker(), slot.snapshot) else { return };
        if !slot.replay.is_empty() || !slot.repeat.is_empty() {
            return;
        }
        let keys = self.changed_keys(wave).into_iter().collect();
        let request = self.next_request();
        wave.request = Some(request);
        wave.stuck = None;
        self.slots[wave.from].snapshot = SnapshotState::Requested(request);
        let message = ToWorker::SnapshotKeys { request, keys };
        actions.push(Action::Send { slot: wave.from, generation, message });
    }

    /// Keys of the partitions on their way whose state may have changed since their snapshots.
    fn changed_keys(&mut self, wave: &Wave) -> BTreeSet<Bytes> {
        let slot = &self.slots[wave.from];
        let sent = slot.in_flight.iter().map(|in_flight| in_flight.work.clone());
        let completed = self.ledger.journal(wave.from).into_iter().map(|entry| entry.work);
        let mut changed = BTreeSet::new();
        for work in completed.chain(sent).collect::<Vec<_>>() {
            for key in self.keys_of(&work) {
                let Some(keyspace) = self.plan.stages[work.stage.index()].input.keyspace() else { continue };
                let partition = self.router.partition(keyspace, &key);
                let is_covered = |after: BatchId| after >= work.batch;
                if wave.partitions.contains(&partition)
                    && !self.ledger.snapshot(partition, &key).is_some_and(|snapshot| is_covered(snapshot.after))
                {
                    changed.insert(key);
                }
            }
        }
        changed
    }

    fn keys_of(&self, work: &Work) -> Vec<Bytes> {
        match work.origin {
            Origin::Groups if self.plan.stages[work.stage.index()].stateful => {
                let groups = input::parse_groups(&work.input).unwrap_or_default();
                groups.iter().map(wallaroo_protocol::Group::key_bytes).collect()
            }
            Origin::Generate => vec![key::nil()],
            _ => Vec::new(),
        }
    }

    /// Notes that the answer to a snapshot request has a state that cannot be pickled: it cannot leave its worker.
    pub(super) fn cannot_move(&mut self, request: RequestId, failure: &SnapshotFailure) {
        let wave = self.scaling.as_mut().and_then(|scaling| scaling.wave.as_mut());
        if let Some(wave) = wave.filter(|wave| wave.request == Some(request)) {
            let key = key::display(&failure.key);
            wave.stuck = Some(format!(
                "the state of key {key} in table {:?} cannot be pickled: {}",
                failure.table, failure.message
            ));
        }
    }

    /// Hands partitions over once the answer to `request` is whole.
    pub(super) fn hand_over(&mut self, request: RequestId, now: Duration, actions: &mut Vec<Action>) {
        let Some(scaling) = &mut self.scaling else { return };
        let Some(wave) = scaling.wave.take_if(|wave| wave.request == Some(request)) else { return };
        let Wave { from, moves, since, waiting, stuck, .. } = wave;
        match stuck {
            None => {
                let pause = now.saturating_sub(since);
                if pause < SHORT_PAUSE {
                    scaling.wave_size = (scaling.wave_size * 2).min(LARGEST_WAVE);
                } else if pause > LONG_PAUSE {
                    scaling.wave_size = (scaling.wave_size / 2).max(1);
                }
                scaling.moved += moves.len();
                scaling.longest_pause = scaling.longest_pause.max(pause);
                for Move { partition, to } in &moves {
                    self.router.place(*partition, *to);
                }
                if scaling.problem.is_none() {
                    scaling.undo.extend(moves.iter().map(|done| Move { partition: done.partition, to: from }));
                }
                self.forget(from, &moves.iter().map(|moved| moved.partition).collect::<Vec<_>>(), actions);
                self.install(&moves, actions);
            }
            Some(problem) => scaling.turn_back(problem),
        }
        self.let_go(waiting, since);
    }

    /// Sends the snapshots of partitions to the workers of their new slots: at once, or, if they are large, when they are needed.
    fn install(&mut self, moves: &[Move], actions: &mut Vec<Action>) {
        let slots: BTreeSet<SlotId> = moves.iter().map(|moved| moved.to).collect();
        for slot in slots {
            let partitions = moves.iter().filter(|moved| moved.to == slot).map(|moved| moved.partition);
            let partitions: Vec<PartitionId> = partitions.collect();
            let bytes: usize = partitions.iter().map(|partition| self.ledger.snapshot_bytes(*partition)).sum();
            match self.slots[slot].worker() {
                Some(generation) if bytes <= self.config.eager_restore_bytes => {
                    let keys = |partition| self.ledger.keys(partition).into_iter().map(move |key| (partition, key));
                    let keys = partitions.into_iter().flat_map(keys).collect();
                    self.restore(slot, generation, keys, actions);
                }
                _ => self.slots[slot].restoring = true,
            }
        }
    }

    /// Lets groups that were held go to the slots their partitions now live in.
    fn let_go(&mut self, waiting: Vec<Lane>, since: Duration) {
        let mut reached = BTreeSet::new();
        for (stage, lane) in self.plan.stages.iter().zip(waiting) {
            let Some(keyspace) = stage.input.keyspace() else { continue };
            for (group, arrived, time) in lane {
                let slot = self.router.slot_of(keyspace, group.key());
                self.slots[slot].lanes[stage.id.index()].push(group, arrived, time);
                reached.insert(slot);
            }
        }
        let first = BatchId(self.next_batch);
        for slot in reached {
            self.slots[slot].arrivals.push(Arrival { since, first });
        }
    }

    /// Ends the pause of keys that a slot has now answered a batch for.
    pub(super) fn end_pauses(&mut self, slot: SlotId, batch: BatchId, now: Duration) {
        let arrivals = &mut self.slots[slot].arrivals;
        if arrivals.is_empty() {
            return;
        }
        let answered = arrivals.extract_if(.., |arrival| arrival.first <= batch);
        let longest = answered.map(|arrival| now.saturating_sub(arrival.since)).max();
        if let (Some(scaling), Some(pause)) = (&mut self.scaling, longest) {
            scaling.longest_pause = scaling.longest_pause.max(pause);
        }
    }

    /// Whether, now that every partition is where it belongs, the slots are as they are to be. Slots without partitions give up
    /// their workers, and go.
    fn has_settled(&mut self, scaling: &mut Scaling, now: Duration, actions: &mut Vec<Action>) -> bool {
        let pool = scaling.pool;
        let slot = |number: usize| SlotId { pool, number: number as u32 };
        let inhabited = |number: &usize| self.router.partitions_of(slot(*number)).next().is_some();
        let least = (0..self.slots.of(pool).len()).filter(inhabited).max().map_or(1, |highest| highest + 1);
        let goal = scaling.goal.max(least);
        for slot in (goal..self.slots.of(pool).len()).map(slot) {
            if !std::mem::replace(&mut self.slots[slot].leaving, true) {
                actions.push(Action::Vacate { slot });
            }
            if let Some(generation) = self.slots[slot].worker() {
                self.retire(slot, generation, now, actions);
            }
        }
        while self.slots.of(pool).len() > goal
            && let Some((slot, last)) = self.slots.pop_if(pool, |last| last.seat == Seat::Vacant)
        {
            debug_assert!(last.is_idle(), "a slot without partitions has no work of its own");
            // Every state of it is in a snapshot, or was never changed.
            self.ledger.truncate(slot, None);
        }
        let is_ready = |slot: &Slot| slot.seat != Seat::Vacant && slot.arrivals.is_empty();
        self.slots.of(pool).len() == goal && self.slots.of(pool).iter().all(is_ready)
    }
}
