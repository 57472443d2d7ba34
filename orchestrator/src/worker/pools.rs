//! All pools of a run: the main one, and those that steps name.
//!
//! Each pool deals with its own workers. The pools share the starter, the application and the plan.

use std::ops::{Index, IndexMut};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};
use wallaroo_protocol::StagePlan;

use super::connection::{WorkerEvent, WorkerNews};
use super::descendants::reap_orphans;
use super::pool::{MemberStatus, Pool, PoolError, PoolNews, PoolSettings, Starter};
use crate::ids::{Generation, PoolId, SlotId};

/// See the [module](self).
#[derive(Debug)]
pub struct Pools {
    starter: Starter,
    /// By [`PoolId`].
    pools: Vec<Pool>,
}

impl Pools {
    /// The main pool without workers, and the channel on which the events of workers arrive.
    pub fn new(main: PoolSettings) -> (Self, mpsc::UnboundedReceiver<WorkerEvent>) {
        let (starter, events) = Starter::new();
        (Self { starter, pools: vec![Pool::new(PoolId::MAIN, None, main)] }, events)
    }

    /// Tells the workers the plan, and adds the pools that its steps name, in the plan's order. Call [`Pools::fill`] afterwards.
    pub fn plan(&mut self, plan: Vec<StagePlan>, named: Vec<(String, PoolSettings)>) {
        let Some(main) = self.pools.first_mut() else { return };
        main.plan(plan);
        for (name, settings) in named {
            let mut pool = Pool::new(PoolId(self.pools.len() as u32), Some(name), settings);
            pool.join(&self.pools[0]);
            self.pools.push(pool);
        }
    }

    /// Starts one of the workers that are missing. If there are more, [`Pools::next_fill`] says that it is time for them.
    pub fn fill(&mut self, now: Instant) -> Result<(), PoolError> {
        self.starter.begin();
        for pool in &mut self.pools {
            pool.fill(&mut self.starter, now).map_err(|error| in_pool(pool, error))?;
        }
        Ok(())
    }

    /// Looks after processes: workers that take long to be ready (see [`Pool::check_starts`]), a guard that was killed, and orphans
    /// of what user code has started.
    pub fn check_processes(&mut self, now: Instant) {
        self.starter.look_after_guard();
        reap_orphans();
        self.pools.iter_mut().for_each(|pool| pool.check_starts(now));
    }

    /// When [`Pools::fill`] is to be called next.
    pub fn next_fill(&self) -> Option<Instant> {
        if self.starter.is_short() { Some(Instant::now()) } else { self.pools.iter().filter_map(Pool::next_fill).min() }
    }

    /// Takes in what a worker did; see [`Pool::handle`].
    pub fn handle(&mut self, event: WorkerEvent, now: Instant) -> Vec<PoolNews> {
        let its_pool = |pool: &&mut Pool| pool.pid(event.generation).is_some();
        let Some(pool) = self.pools.iter_mut().find(its_pool) else { return Vec::new() };
        if let (WorkerNews::Ended { .. }, Some(pid)) = (&event.news, pool.pid(event.generation)) {
            self.starter.forget(pid);
        }
        let news = pool.handle(event, now);
        let named = |news| match news {
            PoolNews::Failed(error) => PoolNews::Failed(in_pool(pool, error)),
            PoolNews::NoRecruit(error) => PoolNews::NoRecruit(in_pool(pool, error)),
            news => news,
        };
        news.into_iter().map(named).collect()
    }

    /// Whether all slots have a worker.
    pub fn is_seated(&self) -> bool {
        self.pools.iter().all(Pool::is_seated)
    }

    /// Whether all slots have a worker, and all standbys are ready.
    pub fn is_full(&self) -> bool {
        self.pools.iter().all(Pool::is_full)
    }

    /// Asks all workers to finish and exit.
    pub fn close(&mut self) {
        self.pools.iter_mut().for_each(Pool::close);
    }

    /// Kills every worker that is left. Their ends are still reported.
    pub fn kill_all(&mut self) {
        self.pools.iter_mut().for_each(Pool::kill_all);
    }

    /// Whether no worker is left.
    pub fn is_empty(&self) -> bool {
        self.pools.iter().all(Pool::is_empty)
    }

    /// Has a worker print its Python stacks into `reply`; see [`Pool::stack`].
    pub fn stack(&self, generation: Generation, reply: oneshot::Sender<String>) {
        if let Some(pool) = self.pools.iter().find(|pool| pool.pid(generation).is_some()) {
            pool.stack(generation, reply);
        }
    }

    /// All workers with their pools, oldest first in each.
    pub fn members(&self) -> Vec<MemberStatus> {
        self.pools.iter().flat_map(Pool::members).collect()
    }

    /// The workers at work that have moved on since this was last called.
    pub fn moved(&mut self) -> Vec<(SlotId, Generation)> {
        self.pools.iter_mut().flat_map(Pool::moved).collect()
    }

    /// The pool of that name; the main one for `None`.
    pub fn named(&self, name: Option<&str>) -> Option<PoolId> {
        self.pools.iter().find(|pool| pool.name() == name).map(Pool::id)
    }

    /// The names of the named pools.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().filter_map(Pool::name)
    }
}

impl Index<PoolId> for Pools {
    type Output = Pool;

    fn index(&self, pool: PoolId) -> &Pool {
        &self.pools[pool.index()]
    }
}

impl IndexMut<PoolId> for Pools {
    fn index_mut(&mut self, pool: PoolId) -> &mut Pool {
        &mut self.pools[pool.index()]
    }
}

/// The error, with the name of its pool if the pool has one.
fn in_pool(pool: &Pool, error: PoolError) -> PoolError {
    match pool.name() {
        None => error,
        Some(name) => {
            PoolError::InPool { pool: name.to_owned(), python: pool.python().to_owned(), error: Box::new(error) }
        }
    }
}
