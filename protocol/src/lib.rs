//! Frames and messages between the wallaroo orchestrator and its Python workers, as specified in `spec/protocol.md`.
//!
//! [`FrameCodec`] cuts incoming bytes into bodies. [`FromWorker::decode`] and [`ToWorker::decode`] turn bodies into
//! messages, and the `encode` methods do the reverse. The crate does no I/O and never reads values: keys, groups and
//! payloads stay slices of the frame they arrived in, so a `Bytes` kept from a message keeps that whole frame.
//!
//! Every decoder treats its input as hostile: for any bytes it returns a message or a [`ProtocolError`].

mod error;
mod frame;
mod from_worker;
mod group;
mod id;
pub mod input;
pub mod key;
mod measurement;
mod reader;
mod result;
mod state;
mod time;
mod to_worker;
pub mod topology;
mod type_name;
mod writer;

pub use error::ProtocolError;
pub use frame::{FrameCodec, HEADER_LENGTH, Outgoing, encode_header};
pub use from_worker::{CutError, CutResult, FromWorker, Refused, RefusedKind, WorkerHello};
pub use group::Group;
pub use id::{BatchId, NodeId, RequestId, StageId};
pub use key::{KeyError, partition_hash};
pub use measurement::{Measured, Measurement};
pub use result::{BatchResult, Failure, Messages, Output, OutputData};
pub use state::{ForgottenState, SnapshotFailure, SnapshotPart, StateEntry};
pub use time::{EventTime, Timer, Timing};
pub use to_worker::{Batch, InputKind, Load, OrchestratorHello, Skip, StagePlan, ToWorker};
pub use topology::{Topology, TopologyError};

/// The version of the wire protocol spoken here.
pub const PROTOCOL_VERSION: u32 = 1;

/// How deep arrays and maps may nest inside a body; the body's own array is the first level.
pub const MAX_NESTING: usize = 32;

/// Bytes by which a body may exceed the largest client message, for its envelope.
pub const ENVELOPE_BYTES: usize = 1 << 20;
