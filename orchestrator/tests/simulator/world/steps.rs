//! One step of the world: what can happen next, and one of that.

use std::time::Duration;

use wallaroo_orch::engine::Event;
use wallaroo_orch::ids::{Generation, SinkId, SlotId, SourceId};

use super::{World, heard};
use crate::worker::{Outcome, Worker};

#[derive(Debug, Clone, Copy)]
enum Choice {
    Client(usize),
    EndSource(usize),
    Work(SlotId),
    Reply(SlotId),
    Stale,
    Write(usize),
    KeepLetters,
    Sync,
    Store,
    Seat,
    ReportDeath,
}

impl World {
    /// Lets one thing happen.
    pub(super) fn step(&mut self) {
        self.now += Duration::from_millis(1);
        self.steps += 1;
        if self.misfortune() || self.finished {
            return;
        }
        let mut choices: Vec<Choice> = Vec::new();
        self.clients(&mut choices);
        for (slot, worker) in &self.workers {
            if !worker.inbox.is_empty() && !worker.hangs {
                choices.push(Choice::Work(*slot));
            }
            if !worker.outbox.is_empty() {
                choices.push(Choice::Reply(*slot));
            }
        }
        if self.log.has_unsynced() {
            choices.push(Choice::Sync);
        }
        if self.log.may_store() {
            choices.push(Choice::Store);
        }
        if !self.vacant.is_empty() {
            choices.push(Choice::Seat);
        }
        if !self.stale.is_empty() {
            choices.push(Choice::Stale);
        }
        if !self.deaths.is_empty() {
            choices.push(Choice::ReportDeath);
        }
        if !self.scenario.late.sinks || choices.is_empty() || self.random.one_in(20) {
            let written = |sink: &usize| !self.to_write[*sink].is_empty();
            choices.extend((0..self.to_write.len()).filter(written).map(Choice::Write));
        }
        let keep = !self.scenario.late.letters || choices.is_empty() || self.random.one_in(20);
        if keep && !self.to_keep.is_empty() {
            choices.push(Choice::KeepLetters);
        }
        if choices.is_empty() && self.turn_is_open {
            return self.end_turn();
        }
        if choices.is_empty() {
            let deadline = self.engine.next_deadline().map(|deadline| self.began + deadline);
            self.now = self
                .now
                .max(deadline.unwrap_or_else(|| panic!("nothing can happen any more: {:#?}", self.engine.status())));
            return self.tell(Event::Tick);
        }
        let choice = self.random.pick(&choices);
        self.take(choice);
    }

    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Client(lane) => self.send(lane),
            Choice::EndSource(source) => {
                self.source_ended[source] = true;
                self.tell(Event::SourceEnded { source: SourceId(source as u32) });
            }
            Choice::Work(slot) => self.work(slot),
            Choice::Reply(slot) => {
                let Some(worker) = self.workers.get_mut(&slot) else { return };
                let Some(reply) = worker.outbox.pop_front() else { return };
                let generation = worker.generation;
                self.bad_luck.remove(&slot);
                self.tell(heard(slot, generation, reply));
            }
            Choice::Stale => self.hear_stale(),
            Choice::Write(sink) => {
                let Some(mut bytes) = self.to_write[sink].pop_front() else { return };
                if bytes > 1 && self.random.one_in(4) {
                    let written = 1 + self.random.below(bytes - 1);
                    self.to_write[sink].push_front(bytes - written);
                    bytes = written;
                }
                self.tell(Event::SinkWritten { sink: SinkId(sink as u32), bytes });
            }
            Choice::KeepLetters => {
                // The writer takes what has gathered.
                let count = 1 + self.random.below(self.to_keep.len());
                let bytes = self.to_keep.drain(..count).map(|(_, weight)| weight).sum();
                self.tell(Event::DeadLettersKept { bytes });
            }
            Choice::Sync => {
                let upto = self.log.sync(&mut self.random);
                self.tell(Event::Durable { upto });
            }
            Choice::Store => {
                let upto = self.log.store();
                self.tally.checkpoints += 1;
                self.tell(Event::Stored { upto });
            }
            Choice::Seat => {
                let at = self.random.below(self.vacant.len());
                let slot = self.vacant.swap_remove(at);
                let generation = Generation(self.next_generation);
                self.next_generation += 1;
                self.workers.insert(slot, Worker::new(generation));
                self.tell(Event::WorkerSeated { slot, generation });
            }
            Choice::ReportDeath => {
                let Some(event) = self.deaths.pop_front() else { return };
                self.tell(event);
            }
        }
    }

    /// What clients can do.
    fn clients(&mut self, choices: &mut Vec<Choice>) {
        let planned = &self.scenario.plan.sources;
        for (lane, sent) in self.sent.iter().enumerate() {
            let source = self.scenario.lanes[lane].source as usize;
            let generator = planned[source].framing.is_none();
            if generator || self.closed[lane] {
                continue;
            }
            let lane_is_done = self.stopped || *sent == self.to_send(lane);
            if lane_is_done || self.admits(lane, source) {
                choices.push(Choice::Client(lane));
            } else {
                self.tally.stalls += 1;
            }
        }
        for (source, ended) in self.source_ended.iter().enumerate() {
            let lanes = self.scenario.lanes.iter().zip(&self.closed).filter(|(lane, _)| lane.source as usize == source);
            let generator = planned[source].framing.is_none();
            if !ended && !generator && lanes.into_iter().all(|(_, closed)| *closed) {
                choices.push(Choice::EndSource(source));
            }
        }
    }

    /// A worker goes on with what it was sent.
    fn work(&mut self, slot: SlotId) {
        let Some(worker) = self.workers.get_mut(&slot) else { return };
        worker.out = self.scenario.out_at(self.steps);
        match worker.step(&self.scenario, &mut self.random) {
            Outcome::Lives => {}
            Outcome::Hangs => {
                self.tally.hangs += 1;
                worker.hangs = true;
            }
            Outcome::Died(cause) => {
                self.tally.poisonings += 1;
                let marker = worker.marker.clone();
                self.bury(slot, cause, marker);
            }
        }
    }

    /// Something is heard of a worker of the past.
    fn hear_stale(&mut self) {
        let Some((slot, generation, reply)) = self.stale.pop_front() else { return };
        // A connection's last words come before its end is reported, or not at all: these come too late.
        if self
            .deaths
            .iter()
            .any(|death| matches!(death, Event::WorkerLost { generation: dead, .. } if *dead == generation))
        {
            self.stale.push_back((slot, generation, reply));
            return;
        }
        self.tally.stale_replies += 1;
        self.tell(heard(slot, generation, reply));
    }
}
