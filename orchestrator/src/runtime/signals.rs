//! The signals that end a run.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signals that end a run: the first one drains it, the second one stops it at once.
pub(super) struct Signals {
    interrupts: Signal,
    terminations: Signal,
    hangups: Signal,
}

impl Signals {
    /// Takes the signals over from the system.
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupts: signal(SignalKind::interrupt())?,
            terminations: signal(SignalKind::terminate())?,
            hangups: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// Safe: a signal that arrives meanwhile is reported by the next call.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupts.recv() => (),
            _ = self.terminations.recv() => (),
            _ = self.hangups.recv() => (),
        }
    }
}
