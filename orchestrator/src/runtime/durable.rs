//! The state folder of a run: what an earlier run has left there, and the log that goes on behind it.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;

use super::{RunError, RunOptions, Runtime};
use crate::checkpoint::Checkpoint;
use crate::control::report::LogReport;
use crate::engine::{Action, Engine, EngineConfig, Event, StoredState};
use crate::ids::{SinkId, SourceId};
use crate::log::{self, Identity, Log, Opened, Report};
use crate::plan::Plan;
use crate::position::Position;
use crate::record::{Lsn, Record};
use crate::sink::SinkError;
use crate::state_folder::other_steps::{self, CarriedOver, OtherSteps};
use crate::state_folder::{Content, Unreadable, change};
use crate::worker::pools::Pools;

/// What becomes of a run that is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// It reads no more, finishes what was accepted, and ends windows.
    Drain,
    /// It reads no more and finishes what was accepted; the next run goes on with windows and generators.
    Suspend,
}

/// What an earlier run has left.
pub(super) struct Left {
    opened: Opened,
    pub(super) checkpoint: Checkpoint,
    pub(super) states: Vec<StoredState>,
    /// What tells the folder from all others.
    pub(super) folder_id: String,
    /// No run has used the folder before.
    is_new: bool,
    /// Other steps go on than those of the run before.
    carried: Option<Carried>,
    /// Of records after its last checkpoint.
    logged_bytes: usize,
    /// How long it took to read.
    recovery: Duration,
}

/// What changes in a folder with the steps that use it.
struct Carried {
    identity: Identity,
    dropped: Vec<StoredState>,
    new_sinks: BTreeSet<SinkId>,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder, or what is in it, cannot be used.
    #[error(transparent)]
    Log(#[from] log::LogError),
    /// Another version of the application has other steps, which cannot go on.
    #[error("{} was written by other steps of this application ({changes}), and {reason}", folder.display())]
    Changed {
        /// The folder.
        folder: PathBuf,
        /// What has changed.
        changes: String,
        /// Why they cannot go on.
        reason: OtherSteps,
    },
    /// A record or the checkpoint is not what this version writes.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// Opens the state folder, if the run has one, and reads what is in it.
pub(super) async fn open_state(plan: &Plan, options: &RunOptions) -> Result<Option<Left>, RunError> {
    let Some(folder) = options.state.clone() else { return Ok(None) };
    let identity = Identity { application: plan.topology.name.clone(), topology: plan.shape() };
    let drop = options.drop_state.clone();
    let opening = tokio::task::spawn_blocking(move || open_folder(&folder, identity, &drop));
    let left = opening.await.expect("reading the state folder does not panic")?;
    Ok(Some(left))
}

fn open_folder(folder: &Path, identity: Identity, drop: &[String]) -> Result<Left, StateError> {
    let began = Instant::now();
    let (opened, recovered) = log::open(folder, &identity)?;
    let (written, folder_id) = (recovered.topology.clone(), recovered.id.clone());
    if let Some(cut) = &recovered.cut {
        tracing::warn!("the log ended in what was never synced, which is dropped: {cut:?}");
    }
    let is_new = recovered.checkpoint.is_none() && recovered.records.is_empty();
    let logged_bytes = recovered.records.iter().map(|(_, bytes)| bytes.len()).sum();
    let Content { mut checkpoint, mut states, records, .. } = Content::read(folder, recovered)?;
    let mut carried = None;
    if checkpoint.topology != identity.topology {
        let CarriedOver { checkpoint: taken_over, dropped, new_sinks, changes } =
            other_steps::carry_over(checkpoint, &mut states, &identity.topology, drop)
                .map_err(|(reason, changes)| StateError::Changed { folder: folder.to_owned(), changes, reason })?;
        tracing::warn!(dropped = dropped.len(), "other steps go on: {changes}");
        checkpoint = taken_over;
        carried = Some(Carried { identity, dropped, new_sinks });
    } else if written != checkpoint.topology {
        // The run that changed it ended before it could say so.
        log::set_topology(folder, &identity)?;
    }
    if !is_new {
        tracing::info!(
            milliseconds = began.elapsed().as_secs_f64() * 1e3,
            records,
            states = states.len(),
            to_replay = checkpoint.journal.len(),
            "going on behind record {}",
            checkpoint.lsn
        );
    }
    let recovery = began.elapsed();
    Ok(Left { opened, checkpoint, states, folder_id, is_new, carried, logged_bytes, recovery })
}

/// The log of a run.
pub(super) struct RunLog {
    log: Log,
    /// Dead letters in records of this run.
    letters: u64,
    /// Why it cannot be written, while that is so.
    waits: Option<String>,
    /// The last record that was given to it.
    last: Lsn,
    /// The last record that is durable.
    durable: Lsn,
    /// Bytes of it after the last checkpoint.
    bytes: u64,
    /// A record whose way to the disk is timed, and when it was given.
    timed: Option<(Lsn, Instant)>,
    /// How long the last one that was timed took.
    commit: Option<Duration>,
    /// How long it took to read what an earlier run had left.
    recovery: Duration,
}

impl RunLog {
    fn append(&mut self, record: Record) {
        self.last = record.lsn;
        self.timed.get_or_insert_with(|| (record.lsn, Instant::now()));
        self.log.append(record.lsn, move |into| record.encode(into));
    }

    fn note_durable(&mut self, upto: Lsn, bytes: u64) {
        (self.durable, self.bytes) = (upto, bytes);
        if let Some((_, begun)) = self.timed.take_if(|(lsn, _)| *lsn <= upto) {
            self.commit = Some(begun.elapsed());
        }
    }

    /// Why it cannot be written, while that is so.
    pub(super) fn waits(&self) -> Option<&str> {
        self.waits.as_deref()
    }

    /// What people are shown of it.
    pub(super) fn report(&self, unsaved_bytes: usize) -> LogReport {
        LogReport {
            last_record: self.last.0,
            durable_record: self.durable.0,
            unsaved_bytes,
            bytes: self.bytes,
            commit_seconds: self.commit.map(|commit| commit.as_secs_f64()),
            recovery_seconds: self.recovery.as_secs_f64(),
        }
    }
}

/// The engine of a run, and what goes with it.
pub(super) struct Begun {
    pub(super) engine: Engine,
    pub(super) log: Option<RunLog>,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    /// What an earlier run had not delivered.
    pub(super) undelivered: Vec<Action>,
    /// The wall clock at the beginning, since the Unix epoch.
    pub(super) epoch: Duration,
}

impl Begun {
    /// Begins anew, or goes on with what an earlier run has left.
    pub(super) async fn new(plan: &Arc<Plan>, config: EngineConfig, left: Option<Left>) -> Result<Self, RunError> {
        let mut undelivered = Vec::new();
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let Some(Left { opened, checkpoint, states, is_new, carried, mut logged_bytes, recovery, .. }) = left else {
            let (engine, (_, reports)) = (Engine::new(plan.clone(), config), mpsc::unbounded_channel());
            return Ok(Self { engine, log: None, reports, undelivered, epoch });
        };
        // Arrival times never go back.
        let epoch = epoch.max(Duration::from_nanos(checkpoint.at.0.try_into().unwrap_or(0)));
        let (sender, mut reports) = mpsc::unbounded_channel();
        // The runtime hangs up only when it is going away.
        let folder = opened.folder().to_owned();
        let log = opened.start(move |report| drop(sender.send(report))).map_err(StateError::from)?;
        if let Some(Carried { identity, dropped, .. }) = carried {
            store_beginning(&log, checkpoint.clone(), dropped, &mut reports).await?;
            log::set_topology(&folder, &identity).map_err(StateError::from)?;
            logged_bytes = 0;
        } else if is_new && checkpoint.sinks.iter().any(|sink| sink.delivered > 0) {
            store_beginning(&log, checkpoint.clone(), Vec::new(), &mut reports).await?;
        }
        let (last, bytes) = (checkpoint.lsn, logged_bytes as u64);
        let (letters, waits, timed, commit) = (0, None, None, None);
        let log = RunLog { log, letters, waits, last, durable: last, bytes, timed, commit, recovery };
        let engine = Engine::recover(plan.clone(), config, (checkpoint, logged_bytes), states, &mut undelivered);
        Ok(Self { engine, log: Some(log), reports, undelivered, epoch })
    }
}

/// Stores where new sinks begin, and what other steps have dropped. Without it, the next run would cut off what the files of sinks
/// had before.
async fn store_beginning(
    log: &Log,
    checkpoint: Checkpoint,
    dropped: Vec<StoredState>,
    reports: &mut mpsc::UnboundedReceiver<Report>,
) -> Result<(), StateError> {
    let changes = dropped.into_iter().map(change).collect();
    log.checkpoint(checkpoint.lsn, move |into| checkpoint.encode(into), changes);
    loop {
        match reports.recv().await {
            Some(Report::Checkpointed { .. }) | None => return Ok(()),
            Some(Report::Full { reason }) => tracing::error!("{reason}; the run begins once there is room"),
            Some(Report::Failed(error)) => return Err(error.into()),
            Some(Report::Durable { .. } | Report::Room) => {}
        }
    }
}

impl Left {
    /// Bytes of a sink's stream that are delivered. Those of a new sink are those that its file has, as `length` says.
    pub(super) fn delivered(
        &mut self,
        sink: SinkId,
        length: impl FnOnce() -> Result<u64, SinkError>,
    ) -> Result<u64, SinkError> {
        let mark = &mut self.checkpoint.sinks[sink.index()];
        if self.is_new || self.carried.as_ref().is_some_and(|carried| carried.new_sinks.contains(&sink)) {
            mark.delivered = length()?;
        }
        Ok(mark.delivered)
    }

    /// Bytes of a sink's stream that are in the log.
    pub(super) fn made(&self, sink: SinkId) -> u64 {
        let mark = &self.checkpoint.sinks[sink.index()];
        mark.delivered + mark.chunks.iter().map(|chunk| chunk.bytes.len() as u64).sum::<u64>()
    }

    /// Where a source goes on.
    pub(super) fn position(&self, source: SourceId) -> &Position {
        &self.checkpoint.sources[source.index()].position
    }
}

impl Runtime {
    /// Appends a record to the log, unless a letter in it ends the run: then the next run has the message again.
    pub(super) fn append(&mut self, record: Record) -> Result<(), RunError> {
        let letters = self.log.as_ref().map_or(0, |log| log.letters) + record.letters.len() as u64;
        self.check_letters(letters, &record.letters)?;
        if let Some(log) = &mut self.log {
            log.letters = letters;
            log.append(record);
        }
        Ok(())
    }

    /// Has a checkpoint stored.
    pub(super) fn store(&self, checkpoint: Checkpoint, states: Vec<StoredState>) {
        if let Some(log) = &self.log {
            let changes = states.into_iter().map(change).collect();
            log.log.checkpoint(checkpoint.lsn, move |into| checkpoint.encode(into), changes);
        }
    }

    /// Takes in what became of records.
    pub(super) fn reported(
        &mut self,
        pools: &mut Pools,
        reports: impl Iterator<Item = Report>,
    ) -> Result<(), RunError> {
        for report in reports {
            match report {
                Report::Durable { upto, bytes } => {
                    if let Some(log) = &mut self.log {
                        log.note_durable(upto, bytes);
                    }
                    self.feed(pools, Event::Durable { upto })?;
                }
                Report::Checkpointed { upto } => self.feed(pools, Event::Stored { upto })?,
                Report::Full { reason } => {
                    tracing::error!("{reason}; nothing more is begun until there is room, which is tried every second");
                    self.set_log_waits(Some(reason));
                }
                Report::Room => {
                    tracing::warn!("the log is written again");
                    self.set_log_waits(None);
                }
                Report::Failed(error) => return Err(StateError::from(error).into()),
            }
        }
        Ok(())
    }

    fn set_log_waits(&mut self, reason: Option<String>) {
        if let Some(log) = &mut self.log {
            log.waits = reason;
        }
    }

    /// Hands out what an earlier run had not delivered. Dead letters that the file has are not written again.
    pub(super) fn go_on(&mut self, pools: &mut Pools, undelivered: Vec<Action>) -> Result<(), RunError> {
        let is_letter = |action: &Action| matches!(action, Action::DeadLetter { .. });
        let mut there = if undelivered.iter().any(is_letter) { self.dead_letters.ids() } else { HashSet::new() };
        for action in undelivered {
            match action {
                Action::DeadLetter { id, message } if there.remove(&id) => {
                    self.feed(pools, Event::DeadLettersKept { bytes: message.weight() })?;
                }
                action => self.carry_out(pools, action, &mut Vec::new())?,
            }
        }
        Ok(())
    }

    /// Waits until all records are on the disk.
    pub(super) async fn close_log(&mut self) {
        if let Some(log) = self.log.take() {
            // A panic of it has been reported.
            let _ = tokio::task::spawn_blocking(move || log.log.close()).await;
        }
    }
}
