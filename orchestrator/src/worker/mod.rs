//! Worker processes: [`process`] spawns, signals and reaps one, [`connection`] is its life as a task, [`pool`] keeps slots
//! seated and standbys warm.

pub mod connection;
mod output;
pub mod pool;
pub mod process;
