//! The orchestrator: networking, partition routing and state of a stream processing application whose steps run in Python
//! workers.
//!
//! In the order in which data passes: a [`source`] cuts frames; the [`engine`], a pure state machine, decides which [`worker`]
//! runs them, following the [`plan`] made of the application's topology; results leave through a [`sink`]. The [`runtime`] ties
//! the tasks to the engine; through its [`control`] socket a run is looked at and changed.

mod causes;
pub mod cli;
pub mod control;
pub mod dead_letter;
pub mod dead_message;
pub mod death;
pub mod engine;
pub mod frame;
pub mod ids;
pub mod interpreter;
pub mod limit;
pub mod plan;
pub mod runtime;
pub mod sink;
pub mod sink_chunk;
pub mod source;
pub mod worker;
