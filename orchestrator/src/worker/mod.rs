//! Worker processes: [`process`] spawns, signals and reaps one, [`connection`] is its life as a task, [`pool`] keeps slots
//! seated and standbys warm, [`guard`] sees to it that none is left behind.

pub mod connection;
pub mod guard;
mod output;
pub mod pool;
pub mod process;
