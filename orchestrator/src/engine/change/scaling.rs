//! Partitions that move from slot to slot, so that slots can be added and removed while the stream goes on.
//!
//! A few partitions at a time, a *wave*, are held: their groups wait in lanes of their own. The slot that they leave is asked for
//! snapshots of their keys that changed. Its worker carries out what it is sent in order, so its answer also says that every batch
//! with one of their groups has been answered. From then on the snapshots are all there is to know about the partitions: the router
//! places them in their new slot, and the groups that waited are released there. The old slot's journal is not touched: a replay
//! leaves out what does not live in its slot.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wallaroo_protocol::{RequestId, ToWorker, input, key};

use super::Pause;
use crate::engine::batch::{Batch, Origin};
use crate::engine::invariant::{Checked, Invariant};
use crate::engine::recovery::snapshots::ENTRY_OVERHEAD;
use crate::engine::routing::placement::{self, Move};
use crate::engine::routing::router::PartitionId;
use crate::engine::workers::Seat;
use crate::engine::{Action, Engine};
use crate::ids::{PoolId, SlotId};

/// Waves grow while they hold keys for less than this.
const SHORT_PAUSE: Duration = Duration::from_millis(20);
/// Waves shrink when they hold keys for longer than this.
const LONG_PAUSE: Duration = Duration::from_millis(80);
/// Partitions in a wave, at most.
const LARGEST_WAVE: usize = 64;

/// Why partitions move.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The number of a pool's slots changes.
    Scale,
    /// A slot is relieved of partitions because of a slow key, and at the end this is to be said; or it gets some again.
    Relief(Option<String>),
}

/// Partitions that move, and a change of the number of a pool's slots if that is the purpose.
#[derive(Debug)]
pub(super) struct Scaling {
    purpose: Purpose,
    pool: PoolId,
    /// Slots there were.
    before: u32,
    /// Slots there are to be.
    goal: u32,
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
    /// Keys that changed and whose snapshots have not been asked for; `None` until they are known.
    unsaved: Option<VecDeque<Bytes>>,
    /// A state that cannot leave its worker.
    stuck: Option<String>,
}

impl Scaling {
    pub(super) fn new(pool: PoolId, before: u32, goal: u32, planned: Vec<Move>, purpose: Purpose) -> Self {
        Self {
            pool,
            before,
            goal,
            planned: planned.into(),
            wave: None,
            // The slow key of a slot may be slow again: all others leave at once.
            wave_size: if matches!(purpose, Purpose::Relief(Some(_))) { usize::MAX } else { 1 },
            purpose,
            undo: Vec::new(),
            moved: 0,
            longest_pause: Duration::ZERO,
            problem: None,
        }
    }

    /// Whether the number of slots changes.
    pub(super) fn is_scale(&self) -> bool {
        matches!(self.purpose, Purpose::Scale)
    }

    /// Slots there are to be.
    pub(super) fn goal(&self) -> u32 {
        self.goal
    }

    /// The slot that partitions are leaving.
    pub(super) fn wave_from(&self) -> Option<SlotId> {
        self.wave.as_ref().map(|wave| wave.from)
    }

    /// Whether partitions are held.
    pub(super) fn has_wave(&self) -> bool {
        self.wave.is_some()
    }

    /// Lets everything that has moved go back. What cannot go back either stays where it is.
    fn turn_back(&mut self, problem: String) {
        if self.problem.is_none() {
            self.problem = Some(problem);
            self.planned = self.undo.drain(..).rev().collect();
            self.goal = self.before;
        }
    }

    pub(super) fn note_stuck(&mut self, request: RequestId, reason: String) {
        if let Some(wave) = self.wave.as_mut().filter(|wave| wave.request == Some(request)) {
            wave.stuck = Some(reason);
        }
    }

    pub(super) fn note_pause(&mut self, pause: Duration) {
        self.longest_pause = self.longest_pause.max(pause);
    }

    /// Takes in that a wave has arrived: the next one is larger if its keys were held for a short time only.
    fn arrived(&mut self, wave: &Wave, now: Duration) {
        let pause = now.saturating_sub(wave.since);
        if pause < SHORT_PAUSE {
            self.wave_size = self.wave_size.saturating_mul(2).min(LARGEST_WAVE);
        } else if pause > LONG_PAUSE {
            self.wave_size = (self.wave_size / 2).max(1);
        }
        self.moved += wave.moves.len();
        self.note_pause(pause);
        if self.problem.is_none() {
            let back = |done: &Move| Move { partition: done.partition, to: wave.from };
            self.undo.extend(wave.moves.iter().map(back));
        }
    }
}

impl Engine {
    /// Begins to give a pool `slots` slots, and to spread the partitions over those of the main one. One such change at a time;
    /// [`Action::Scaled`] is its end.
    pub(in crate::engine) fn scale(&mut self, pool: PoolId, slots: u32, actions: &mut Vec<Action>) -> Checked<()> {
        if self.change.is_scaling() || slots == 0 || pool.index() >= self.workers.pools() {
            return Err(Invariant::OneChange { slots });
        }
        if let Some(relief) = &mut self.change.scaling {
            relief.planned.clear();
            relief.purpose = Purpose::Relief(None);
            self.change.next_scaling = Some((pool, slots));
            return Ok(());
        }
        let before = self.workers.count(pool);
        for _ in before..slots {
            let slot = self.add_slot(pool);
            actions.push(Action::Seat { slot });
        }
        // Nothing lives in other pools.
        let router = self.routing.router();
        let mut planned = if pool == PoolId::MAIN { placement::moves(router, slots) } else { Vec::new() };
        planned.sort_by_key(|planned| (router.slot(planned.partition), planned.partition));
        self.change.scaling = Some(Box::new(Scaling::new(pool, before, slots, planned, Purpose::Scale)));
        Ok(())
    }

    /// Whether slots are being added or removed.
    pub fn is_scaling(&self) -> bool {
        self.change.is_scaling()
    }

    /// Takes the change of the number of slots as far as it can go now.
    pub(in crate::engine) fn go_on_scaling(&mut self, now: Duration, actions: &mut Vec<Action>) -> Checked<()> {
        let Some(mut scaling) = self.change.scaling.take() else { return Ok(()) };
        if scaling.wave.is_none() && self.change.adoption.is_none() {
            scaling.wave = self.begin_wave(&mut scaling, now);
        }
        if let Some(wave) = &mut scaling.wave {
            self.ask_for(wave, now, actions);
        } else if let (true, Purpose::Relief(notice)) = (scaling.planned.is_empty(), &mut scaling.purpose) {
            actions.extend(scaling.problem.or(notice.take()).map(Action::Warn));
            if let Some((pool, slots)) = self.change.next_scaling.take() {
                self.scale(pool, slots, actions)?;
            }
            return Ok(());
        } else if scaling.planned.is_empty() && self.has_settled(&scaling, now, actions)? {
            let Scaling { pool, moved, longest_pause, problem, .. } = *scaling;
            let slots = self.slots(pool);
            actions.push(Action::Scaled { slots, moved, longest_pause, problem });
            return Ok(());
        }
        self.change.scaling = Some(scaling);
        Ok(())
    }

    /// Puts the partitions back that are on their way from a slot.
    pub(super) fn give_wave_up(&mut self) {
        let Some(scaling) = &mut self.change.scaling else { return };
        let Some(wave) = scaling.wave.take() else { return };
        wave.moves.into_iter().rev().for_each(|moved| scaling.planned.push_front(moved));
        for slot in self.routing.release() {
            self.dispatch.wake(slot);
        }
    }

    /// Holds the next partitions, once the slots between which they move have workers.
    fn begin_wave(&mut self, scaling: &mut Scaling, now: Duration) -> Option<Wave> {
        let router = self.routing.router();
        let seated = |slot: SlotId| self.workers.available(slot).is_some();
        if let Purpose::Relief(_) = scaling.purpose {
            // It does what can be done now, and waits for nobody.
            scaling.planned.retain(|planned| seated(planned.to) && seated(router.slot(planned.partition)));
        }
        let from = router.slot(scaling.planned.front()?.partition);
        if let Some(reason) = self.recovery.unrecoverable(from) {
            // Nobody knows which of its keys have changed.
            scaling.planned.retain(|planned| router.slot(planned.partition) != from);
            let problem = format!("the state in {} cannot move: {reason}", self.slot_name(from));
            scaling.turn_back(problem);
            return None;
        }
        let size = scaling.wave_size.min(scaling.planned.len());
        let same = |planned: &&Move| router.slot(planned.partition) == from;
        let count = scaling.planned.iter().take(size).take_while(same).count();
        if !self.recovery.is_slot_idle(from)
            || !seated(from)
            || !scaling.planned.iter().take(count).all(|planned| seated(planned.to))
        {
            return None;
        }
        let moves: Vec<Move> = scaling.planned.drain(..count).collect();
        let partitions: BTreeSet<PartitionId> = moves.iter().map(|planned| planned.partition).collect();
        self.routing.hold(from, partitions.clone());
        Some(Wave { from, moves, partitions, since: now, request: None, unsaved: None, stuck: None })
    }

    /// Asks the slot that partitions leave for what changed of their keys, once nothing of them waits to be run again there. Asks
    /// again when its worker died before it answered.
    fn ask_for(&mut self, wave: &mut Wave, now: Duration, actions: &mut Vec<Action>) {
        let slot = wave.from;
        let Some(generation) = self.workers.available(slot) else { return };
        if self.recovery.awaits_snapshot(slot) || !self.recovery.is_slot_idle(slot) {
            return;
        }
        if wave.request.is_some() {
            wave.unsaved = None;
            wave.stuck = None;
        }
        let mut unsaved = match wave.unsaved.take() {
            Some(unsaved) => unsaved,
            None => self.changed_keys(wave).into_iter().collect(),
        };
        let keys = take_keys(&mut unsaved, self.config.message_bytes);
        wave.unsaved = Some(unsaved);
        let request = self.recovery.request(slot, now);
        wave.request = Some(request);
        actions.push(Action::Send { slot, generation, message: ToWorker::SnapshotKeys { request, keys } });
    }

    /// Keys of the partitions on their way whose state may have changed since their snapshots.
    fn changed_keys(&self, wave: &Wave) -> BTreeSet<Bytes> {
        let sent = self.dispatch.in_flight(wave.from).map(|in_flight| &in_flight.batch);
        let mut changed = BTreeSet::new();
        for batch in self.recovery.journal(wave.from).chain(sent) {
            let Some(keyspace) = self.routing.keyspace(batch.stage) else { continue };
            for key in self.keys_of(batch) {
                let partition = self.routing.partition(keyspace, &key);
                if wave.partitions.contains(&partition) && !self.recovery.covers(partition, &key, batch.id) {
                    changed.insert(key);
                }
            }
        }
        changed
    }

    pub(super) fn keys_of(&self, batch: &Batch) -> Vec<Bytes> {
        match batch.origin {
            Origin::Groups if self.plan.stages[batch.stage.index()].stateful => {
                let groups = input::parse_groups(&batch.input).unwrap_or_default();
                groups.iter().map(wallaroo_protocol::Group::key_bytes).collect()
            }
            Origin::Generate => vec![key::nil()],
            _ => Vec::new(),
        }
    }

    /// Hands partitions over once the answer to `request` is whole.
    pub(in crate::engine) fn hand_over(
        &mut self,
        request: RequestId,
        now: Duration,
        actions: &mut Vec<Action>,
    ) -> Checked<()> {
        let Some(scaling) = &mut self.change.scaling else { return Ok(()) };
        let Some(mut wave) = scaling.wave.take_if(|wave| wave.request == Some(request)) else { return Ok(()) };
        if wave.stuck.is_none() && wave.unsaved.as_ref().is_some_and(|unsaved| !unsaved.is_empty()) {
            // More keys changed than one request can name.
            wave.request = None;
            scaling.wave = Some(wave);
            return Ok(());
        }
        if let Some(problem) = wave.stuck.take() {
            scaling.turn_back(problem);
        } else {
            scaling.arrived(&wave, now);
            self.routing.place(&wave.moves);
            let partitions: Vec<PartitionId> = wave.partitions.iter().copied().collect();
            let worker = self.workers.available(wave.from);
            self.recovery.forget(wave.from, worker, &partitions, actions)?;
            self.install(&wave.moves, actions)?;
        }
        let first = self.dispatch.next_batch();
        for slot in self.routing.release() {
            self.change.pauses.entry(slot).or_default().push(Pause { since: wave.since, first });
            self.dispatch.wake(slot);
        }
        // A generator has no groups that wait.
        wave.moves.iter().for_each(|moved| self.dispatch.wake(moved.to));
        self.dispatch.wake(wave.from);
        Ok(())
    }

    /// Gives the snapshots of partitions to the workers of their new slots. A slot without a worker has its next one given them.
    fn install(&mut self, moves: &[Move], actions: &mut Vec<Action>) -> Checked<()> {
        let slots: BTreeSet<SlotId> = moves.iter().map(|moved| moved.to).collect();
        for slot in slots {
            let partitions = moves.iter().filter(|moved| moved.to == slot).map(|moved| moved.partition);
            let partitions: Vec<PartitionId> = partitions.collect();
            if let Some(generation) = self.workers.available(slot) {
                let eager = self.config.eager_restore_bytes;
                self.recovery.install(slot, generation, &partitions, eager, actions)?;
            }
        }
        Ok(())
    }

    /// Whether, now that every partition is where it belongs, the slots are as they are to be. Slots without partitions give up
    /// their workers and are removed.
    fn has_settled(&mut self, scaling: &Scaling, now: Duration, actions: &mut Vec<Action>) -> Checked<bool> {
        let pool = scaling.pool;
        let slot = |number: u32| SlotId { pool, number };
        let inhabited = |number: &u32| self.routing.router().partitions_of(slot(*number)).next().is_some();
        let least = (0..self.slots(pool)).filter(inhabited).max().map_or(1, |highest| highest + 1);
        let goal = scaling.goal.max(least);
        for slot in (goal..self.slots(pool)).map(slot) {
            if self.workers.close(slot) {
                actions.push(Action::RemoveSlot { slot });
            }
            if let Some(generation) = self.workers.available(slot) {
                self.retire(slot, generation, now, actions)?;
            }
        }
        while self.slots(pool) > goal
            && let Some(slot) = self.workers.last_vacant(pool)
        {
            self.remove_slot(slot)?;
        }
        let is_ready =
            |number: u32| *self.workers.seat(slot(number)) != Seat::Vacant && !self.change.is_paused(slot(number));
        Ok(self.slots(pool) == goal && (0..goal).all(is_ready))
    }
}

/// Takes as many keys as one request may name.
fn take_keys(keys: &mut VecDeque<Bytes>, most_bytes: usize) -> Vec<Bytes> {
    let mut bytes = 0;
    let mut fits = |key: &Bytes| {
        bytes += key.len() + ENTRY_OVERHEAD;
        bytes <= most_bytes
    };
    let count = keys.iter().take_while(|key| fits(key)).count().clamp(1.min(keys.len()), keys.len());
    keys.drain(..count).collect()
}
