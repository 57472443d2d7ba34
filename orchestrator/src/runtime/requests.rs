//! Carries out the requests that come through the control socket.

use std::time::Instant;

use bytesize::ByteSize;
use tokio::sync::oneshot;

use super::durable::RunLog;
use super::{RunError, Runtime};
use crate::control::report::{
    Accepted, InterpreterReport, RunState, SeatReport, SinkReport, SourceReport, StageReport, StatusReport,
    WorkerReport, WorkerStack, WorkerState,
};
use crate::control::{Refusal, RefusalKind, Reply, Request};
use crate::engine::{Event, SlotStatus, Status};
use crate::ids::{SinkId, SourceId};
use crate::plan::{Input, Stage};
use crate::worker::pool::{MemberStatus, Progress};
use crate::worker::pools::Pools;
use crate::worker::process::resident_bytes;

impl Runtime {
    /// Carries out a request and answers it.
    pub(super) fn request(&mut self, pools: &mut Pools, request: Request) -> Result<(), RunError> {
        match request {
            Request::Status(reply) => drop(reply.send(Ok(self.report(pools)))),
            Request::Drain(reply) => {
                tracing::info!("draining, as asked through the control socket");
                let _ = reply.send(Ok(Accepted {}));
                self.drain(pools)?;
            }
            Request::Stop(reply) => {
                let _ = reply.send(Ok(Accepted {}));
                return Err(RunError::Stopped { undelivered: self.engine.undelivered_bytes() });
            }
            Request::Stacks { pid, reply } => stacks(pools, pid, reply),
            Request::Scale { scale, reply } => return self.begin_scaling(pools, &scale, reply),
            Request::Swap { swap, reply } => return self.begin_swapping(pools, swap, reply),
        }
        Ok(())
    }

    pub(super) fn drain(&mut self, pools: &mut Pools) -> Result<(), RunError> {
        self.draining = true;
        self.feed(pools, Event::Drain)
    }

    /// Stops so that the next run can go on.
    pub(super) fn suspend(&mut self, pools: &mut Pools) -> Result<(), RunError> {
        (self.draining, self.suspended) = (true, true);
        self.stop_suspended.cancel();
        self.feed(pools, Event::Suspend)
    }

    fn report(&self, pools: &Pools) -> StatusReport {
        let status = self.engine.status();
        let (stage_rates, sink_rates) = self.observed.rates(&self.engine.counts(), Instant::now());
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            application: self.plan.topology.name.clone(),
            state: if self.draining { RunState::Draining } else { RunState::Running },
            uptime_seconds: self.begun.elapsed().as_secs_f64(),
            sources: self.source_reports(&status, &stage_rates),
            stages: self.plan.stages.iter().map(|stage| self.stage_report(stage, &status, &stage_rates)).collect(),
            sinks: self.sink_reports(&status, &sink_rates),
            latency: status.latency.into(),
            workers: worker_reports(pools, &status),
            ledger_keys: status.keys,
            dead_letters: self.dead_letters.count(),
            worker_deaths: status.deaths,
            log: self.log.as_ref().map(|log| log.report(self.engine.unsaved_bytes())),
            metrics: self.measured.report(|slot| self.plan.pool_name(slot.pool).map(str::to_owned)),
            problems: self.problems(&status),
        }
    }

    /// What holds the run back, or soon will, for people.
    fn problems(&self, status: &Status) -> Vec<String> {
        let letters = self.letters_wait.as_ref();
        let letters = letters.map(|reason| format!("dead letters wait, they cannot be written to {reason}"));
        let log = self.log.as_ref().and_then(RunLog::waits).map(|reason| format!("nothing is begun: {reason}"));
        let journals = status.slots.iter().filter_map(journal_problem);
        let down = self.health.problems(&self.plan);
        letters.into_iter().chain(log).chain(down).chain(self.engine.problems()).chain(journals).collect()
    }

    fn source_reports(&self, status: &Status, rates: &[f64]) -> Vec<SourceReport> {
        let sources = (0..).map(SourceId).zip(&self.plan.sources).zip(&self.source_addresses);
        let report = |((id, source), place): ((SourceId, &crate::plan::SourcePlan), &String)| SourceReport {
            name: self.plan.name(source.node).to_owned(),
            place: place.clone(),
            health: self.health.of_source(id),
            connections: self.observed.connections(id),
            messages: status.stages[source.stage.index()].messages,
            rate: rates[source.stage.index()],
        };
        sources.map(report).collect()
    }

    fn stage_report(&self, stage: &Stage, status: &Status, rates: &[f64]) -> StageReport {
        let counts = &status.stages[stage.id.index()];
        let cuts = matches!(stage.input, Input::Cut(_)).then(|| "cut frames".to_owned());
        let root = self.plan.root_name(stage);
        let names = stage.steps.iter().map(|node| self.plan.name(*node).to_owned());
        StageReport {
            pool: self.plan.pool_name(stage.pool).map(str::to_owned),
            steps: std::iter::once(root).chain(names).chain(cuts).collect(),
            messages: counts.messages,
            rate: rates[stage.id.index()],
            queued: counts.queued,
            late: counts.late,
            service_seconds: counts.service_time.map(|time| time.as_secs_f64()),
            latency: counts.latency.into(),
        }
    }

    fn sink_reports(&self, status: &Status, rates: &[f64]) -> Vec<SinkReport> {
        let sinks = self.plan.sinks.iter().enumerate();
        let report = |(index, sink): (usize, &crate::plan::SinkPlan)| SinkReport {
            name: self.plan.name(sink.node).to_owned(),
            place: sink.address(),
            health: self.health.of_sink(SinkId(index as u32)),
            messages: status.sink_messages[index],
            rate: rates[index],
            pending_bytes: status.sink_pending_bytes[index],
        };
        sinks.map(report).collect()
    }
}

/// What is the matter with the journal of a slot, long before the death of its worker would show it.
fn journal_problem(slot: &SlotStatus) -> Option<String> {
    let number = slot.slot.number;
    if let Some(reason) = &slot.unrecoverable {
        return Some(format!(
            "the state of slot {number} can no longer be rebuilt: if its worker dies, the run ends ({reason})"
        ));
    }
    let (bytes, limit) = (slot.journal_bytes, slot.journal_limit);
    let reason = slot.unsaved.as_ref().filter(|_| bytes > limit / 4 * 3)?;
    Some(format!(
        "the journal of slot {number} has {} of {}, at which it is given up: after that the death of its worker ends the run ({reason})",
        ByteSize(bytes as u64),
        ByteSize(limit as u64),
    ))
}

fn worker_reports(pools: &Pools, status: &Status) -> Vec<WorkerReport> {
    let mut members = pools.members();
    members.sort_by_key(|member| (member.pool, member.slot.is_none(), member.slot, member.generation));
    let report = |member: MemberStatus| {
        let pool = pools[member.pool].name().map(str::to_owned);
        worker_report(member, pool, &status.slots)
    };
    members.into_iter().map(report).collect()
}

fn worker_report(member: MemberStatus, pool: Option<String>, slots: &[SlotStatus]) -> WorkerReport {
    let seat = |slot: &SlotStatus| SeatReport {
        slot: slot.slot.number,
        in_flight: slot.in_flight,
        journal_bytes: slot.journal_bytes,
        journal_limit_bytes: slot.journal_limit,
        unsaved_state: slot.unsaved.as_ref().or(slot.unrecoverable.as_ref()).cloned(),
        rebuildable: slot.unrecoverable.is_none(),
        restarts: slot.restarts,
        last_death: slot.last_cause.clone(),
    };
    WorkerReport {
        pid: member.pid,
        pool,
        generation: member.generation.0,
        state: match member.progress {
            Progress::Starting => WorkerState::Starting,
            Progress::Standby => WorkerState::Standby,
            Progress::Seated => WorkerState::Seated,
            Progress::Leaving => WorkerState::Leaving,
        },
        interpreter: member.hello.map(InterpreterReport::from),
        resident_bytes: resident_bytes(member.pid),
        seat: member.slot.and_then(|seated| slots.iter().find(|slot| slot.slot == seated)).map(seat),
    }
}

/// Asks workers for their stacks. A separate task sends the answer once every worker has answered or timed out.
fn stacks(pools: &Pools, pid: Option<i32>, reply: Reply<Vec<WorkerStack>>) {
    let mut asked = Vec::new();
    for member in pools.members().into_iter().filter(|member| pid.is_none_or(|pid| member.pid == pid)) {
        let (sender, stack) = oneshot::channel();
        pools.stack(member.generation, sender);
        let pool = pools[member.pool].name().map(str::to_owned);
        asked.push((member, pool, stack));
    }
    if let (Some(pid), true) = (pid, asked.is_empty()) {
        let refusal = Refusal::new(RefusalKind::NotFound, format!("no worker has process id {pid}"));
        return drop(reply.send(Err(refusal.hint("`wallaroo-orch status` lists the workers"))));
    }
    tokio::spawn(async move {
        let mut stacks = Vec::new();
        for (member, pool, stack) in asked {
            // A worker that ends meanwhile sends no stack.
            let stack = stack.await.unwrap_or_default();
            stacks.push(WorkerStack { pid: member.pid, pool, slot: member.slot.map(|slot| slot.number), stack });
        }
        let _ = reply.send(Ok(stacks));
    });
}
