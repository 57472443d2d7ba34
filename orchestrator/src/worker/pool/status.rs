//! The status of a pool's workers.

use wallaroo_protocol::WorkerHello;

use super::{Member, Phase, Pool};
use crate::ids::PoolId;
use crate::ids::{Generation, SlotId};

/// A worker as others see it.
#[derive(Debug, Clone)]
pub struct MemberStatus {
    /// The worker.
    pub generation: Generation,
    /// Its process id.
    pub pid: i32,
    /// Its pool.
    pub pool: PoolId,
    /// The slot it sits in; `None` for a standby or one that is starting.
    pub slot: Option<SlotId>,
    /// What its greeting said about its interpreter.
    pub hello: Option<WorkerHello>,
    /// How far it has come.
    pub progress: Progress,
}

/// How far a worker has come, as others see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It loads the application.
    Starting,
    /// It waits for a slot.
    Standby,
    /// It is at work.
    Seated,
    /// Its end is awaited.
    Leaving,
}

impl Pool {
    /// The workers at work that have moved on since this was last called.
    pub fn moved(&mut self) -> Vec<(SlotId, Generation)> {
        let mut moved = Vec::new();
        for (generation, member) in &mut self.members {
            let Phase::Seated(slot) = member.phase else { continue };
            let progress = member.handle.progress();
            if progress != std::mem::replace(&mut member.progress, progress) {
                moved.push((slot, *generation));
            }
        }
        moved
    }

    /// All workers, oldest first.
    pub fn members(&self) -> Vec<MemberStatus> {
        let status = |(generation, member): (&Generation, &Member)| MemberStatus {
            generation: *generation,
            pid: member.handle.pid,
            pool: self.id,
            slot: match member.phase {
                Phase::Seated(slot) => Some(slot),
                _ => None,
            },
            hello: member.hello.clone(),
            progress: match member.phase {
                Phase::Greeting | Phase::Loading | Phase::Described | Phase::Preparing => Progress::Starting,
                Phase::Standby => Progress::Standby,
                Phase::Seated(_) => Progress::Seated,
                Phase::Dismissed => Progress::Leaving,
            },
        };
        self.members.iter().map(status).collect()
    }
}
