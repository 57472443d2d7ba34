//! Changes the workers while the stream goes on: their number, their interpreter or their code.
//!
//! First, new workers are started beside the old ones; nothing depends on them yet. Workers of another edition must show that they
//! can load the state that the old ones saved. Then the engine moves partitions, or replaces the workers in their slots one after
//! another. A failure before the last step is rolled back, and the client is told the reason.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{RunError, Runtime};
use crate::causes::with_causes;
use crate::control::report::{ChangeReport, InterpreterReport, Scale, Swap};
use crate::control::{Refusal, RefusalKind, Reply};
use crate::death::Death;
use crate::engine::Event;
use crate::ids::PoolId;
use crate::ids::{Generation, SlotId};
use crate::limit::Limit;
use crate::worker::code_folder::CodeFolder;
use crate::worker::pool::{Edition, Pool, PoolError, PoolNews};
use crate::worker::pools::Pools;
use crate::worker::process::Interpreter;

/// How long new workers may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of snapshots of each table that a new worker must load before it takes a slot.
const SAMPLE: usize = 8;

/// A change that is in progress.
#[derive(Debug)]
pub(super) struct Change {
    /// The pool whose workers change.
    pool: PoolId,
    step: Step,
    begun: Instant,
    /// How long a new worker may take to be ready.
    start_timeout: Duration,
    /// When the next new worker must be ready.
    deadline: Instant,
    moved: usize,
    longest_pause: Duration,
    /// Why the change is given up, if it is.
    problem: Option<Refusal>,
    reply: Reply<ChangeReport>,
}

/// The steps of a change.
#[derive(Debug)]
enum Step {
    /// Workers for new slots are starting. `slots` is the number of slots after the change.
    Recruiting { slots: u32, recruits: usize },
    /// The engine moves partitions.
    Moving { done: bool },
    /// A worker of another edition is starting.
    Enlisting(Edition),
    /// That worker loads snapshots. `answers` is the number still to come.
    Trying { edition: Edition, generation: Generation, answers: usize },
    /// The workers are replaced in their slots, one after another.
    Replacing { to: Edition, current: Option<SlotId>, left: VecDeque<SlotId>, done: Vec<SlotId> },
}

impl Change {
    fn new(pool: PoolId, step: Step, start_timeout: Duration, reply: Reply<ChangeReport>) -> Self {
        let begun = Instant::now();
        Self {
            pool,
            step,
            begun,
            start_timeout,
            deadline: begun + start_timeout,
            moved: 0,
            longest_pause: Duration::ZERO,
            problem: None,
            reply,
        }
    }

    fn fail(&mut self, problem: Refusal) {
        self.problem.get_or_insert(problem);
    }
}

impl Runtime {
    pub(super) fn begin_scaling(
        &mut self,
        pools: &mut Pools,
        scale: &Scale,
        reply: Reply<ChangeReport>,
    ) -> Result<(), RunError> {
        let Some((reply, id)) = self.admit(pools, scale.pool.as_deref(), reply) else { return Ok(()) };
        let (slots, workers) = (self.engine.slots(id), scale.workers);
        tracing::info!(pool = scale.pool.as_deref(), "scaling from {slots} workers to {workers}");
        let recruits = workers.saturating_sub(slots);
        pools[id].recruit(recruits);
        let step = Step::Recruiting { slots: workers, recruits: recruits as usize };
        self.change = Some(Change::new(id, step, START_TIMEOUT, reply));
        pools.fill(Instant::now())?;
        self.continue_change(pools)
    }

    pub(super) fn begin_swapping(
        &mut self,
        pools: &mut Pools,
        swap: Swap,
        reply: Reply<ChangeReport>,
    ) -> Result<(), RunError> {
        let Some((reply, id)) = self.admit(pools, swap.pool.as_deref(), reply) else { return Ok(()) };
        let start_timeout = Duration::try_from_secs_f64(swap.start_timeout_seconds).unwrap_or(START_TIMEOUT);
        let old = pools[id].interpreter();
        let python = swap.python.unwrap_or_else(|| old.python.clone());
        tracing::info!(pool = swap.pool, "replacing the workers by new ones that run {}", python.display());
        let interpreter = Interpreter { python, code: CodeFolder::create(), ..old.clone() };
        let edition = pools[id].begin_edition(interpreter);
        self.change = Some(Change::new(id, Step::Enlisting(edition), start_timeout, reply));
        // The snapshots are ready when the first new worker is, so that it can try to load them.
        self.feed(pools, Event::Save)?;
        pools.fill(Instant::now())?;
        self.continue_change(pools)
    }

    /// Finds the pool to change. If no change is possible now, tells the client why.
    fn admit(
        &self,
        pools: &Pools,
        name: Option<&str>,
        reply: Reply<ChangeReport>,
    ) -> Option<(Reply<ChangeReport>, PoolId)> {
        let refusal = if self.draining {
            Refusal::ending()
        } else if self.change.is_some() {
            Refusal::new(RefusalKind::Busy, "another change of the workers is in progress")
                .hint("try again when it is complete; `wallaroo-orch status` shows the workers")
        } else if let Some(pool) = pools.named(name) {
            return Some((reply, pool));
        } else {
            let names: Vec<&str> = pools.names().collect();
            let known = if names.is_empty() {
                "no step names a pool".to_owned()
            } else {
                format!("steps name {}", names.join(", "))
            };
            Refusal::new(RefusalKind::NotFound, format!("there is no pool named {}", name.unwrap_or_default()))
                .hint(format!("{known}; a request that names no pool is about the main pool"))
        };
        let _ = reply.send(Err(refusal));
        None
    }

    /// Advances the change as far as possible now.
    pub(super) fn continue_change(&mut self, pools: &mut Pools) -> Result<(), RunError> {
        while let Some(change) = self.change.take() {
            match self.advance(pools, change)? {
                (Some(change), true) => self.change = Some(change),
                (change, _) => {
                    self.change = change;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes one step, if possible. Returns the change, unless it is complete, and whether another step may be possible.
    fn advance(&mut self, pools: &mut Pools, mut change: Change) -> Result<(Option<Change>, bool), RunError> {
        let (id, late) = (change.pool, Instant::now() > change.deadline);
        if let Some(error) = pools[id].take_unrecruited() {
            change.fail(refusal(&error));
        }
        match &mut change.step {
            Step::Recruiting { slots, recruits } => {
                let (slots, ready) = (*slots, pools[id].standbys(pools[id].edition()).len() >= *recruits);
                if change.problem.is_none() && late && !ready {
                    change.fail(not_ready_in_time(change.start_timeout));
                }
                if change.problem.is_some() {
                    pools[id].recruit(0);
                    return Ok((finish(change, &pools[id], &self.engine), false));
                }
                if !ready {
                    return Ok((Some(change), false));
                }
                change.step = Step::Moving { done: false };
                // The engine may answer during this call.
                self.change = Some(change);
                self.feed(pools, Event::Scale { pool: id, slots })?;
                pools[id].recruit(0);
                Ok((self.change.take(), true))
            }
            Step::Moving { done: false } => Ok((Some(change), false)),
            Step::Moving { done: true } => Ok((finish(change, &pools[id], &self.engine), false)),
            Step::Enlisting(edition) => {
                let edition = *edition;
                let recruit = pools[id].standbys(edition).first().copied();
                if change.problem.is_none() && late && recruit.is_none() {
                    pools[id].show_stuck(edition);
                    change.fail(not_ready_in_time(change.start_timeout));
                }
                if change.problem.is_some() {
                    pools[id].abandon_edition();
                    return Ok((finish(change, &pools[id], &self.engine), false));
                }
                if let Some(generation) = recruit {
                    // Only workers of the main pool have state.
                    let sample = if id == PoolId::MAIN { self.engine.sample(SAMPLE) } else { Vec::new() };
                    change.step = Step::Trying { edition, generation, answers: sample.len() };
                    pools[id].try_restore(generation, sample);
                    return Ok((Some(change), true));
                }
                Ok((Some(change), false))
            }
            Step::Trying { edition, generation, answers } => {
                let (edition, done) = (*edition, *answers == 0);
                let lives = pools[id].standbys(edition).contains(generation);
                if change.problem.is_none() && late && !done {
                    change.fail(not_ready_in_time(change.start_timeout));
                }
                if change.problem.is_some() {
                    pools[id].abandon_edition();
                    return Ok((finish(change, &pools[id], &self.engine), false));
                }
                if done {
                    let left = (0..self.engine.slots(id)).map(|number| SlotId { pool: id, number }).collect();
                    change.step = Step::Replacing { to: edition, current: None, left, done: Vec::new() };
                } else if !lives {
                    // The worker was killed from outside; another one is starting.
                    change.step = Step::Enlisting(edition);
                }
                Ok((Some(change), done))
            }
            Step::Replacing { .. } => self.replace_next(pools, change),
        }
    }

    /// Replaces the next worker. At the end commits to the new edition or, after a failure, to the old one.
    fn replace_next(&mut self, pools: &mut Pools, mut change: Change) -> Result<(Option<Change>, bool), RunError> {
        let id = change.pool;
        let Step::Replacing { to, current, left, done } = &mut change.step else { return Ok((Some(change), false)) };
        if change.problem.is_some() && *to != pools[id].edition() {
            // Slots that have a new worker get one of the old edition back.
            tracing::warn!("replacing the workers failed; rolling back those that were replaced");
            let mut back: VecDeque<SlotId> = done.drain(..).collect();
            back.extend(current.take());
            (*to, *left) = (pools[id].edition(), back);
            // Without standbys, a worker must be started for each of these slots.
            pools[id].recruit(1);
        }
        if current.is_some() {
            return Ok((Some(change), false));
        }
        let Some(slot) = left.pop_front() else {
            if *to == pools[id].edition() {
                pools[id].recruit(0);
                pools[id].abandon_edition();
            } else {
                pools[id].commit_edition();
            }
            return Ok((finish(change, &pools[id], &self.engine), false));
        };
        // A worker must be ready to take the slot.
        if pools[id].standbys(*to).is_empty() && pools[id].seat_edition(slot) != Some(*to) {
            left.push_front(slot);
            let late = *to != pools[id].edition() && Instant::now() > change.deadline;
            if late {
                change.fail(not_ready_in_time(change.start_timeout));
            }
            return Ok((Some(change), late));
        }
        change.deadline = Instant::now() + change.start_timeout;
        pools[id].assign(slot, *to);
        *current = Some(slot);
        self.change = Some(change);
        self.feed(pools, Event::Replace { slot })?;
        Ok((self.change.take(), true))
    }

    /// The engine has moved the partitions.
    pub(super) fn scaled(&mut self, moved: usize, longest_pause: Duration, problem: Option<String>) {
        let Some(change) = &mut self.change else { return };
        change.moved += moved;
        change.longest_pause = change.longest_pause.max(longest_pause);
        change.step = Step::Moving { done: true };
        if let Some(problem) = problem {
            change.fail(Refusal::new(RefusalKind::RolledBack, problem));
        }
    }

    /// A worker has been replaced in its slot.
    pub(super) fn replaced(&mut self, slot: SlotId, pause: Duration, problem: Option<String>) {
        let Some(change) = &mut self.change else { return };
        change.longest_pause = change.longest_pause.max(pause);
        if let Step::Replacing { current, done, .. } = &mut change.step
            && *current == Some(slot)
        {
            *current = None;
            done.push(slot);
        }
        if let Some(problem) = problem {
            change.fail(Refusal::new(RefusalKind::RolledBack, problem));
        }
    }

    /// Something happened to a new worker that has no slot yet.
    pub(super) fn recruited(&mut self, news: PoolNews) {
        let Some(change) = &mut self.change else { return };
        match news {
            PoolNews::Tried { generation, problem } => {
                if let Step::Trying { generation: tried, answers, .. } = &mut change.step
                    && *tried == generation
                {
                    *answers = answers.saturating_sub(1);
                }
                if let Some(problem) = problem {
                    let message = format!("the new workers cannot load the state of the old ones: {problem}");
                    change.fail(Refusal::new(RefusalKind::RolledBack, message));
                }
            }
            PoolNews::NoRecruit(error) => change.fail(refusal(&error)),
            PoolNews::Described(_) | PoolNews::Slot(_) | PoolNews::Measured(..) | PoolNews::Failed(_) => {}
        }
    }

    /// A worker in a slot died. If it is of the new edition and crashed while others are still to be replaced, the change fails.
    pub(super) fn seated_worker_died(&mut self, pools: &Pools, slot: SlotId, death: &Death) {
        let Some(change) = self.change.as_mut().filter(|change| change.pool == slot.pool) else { return };
        let pool = &pools[slot.pool];
        if let Step::Replacing { to, .. } = change.step
            && to != pool.edition()
            && pool.seat_edition(slot) == Some(to)
            && !death.cause.may_be_from_outside()
        {
            let message = format!("a new worker died after it took its slot: {}", death.cause);
            change.fail(Refusal::new(RefusalKind::RolledBack, message));
        }
    }
}

/// Answers the client.
fn finish(change: Change, pool: &Pool, engine: &crate::engine::Engine) -> Option<Change> {
    let Change { begun, moved, longest_pause, problem, reply, .. } = change;
    let elapsed = begun.elapsed();
    let answer = if let Some(refusal) = problem {
        tracing::warn!("the change was rolled back, the workers are as before: {refusal}");
        Err(refusal)
    } else {
        let workers = engine.slots(pool.id());
        let milliseconds = longest_pause.as_secs_f64() * 1e3;
        tracing::info!(
            pool = pool.name(),
            workers,
            moved,
            longest_pause_milliseconds = milliseconds,
            "the workers are changed"
        );
        let mut seated = pool.members().into_iter().filter(|member| member.slot.is_some());
        let hello = seated.next_back().and_then(|member| member.hello);
        Ok(ChangeReport {
            workers,
            interpreter: hello.map(InterpreterReport::from),
            moved_partitions: moved,
            longest_pause_seconds: longest_pause.as_secs_f64(),
            elapsed_seconds: elapsed.as_secs_f64(),
        })
    };
    let _ = reply.send(answer);
    None
}

fn not_ready_in_time(after: Duration) -> Refusal {
    let message = format!("a new worker was not ready within {after:?}");
    let hint = "does the application hang when it is imported? The log of the run has the stack of the new worker";
    Refusal { limit: Some(Limit::StartTimeout), ..Refusal::new(RefusalKind::RolledBack, message).hint(hint) }
}

/// Why a new worker could not be used.
fn refusal(error: &PoolError) -> Refusal {
    let message = with_causes(error);
    let (hint, details) = match error.bare() {
        PoolError::Refused(refused) => (refused.hint.clone(), refused.traceback.clone()),
        PoolError::Start { last_lines, .. } => (None, Some(last_lines.clone())),
        PoolError::Differs { .. } => {
            let hint = "a run can reload changed code, but not changed names of steps, state tables or partitionings";
            (Some(hint.to_owned()), None)
        }
        _ => (None, None),
    };
    let details = details.filter(|details| !details.is_empty());
    Refusal { hint, details, ..Refusal::new(RefusalKind::RolledBack, message) }
}
