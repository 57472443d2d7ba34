//! Worker processes: [`process`] spawns, signals and reaps one; [`connection`] is the task that owns it; [`pool`] keeps the slots
//! of one pool seated and standbys ready; [`pools`] holds all pools; [`guard`] and [`descendants`] leave no process behind;
//! [`code_folder`] keeps the code of an edition.

pub mod code_folder;
pub mod connection;
pub mod descendants;
pub mod guard;
mod marker_file;
pub(crate) mod output;
pub mod pool;
pub mod pools;
pub mod process;
mod socket;
