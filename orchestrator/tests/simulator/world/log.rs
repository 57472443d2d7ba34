//! What outlives the orchestrator: its log and its store, and what the world does when it dies.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use wallaroo_orch::checkpoint::{Checkpoint, Replay, StageMark};
use wallaroo_orch::engine::{Engine, StoredState};
use wallaroo_orch::ids::SinkId;
use wallaroo_orch::plan::Plan;
use wallaroo_orch::record::{Lsn, Record};
use wallaroo_orch::sink_chunk::SinkChunk;
use wallaroo_protocol::Group;

use super::World;
use super::intake::Intake;
use super::misfortune::MOST_SLOTS;
use crate::random::Random;
use crate::windows::{self, Fired};
use crate::worker::Seen;

/// One in so many checkpoints is compared with the log: that takes long.
const COMPARED: u64 = 8;

/// The log as its writer knows it.
#[derive(Debug)]
pub(super) struct Log {
    /// Records after the stored checkpoint, as they are written.
    records: VecDeque<(Lsn, Vec<u8>)>,
    durable: Lsn,
    checkpoint: Checkpoint,
    states: BTreeMap<(Arc<str>, Bytes), Bytes>,
    storing: Option<(Checkpoint, Vec<StoredState>)>,
    /// Bytes for each sink in records that are durable, and where in the log those are that are not.
    durable_bytes: Vec<u64>,
    later_bytes: VecDeque<(Lsn, SinkId, u64)>,
}

impl Log {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            records: VecDeque::new(),
            durable: Lsn(0),
            checkpoint: Checkpoint::beginning(plan.shape()),
            states: BTreeMap::new(),
            storing: None,
            durable_bytes: vec![0; plan.sinks.len()],
            later_bytes: VecDeque::new(),
        }
    }

    pub(super) fn append(&mut self, record: Record) {
        let before = self.records.back().map_or(self.checkpoint.lsn, |(lsn, _)| *lsn);
        assert_eq!(record.lsn.0, before.0 + 1, "records have no gaps");
        let bytes = |(sink, chunk): &(SinkId, SinkChunk)| (record.lsn, *sink, chunk.bytes.len() as u64);
        self.later_bytes.extend(record.written.iter().map(bytes));
        let (lsn, mut written) = (record.lsn, Vec::new());
        record.encode(&mut written);
        self.records.push_back((lsn, written));
    }

    /// Takes a checkpoint to be stored. It is what the log says, too.
    pub(super) fn check_in(&mut self, checkpoint: Checkpoint, states: Vec<StoredState>) {
        assert!(self.storing.is_none(), "one checkpoint at a time");
        if checkpoint.lsn.0.is_multiple_of(COMPARED) {
            self.compare(&checkpoint);
        }
        self.storing = Some((checkpoint, states));
    }

    /// Fails if a checkpoint is not what the log says.
    fn compare(&self, checkpoint: &Checkpoint) {
        let replayed = self.replay(checkpoint.lsn);
        assert_eq!(replayed.lsn, checkpoint.lsn);
        assert_eq!(replayed.sources, checkpoint.sources, "how far sources have come");
        for (stage, (replayed, live)) in replayed.stages.iter().zip(&checkpoint.stages).enumerate() {
            assert_eq!(by_key(replayed), by_key(live), "groups that wait for stage {stage}");
            assert_eq!(replayed.late, live.late);
        }
        let mut written = Vec::new();
        checkpoint.clone().encode(&mut written);
        assert_eq!(Checkpoint::decode(&written).expect("a checkpoint can be read"), *checkpoint);
    }

    /// The stored checkpoint carried on to a record.
    fn replay(&self, upto: Lsn) -> Checkpoint {
        let mut replay = Replay::new(self.checkpoint.clone());
        for (_, written) in self.records.iter().take_while(|(lsn, _)| *lsn <= upto) {
            let record = Record::decode(written).expect("a record can be read");
            replay.apply(record).expect("records follow from each other");
        }
        replay.finish()
    }

    pub(super) fn has_unsynced(&self) -> bool {
        self.records.back().is_some_and(|(lsn, _)| *lsn > self.durable)
    }

    /// Makes some records durable.
    pub(super) fn sync(&mut self, random: &mut Random) -> Lsn {
        let last = self.records.back().map_or(self.durable, |(lsn, _)| *lsn);
        self.durable.0 += 1 + random.below((last.0 - self.durable.0) as usize) as u64;
        while let Some((lsn, sink, bytes)) = self.later_bytes.front()
            && *lsn <= self.durable
        {
            self.durable_bytes[sink.index()] += bytes;
            self.later_bytes.pop_front();
        }
        self.durable
    }

    /// The last durable record.
    pub(super) fn durable(&self) -> Lsn {
        self.durable
    }

    /// Bytes for a sink in records that are durable.
    pub(super) fn durable_bytes(&self, sink: SinkId) -> u64 {
        self.durable_bytes[sink.index()]
    }

    pub(super) fn may_store(&self) -> bool {
        self.storing.as_ref().is_some_and(|(checkpoint, _)| checkpoint.lsn <= self.durable)
    }

    /// Stores a checkpoint, and cuts the log there.
    pub(super) fn store(&mut self) -> Lsn {
        let (checkpoint, states) = self.storing.take().expect("one is to be stored");
        for StoredState { table, key, state } in states {
            match state {
                Some(state) => self.states.insert((table, key), state),
                None => self.states.remove(&(table, key)),
            };
        }
        self.records.retain(|(lsn, _)| *lsn > checkpoint.lsn);
        self.checkpoint = checkpoint;
        self.checkpoint.lsn
    }

    /// What is found after a death: everything durable, and perhaps some records more.
    fn survive(&mut self, random: &mut Random) -> (Checkpoint, Vec<StoredState>) {
        self.storing = None;
        let unsynced = self.records.iter().filter(|(lsn, _)| *lsn > self.durable).count();
        let lost = random.below(unsynced + 1);
        self.records.truncate(self.records.len() - lost);
        let last = self.records.back().map_or(self.checkpoint.lsn, |(lsn, _)| *lsn);
        self.durable = last;
        let state = |((table, key), state): (&(Arc<str>, Bytes), &Bytes)| StoredState {
            table: table.clone(),
            key: key.clone(),
            state: Some(state.clone()),
        };
        let checkpoint = self.replay(last);
        self.later_bytes.clear();
        for (durable, mark) in self.durable_bytes.iter_mut().zip(&checkpoint.sinks) {
            *durable = mark.delivered + mark.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum::<u64>();
        }
        (checkpoint, self.states.iter().map(state).collect())
    }
}

/// The groups that wait for a stage, timers aside, by key and in the order of each.
fn by_key(stage: &StageMark) -> BTreeMap<Bytes, Vec<Group>> {
    let mut keys: BTreeMap<Bytes, Vec<Group>> = BTreeMap::new();
    for queued in stage.queue.iter().filter(|queued| !queued.group.is_timer()) {
        keys.entry(queued.group.key_bytes()).or_default().push(queued.group.clone());
    }
    keys
}

impl World {
    /// The orchestrator dies, and its workers with it. Another one goes on with what is on the disk.
    pub(super) fn die(&mut self) {
        self.tally.ends += 1;
        let (checkpoint, states) = self.log.survive(&mut self.random);
        self.workers.clear();
        self.stale.clear();
        self.deaths.clear();
        self.bad_luck.clear();
        self.to_write.iter_mut().for_each(std::collections::VecDeque::clear);
        self.lose_letters();
        self.go_on_with_sinks(&checkpoint);
        for lane in 0..self.scenario.lanes.len() {
            let source = self.scenario.lanes[lane].source as usize;
            self.go_on(lane, &checkpoint.sources[source].position);
        }
        self.source_ended.fill(false);
        self.intake.fill_with(Intake::default);
        self.scenario.config.slots = 1 + self.random.below(MOST_SLOTS as usize - 1) as u32;
        self.began = self.now;
        let plan = Arc::new(self.scenario.plan.clone());
        let mut actions = Vec::new();
        self.engine = Engine::recover(plan, self.scenario.config.clone(), (checkpoint, 0), states, &mut actions);
        self.engine.set_epoch(self.now);
        self.vacant = self.engine.status().slots.iter().map(|slot| slot.slot).collect();
        self.carry_out_all(actions);
        self.end_turn();
    }

    /// The orchestrator has ended as it was told to, and another one goes on.
    pub(super) fn resume(&mut self) {
        assert!(!self.log.has_unsynced() && self.log.records.is_empty(), "all is in the checkpoint");
        (self.finished, self.suspended_at, self.stopped) = (false, None, false);
        self.tally.suspensions += 1;
        self.die();
    }

    /// A run that had time to end has left nothing to finish, if all states can be saved.
    pub(super) fn check_settled(&self) {
        let config = &self.scenario.config;
        let had_time = self.suspended_at.is_none_or(|at| self.now < at + config.stop_timeout);
        if config.logged && had_time && self.scenario.fatal_saving.is_none() {
            let left = self.log.replay(self.log.durable);
            assert!(left.is_settled(), "the last checkpoint leaves something: {left:#?}");
        }
    }

    /// Of the letters that were not kept, the file has all or none.
    fn lose_letters(&mut self) {
        let unkept: Vec<_> = self.to_keep.drain(..).map(|(id, _)| id).collect();
        if self.random.one_in(2) {
            self.dead.retain(|(id, _)| !unkept.contains(id));
            self.letters.retain(|id| !unkept.contains(id));
        }
    }

    /// Files are cut back to what was delivered.
    fn go_on_with_sinks(&mut self, checkpoint: &Checkpoint) {
        for (sink, mark) in checkpoint.sinks.iter().enumerate() {
            let size = if windows::feed(self, sink) { Fired::BYTES } else { Seen::BYTES };
            let delivered = mark.delivered as usize / size;
            assert_eq!(delivered * size, mark.delivered as usize, "whole messages are delivered");
            assert!(
                self.seen[sink].len().max(self.fired[sink].len()) >= delivered,
                "nothing is delivered before it is"
            );
            self.handed[sink] = mark.delivered;
            self.seen[sink].truncate(delivered);
            self.fired[sink].truncate(delivered);
        }
    }
}
