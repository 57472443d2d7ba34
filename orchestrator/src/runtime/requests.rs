//! What clients of the control socket ask of a run.

use std::time::Instant;

use tokio::sync::oneshot;

use super::{RunError, Runtime};
use crate::control::report::{
    Accepted, InterpreterReport, RunState, SeatReport, SinkReport, SourceReport, StageReport, StatusReport,
    WorkerReport, WorkerStack, WorkerState,
};
use crate::control::{Refusal, RefusalKind, Reply, Request};
use crate::engine::{Event, SlotStatus, SourceId, Status};
use crate::plan::{Input, Stage};
use crate::worker::pool::{MemberStatus, Pool, Progress};
use crate::worker::process::resident_bytes;

impl Runtime {
    /// Carries out a request, and answers it.
    pub(super) fn request(&mut self, pool: &mut Pool, request: Request) -> Result<(), RunError> {
        match request {
            Request::Status(reply) => drop(reply.send(Ok(self.report(pool)))),
            Request::Drain(reply) => {
                tracing::info!("draining, as asked through the control socket");
                let _ = reply.send(Ok(Accepted {}));
                self.drain(pool)?;
            }
            Request::Stop(reply) => {
                let _ = reply.send(Ok(Accepted {}));
                return Err(RunError::Stopped { undelivered: self.engine.undelivered_bytes() });
            }
            Request::Stacks { pid, reply } => stacks(pool, pid, reply),
            Request::Scale { workers, reply } => return self.begin_scaling(pool, workers, reply),
            Request::Swap { swap, reply } => return self.begin_swapping(pool, swap, reply),
        }
        Ok(())
    }

    pub(super) fn drain(&mut self, pool: &mut Pool) -> Result<(), RunError> {
        self.draining = true;
        self.feed(pool, Event::Drain)
    }

    fn report(&self, pool: &Pool) -> StatusReport {
        let status = self.engine.status();
        let (stage_rates, sink_rates) = self.observed.rates(&status, Instant::now());
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
            workers: worker_reports(pool, &status),
            ledger_keys: status.keys,
            dead_letters: self.dead_letters.count(),
            worker_deaths: status.deaths,
        }
    }

    fn source_reports(&self, status: &Status, rates: &[f64]) -> Vec<SourceReport> {
        let sources = (0..).map(SourceId).zip(&self.plan.sources).zip(&self.source_places);
        let report = |((id, source), place): ((SourceId, &crate::plan::SourcePlan), &String)| SourceReport {
            name: self.plan.name(source.node).to_owned(),
            place: place.clone(),
            connections: self.observed.connections(id),
            messages: status.stages[source.stage.index()].messages,
            rate: rates[source.stage.index()],
        };
        sources.map(report).collect()
    }

    fn stage_report(&self, stage: &Stage, status: &Status, rates: &[f64]) -> StageReport {
        let counts = &status.stages[stage.id.index()];
        let cuts = matches!(stage.input, Input::Cut(_)).then(|| "cut frames".to_owned());
        let names = std::iter::once(&stage.root).chain(&stage.steps).map(|node| self.plan.name(*node).to_owned());
        StageReport {
            steps: names.chain(cuts).collect(),
            messages: counts.messages,
            rate: rates[stage.id.index()],
            queued: counts.queued,
            service_seconds: counts.service_time.map(|time| time.as_secs_f64()),
            latency: counts.latency.into(),
        }
    }

    fn sink_reports(&self, status: &Status, rates: &[f64]) -> Vec<SinkReport> {
        let sinks = self.plan.sinks.iter().enumerate();
        let report = |(index, sink): (usize, &crate::plan::SinkPlan)| SinkReport {
            name: self.plan.name(sink.node).to_owned(),
            place: sink.place(),
            messages: status.sink_messages[index],
            rate: rates[index],
            pending_bytes: status.sink_pending_bytes[index],
        };
        sinks.map(report).collect()
    }
}

fn worker_reports(pool: &Pool, status: &Status) -> Vec<WorkerReport> {
    let mut members = pool.members();
    members.sort_by_key(|member| (member.slot.is_none(), member.slot, member.generation));
    members.into_iter().map(|member| worker_report(member, &status.slots)).collect()
}

fn worker_report(member: MemberStatus, slots: &[SlotStatus]) -> WorkerReport {
    let seat = |slot: &SlotStatus| SeatReport {
        slot: slot.slot.0,
        in_flight: slot.in_flight,
        journal_bytes: slot.journal_bytes,
        restarts: slot.restarts,
        last_death: slot.last_cause.clone(),
    };
    WorkerReport {
        pid: member.pid,
        generation: member.generation.0,
        state: match member.progress {
            Progress::Starting => WorkerState::Starting,
            Progress::Standby => WorkerState::Standby,
            Progress::Seated => WorkerState::Seated,
            Progress::Leaving => WorkerState::Leaving,
        },
        interpreter: member.hello.map(InterpreterReport::from),
        resident_bytes: resident_bytes(member.pid),
        seat: member.slot.and_then(|slot| slots.get(slot.index())).map(seat),
    }
}

/// Asks workers for their stacks and answers, from a task of its own, once all have had their time.
fn stacks(pool: &Pool, pid: Option<i32>, reply: Reply<Vec<WorkerStack>>) {
    let mut asked = Vec::new();
    for member in pool.members().into_iter().filter(|member| pid.is_none_or(|pid| member.pid == pid)) {
        let (sender, stack) = oneshot::channel();
        pool.stack(member.generation, sender);
        asked.push((member, stack));
    }
    if let (Some(pid), true) = (pid, asked.is_empty()) {
        let refusal = Refusal::new(RefusalKind::NotFound, format!("no worker has process id {pid}"));
        return drop(reply.send(Err(refusal.hint("`wallaroo-orch status` lists the workers"))));
    }
    tokio::spawn(async move {
        let mut stacks = Vec::new();
        for (member, stack) in asked {
            // A worker that ends meanwhile says no more.
            let stack = stack.await.unwrap_or_default();
            stacks.push(WorkerStack { pid: member.pid, slot: member.slot.map(|slot| slot.0), stack });
        }
        let _ = reply.send(Ok(stacks));
    });
}
