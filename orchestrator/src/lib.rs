//! The orchestrator: networking, partition routing and state of a stream processing application whose steps run in Python
//! workers.
//!
//! Modules are listed in the order in which data passes. A [`source`] cuts a stream into frames. The [`engine`], a pure state
//! machine, follows the [`plan`] made of the application's topology and decides which [`worker`] runs what. Results leave through
//! a [`sink`]. A [`connector`] is a source or sink whose code is the application's. A message that cannot be processed goes to the [`dead_letter`] file. The [`log`] keeps records on disk; [`state_folder`]
//! reads them back. The
//! [`runtime`] drives the engine and carries out its actions. A run is observed and changed through its [`control`] socket. The
//! [`cli`] starts all of it.
//!
//! A module uses only modules of lower layers: `tests/circles.py` has the layers and checks them.

// Types that modules exchange. They use nothing else of this crate.
mod causes;
pub mod ids;
pub mod limit;

pub mod position;

pub mod stream_protocol;

pub mod frame;

pub mod death;

pub mod dead_message;

pub mod sink_chunk;

pub mod record;

pub mod checkpoint;

mod keepalive;

mod local_socket;

pub mod signals;

pub mod descriptors;

pub mod standard_output;

// What the application is, and the Python that runs it.
pub mod plan;

pub mod interpreter;

// The way of a message.
pub mod source;

pub mod engine;

pub mod worker;

pub mod sink;

pub mod connector;

pub mod dead_letter;

// What survives the process.
pub mod log;

pub mod state_folder;

// What runs it.
pub mod runtime;

pub mod control;

pub mod cli;
