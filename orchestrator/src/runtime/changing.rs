//! Changes of the workers while the stream goes on: their number, their interpreter, their code.
//!
//! First new workers are started beside the old ones; nothing depends on them yet. Once they are ready, and of another edition
//! have shown that they can load what the old ones saved, the engine moves partitions, or has workers give up their seats one
//! after another. Whatever fails before the last step is undone, and the client is told why.

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
use crate::worker::pool::{Edition, Pool, PoolError, PoolNews};
use crate::worker::pools::Pools;
use crate::worker::process::Interpreter;

/// How long workers that are to be added may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Snapshots of each table that a recruit has to load before it may take a seat.
const SAMPLE: usize = 8;

/// A change that is under way.
#[derive(Debug)]
pub(super) struct Change {
    /// The pool whose workers change.
    pool: PoolId,
    step: Step,
    begun: Instant,
    /// How long a new worker may take to be ready.
    start_timeout: Duration,
    /// When the next one is to be ready at the latest.
    deadline: Instant,
    moved: usize,
    longest_pause: Duration,
    /// Why it is given up, once that is so.
    problem: Option<Refusal>,
    reply: Reply<ChangeReport>,
}

/// How far it has come.
#[derive(Debug)]
enum Step {
    /// Workers for slots to come are being started; there are to be so many slots.
    Recruiting { slots: u32, recruits: usize },
    /// The engine spreads the partitions.
    Moving { done: bool },
    /// A worker of another edition is being started.
    Enlisting(Edition),
    /// It loads snapshots; so many answers are to come.
    Trying { edition: Edition, generation: Generation, answers: usize },
    /// Workers give up their seats, one after another.
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
        self.go_on_changing(pools)
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
        let interpreter = Interpreter { python, ..old.clone() };
        let edition = pools[id].begin_edition(interpreter);
        self.change = Some(Change::new(id, Step::Enlisting(edition), start_timeout, reply));
        // By the time the first new worker is ready there is something for it to try.
        self.feed(pools, Event::Save)?;
        pools.fill(Instant::now())?;
        self.go_on_changing(pools)
    }

    /// Finds the pool that is to change, unless nothing may change now; then the client is told why.
    fn admit(
        &self,
        pools: &Pools,
        name: Option<&str>,
        reply: Reply<ChangeReport>,
    ) -> Option<(Reply<ChangeReport>, PoolId)> {
        let refusal = if self.draining {
            Refusal::ending()
        } else if self.change.is_some() {
            Refusal::new(RefusalKind::Busy, "another change of the workers is under way")
                .hint("try again when it is done; `wallaroo-orch status` shows the workers")
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

    /// Does what can be done now.
    pub(super) fn go_on_changing(&mut self, pools: &mut Pools) -> Result<(), RunError> {
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

    /// One step on, if there is one: what is left of the change, and whether to look again.
    fn advance(&mut self, pools: &mut Pools, mut change: Change) -> Result<(Option<Change>, bool), RunError> {
        let (id, late) = (change.pool, Instant::now() > change.deadline);
        if let Some(error) = pools[id].take_unrecruited() {
            change.fail(refusal(&error));
        }
        match &mut change.step {
            Step::Recruiting { slots, recruits } => {
                let (slots, ready) = (*slots, pools[id].standbys(pools[id].edition()).len() >= *recruits);
                if change.problem.is_none() && late && !ready {
                    change.fail(too_late(change.start_timeout));
                }
                if change.problem.is_some() {
                    pools[id].recruit(0);
                    return Ok((finish(change, &pools[id], &self.engine), false));
                }
                if !ready {
                    return Ok((Some(change), false));
                }
                change.step = Step::Moving { done: false };
                // The engine's first answer may come while it is told.
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
                    change.fail(too_late(change.start_timeout));
                }
                if change.problem.is_some() {
                    pools[id].abandon_edition();
                    return Ok((finish(change, &pools[id], &self.engine), false));
                }
                if let Some(generation) = recruit {
                    // State lives in the main pool alone.
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
                    change.fail(too_late(change.start_timeout));
                }
                if change.problem.is_some() {
                    pools[id].abandon_edition();
                    return Ok((finish(change, &pools[id], &self.engine), false));
                }
                if done {
                    let left = (0..self.engine.slots(id)).map(|number| SlotId { pool: id, number }).collect();
                    change.step = Step::Replacing { to: edition, current: None, left, done: Vec::new() };
                } else if !lives {
                    // Somebody killed it; another one is being started.
                    change.step = Step::Enlisting(edition);
                }
                Ok((Some(change), done))
            }
            Step::Replacing { .. } => self.replace_next(pools, change),
        }
    }

    /// Has the next worker give up its seat; at the end commits to the new edition or, if something went wrong, to the old one.
    fn replace_next(&mut self, pools: &mut Pools, mut change: Change) -> Result<(Option<Change>, bool), RunError> {
        let id = change.pool;
        let Step::Replacing { to, current, left, done } = &mut change.step else { return Ok((Some(change), false)) };
        if change.problem.is_some() && *to != pools[id].edition() {
            // Those that have moved move back.
            tracing::warn!("the workers are not replaced; those that were are put back");
            let mut back: VecDeque<SlotId> = done.drain(..).collect();
            back.extend(current.take());
            (*to, *left) = (pools[id].edition(), back);
            // Where no standbys are kept somebody has to be started for each of them.
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
        // There has to be somebody to take the seat.
        if pools[id].standbys(*to).is_empty() && pools[id].seat_edition(slot) != Some(*to) {
            left.push_front(slot);
            let late = *to != pools[id].edition() && Instant::now() > change.deadline;
            if late {
                change.fail(too_late(change.start_timeout));
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

    /// The engine has spread the partitions.
    pub(super) fn scaled(&mut self, moved: usize, longest_pause: Duration, problem: Option<String>) {
        let Some(change) = &mut self.change else { return };
        change.moved += moved;
        change.longest_pause = change.longest_pause.max(longest_pause);
        change.step = Step::Moving { done: true };
        if let Some(problem) = problem {
            change.fail(Refusal::new(RefusalKind::RolledBack, problem));
        }
    }

    /// A worker has given up its seat.
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

    /// Something happened to a worker that is to be added.
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
            PoolNews::Described(_) | PoolNews::Slot(_) | PoolNews::Failed(_) => {}
        }
    }

    /// A seated worker died. One of the new edition that crashes while others are still to be replaced ends the change.
    pub(super) fn fell(&mut self, pools: &Pools, slot: SlotId, death: &Death) {
        let Some(change) = self.change.as_mut().filter(|change| change.pool == slot.pool) else { return };
        let pool = &pools[slot.pool];
        if let Step::Replacing { to, .. } = change.step
            && to != pool.edition()
            && pool.seat_edition(slot) == Some(to)
            && !death.cause.may_be_from_outside()
        {
            let message = format!("a new worker died at work: {}", death.cause);
            change.fail(Refusal::new(RefusalKind::RolledBack, message));
        }
    }
}

/// Answers the client.
fn finish(change: Change, pool: &Pool, engine: &crate::engine::Engine) -> Option<Change> {
    let Change { begun, moved, longest_pause, problem, reply, .. } = change;
    let elapsed = begun.elapsed();
    let answer = if let Some(refusal) = problem {
        tracing::warn!("the workers are as before: {refusal}");
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

fn too_late(after: Duration) -> Refusal {
    let message = format!("a new worker was not ready after {after:?}");
    let hint = "does the application hang when it is imported? The log of the run has the stack of the new worker";
    Refusal { limit: Some(Limit::StartTimeout), ..Refusal::new(RefusalKind::RolledBack, message).hint(hint) }
}

/// What kept a new worker from being of use.
fn refusal(error: &PoolError) -> Refusal {
    let message = with_causes(error);
    let (hint, details) = match error.bare() {
        PoolError::Refused(refused) => (refused.hint.clone(), refused.traceback.clone()),
        PoolError::Start { last_lines, .. } => (None, Some(last_lines.clone())),
        PoolError::Differs { .. } => {
            let hint = "code may change while it runs, but not names of steps, state tables and partitioning";
            (Some(hint.to_owned()), None)
        }
        _ => (None, None),
    };
    let details = details.filter(|details| !details.is_empty());
    Refusal { hint, details, ..Refusal::new(RefusalKind::RolledBack, message) }
}
