//! Takes in what sinks report: what is written, what can never be, and whether they are up.

use super::{RunError, Runtime};
use crate::dead_message::DeadMessage;
use crate::engine::Event;
use crate::ids::SinkId;
use crate::sink::{Rejected, SinkEvent};
use crate::worker::pools::Pools;

impl Runtime {
    pub(super) fn sinks(&mut self, pools: &mut Pools, events: impl Iterator<Item = SinkEvent>) -> Result<(), RunError> {
        for event in events {
            match event {
                SinkEvent::Written { sink, bytes, .. } => self.feed(pools, Event::SinkWritten { sink, bytes })?,
                SinkEvent::Rejected { sink, rejected } => self.rejected(sink, rejected)?,
                SinkEvent::Failed { error, .. } => return Err(error.into()),
                SinkEvent::Connected { sink } => {
                    tracing::debug!("sink {sink} is connected");
                    self.health.sink_is_up(sink);
                }
                SinkEvent::Disconnected { sink, error } => {
                    tracing::debug!("sink {sink} is disconnected: {error}");
                    self.health.sink_is_down(sink, error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Makes a dead letter of a message that a sink's connector has refused.
    fn rejected(&mut self, sink: SinkId, rejected: Rejected) -> Result<(), RunError> {
        let Rejected { payload, exception, message, traceback, value } = rejected;
        let letter = DeadMessage {
            node: self.plan.sinks[sink.index()].node,
            key: None,
            exception,
            message,
            traceback,
            value,
            payload,
            payload_index: None,
            codec: 0,
            limit: None,
            source: None,
            connection: None,
        };
        self.dead_letters.write_for_sink(&letter);
        self.check_letters(self.dead_letters.count(), std::slice::from_ref(&letter))
    }
}
