//! Worker processes: [`process`] spawns, signals and reaps one, [`connection`] is its life as a task, [`pool`] keeps the
//! slots of one pool seated and its standbys warm, [`pools`] is all of them, [`guard`] sees to it that none is left behind.

pub mod connection;
pub mod guard;
mod output;
pub mod pool;
pub mod pools;
pub mod process;
mod socket;
