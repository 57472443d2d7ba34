//! Random schedules: records, checkpoints, full disks, failing syncs, and a death at any call; then recovery, again and again.
//!
//! A model knows what was given and what was reported durable. What is recovered must be a prefix of the former that has all of
//! the latter.

use std::collections::BTreeMap;
use std::path::Path;

use super::Random;
use super::simulated_disk::{Faults, SimulatedDisk};
use crate::log::recovery::read_back;
use crate::log::writer::{Checkpoint, Progress, Writer};
use crate::log::{LogError, Lsn};

/// Small, so that runs have many.
const SEGMENT_BYTES: u64 = 2048;
const FOLDER: &str = "/state/log";

/// One folder, and what a correct log would know of it.
struct World {
    random: Random,
    disk: SimulatedDisk,
    /// The record of each number, after the last death.
    records: BTreeMap<Lsn, Vec<u8>>,
    durable: Lsn,
    checkpoint: Lsn,
    syncs_are_skipped: bool,
    cuts: u64,
    fulls: u64,
    checkpoints: u64,
}

/// How a life of the process ended.
#[derive(Debug)]
enum End {
    Closed,
    Died(LogError),
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            disk: SimulatedDisk::new(seed),
            records: BTreeMap::new(),
            durable: Lsn(0),
            checkpoint: Lsn(0),
            syncs_are_skipped: false,
            cuts: 0,
            fulls: 0,
            checkpoints: 0,
        }
    }

    fn set_faults(&mut self, death: u64) {
        let fuse = (!self.random.once_in(8)).then(|| self.random.below(death));
        let short_writes = self.random.once_in(2);
        let syncs_are_skipped = self.syncs_are_skipped;
        self.disk.set(Faults { fuse, short_writes, syncs_are_skipped, ..Faults::default() });
    }

    /// Opens the log and compares it with the model. The process may die while it recovers.
    fn recover(&mut self) -> Result<Writer, LogError> {
        let mut disk = self.disk.clone();
        let back = read_back(&mut disk, Path::new(FOLDER), self.checkpoint)?;
        let last = back.records.last().map_or(self.checkpoint, |(lsn, _)| *lsn);
        assert!(last >= self.durable, "{last} was recovered, {} was durable", self.durable);
        self.records.retain(|lsn, _| *lsn <= last);
        let expected: Vec<_> = self.records.range(Lsn(self.checkpoint.0 + 1)..).collect();
        let found: Vec<_> = back.records.iter().map(|(lsn, bytes)| (*lsn, bytes.to_vec())).collect();
        assert_eq!(found.iter().map(|(lsn, bytes)| (lsn, bytes)).collect::<Vec<_>>(), expected);
        self.durable = last;
        self.cuts += u64::from(back.cut.is_some());
        Ok(Writer::new(Box::new(disk), FOLDER.into(), SEGMENT_BYTES, back, self.checkpoint, last))
    }

    /// One life: recovers, then does what the seed says until it dies or closes.
    fn live(&mut self) -> Result<(), LogError> {
        let mut writer = self.recover()?;
        let mut given = self.durable;
        for _ in 0..self.random.below(60) {
            match self.random.below(10) {
                0..5 => given = self.give(&mut writer, given)?,
                5..8 => self.commit(&mut writer)?,
                8 => self.give_checkpoint(&mut writer, given)?,
                _ => self.change_faults(),
            }
            while let Some(checkpoint) = writer.due() {
                self.store(&mut writer, checkpoint.lsn)?;
            }
        }
        Ok(())
    }

    fn give(&mut self, writer: &mut Writer, given: Lsn) -> Result<Lsn, LogError> {
        let lsn = Lsn(given.0 + 1);
        let most = if self.random.once_in(20) { 3 * SEGMENT_BYTES } else { 400 };
        let payload: Vec<u8> = (0..self.random.below(most)).map(|_| self.random.next() as u8).collect();
        self.records.insert(lsn, payload.clone());
        writer.append(lsn, Box::new(move |buffer| buffer.extend(payload)))?;
        Ok(lsn)
    }

    fn commit(&mut self, writer: &mut Writer) -> Result<(), LogError> {
        loop {
            match writer.commit() {
                Ok(Some(Progress { upto, bytes })) => {
                    assert!(upto > self.durable);
                    self.durable = upto;
                    let since: usize =
                        self.records.range(Lsn(self.checkpoint.0 + 1)..=upto).map(|(_, r)| r.len() + 24).sum();
                    assert_eq!(bytes, since as u64, "bytes since checkpoint {}", self.checkpoint);
                }
                Ok(None) => return Ok(()),
                Err(LogError::Full { .. }) if self.disk.faults().full => {
                    self.fulls += 1;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn give_checkpoint(&mut self, writer: &mut Writer, given: Lsn) -> Result<(), LogError> {
        if given == self.checkpoint {
            return Ok(());
        }
        writer.checkpoint(Checkpoint { lsn: given, encode: Box::new(|_| ()), changes: Vec::new() })
    }

    /// The store's transaction is there or not: it has a life of its own.
    fn store(&mut self, writer: &mut Writer, lsn: Lsn) -> Result<(), LogError> {
        assert!(lsn <= self.durable, "a checkpoint of {lsn} before it is durable");
        self.checkpoint = lsn;
        self.checkpoints += 1;
        writer.stored(lsn)
    }

    fn change_faults(&mut self) {
        let mut faults = self.disk.faults();
        faults.full = self.random.once_in(3);
        faults.sync_fails = self.random.once_in(10);
        self.disk.set(faults);
    }

    fn end(&mut self, end: &End) {
        match end {
            End::Died(LogError::Damaged { .. } | LogError::OutOfOrder { .. } | LogError::Newer { .. }) => {
                panic!("{end:?}")
            }
            End::Died(_) | End::Closed if self.random.once_in(3) => self.disk.kill(),
            End::Died(_) | End::Closed => self.disk.power_cut(&mut self.random),
        }
    }
}

/// Runs a seed to its end, and returns its world for statistics.
fn run(seed: u64, syncs_are_skipped: bool) -> World {
    let mut world = World::new(seed);
    world.syncs_are_skipped = syncs_are_skipped;
    for _ in 0..12 {
        let death = 1 + world.random.below(120);
        world.set_faults(death);
        let end = world.live().map_or_else(End::Died, |()| End::Closed);
        world.end(&end);
    }
    world.disk.kill();
    if let Err(error) = world.recover() {
        panic!("{error:?}");
    }
    world
}

#[test]
fn every_death_leaves_all_that_was_durable() {
    let seeds = std::env::var("LOG_SEEDS").map_or(600, |seeds| seeds.parse().unwrap());
    let (mut cuts, mut fulls, mut checkpoints, mut durable) = (0, 0, 0, 0);
    for seed in 0..seeds {
        let world = std::panic::catch_unwind(|| run(seed, false)).unwrap_or_else(|_| panic!("seed {seed}"));
        cuts += world.cuts;
        fulls += world.fulls;
        checkpoints += world.checkpoints;
        durable += world.durable.0;
    }
    // The schedules reach what they are for.
    assert!(cuts > seeds && fulls > seeds && checkpoints > seeds && durable > 20 * seeds);
}

#[test]
fn a_log_that_does_not_sync_is_found_out() {
    let caught = (0..40).filter(|seed| std::panic::catch_unwind(|| run(*seed, true)).is_err()).count();
    assert!(caught > 20, "{caught} of 40 seeds");
}
