//! A source that a connector reads. Its process connects once for each partition and sends messages with their marks; it is told what
//! is durable.

use tokio::net::UnixListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::process::{Pauses, Program};
use crate::source::{SourceContext, SourceEvent, partitions};

/// Runs the connector until it has read all partitions to their ends, or until `stop`. Then what it has sent is delivered, and it is
/// told what of that is durable.
pub async fn run(
    program: Program,
    (listener, socket): (UnixListener, String),
    context: SourceContext,
    stop: CancellationToken,
) {
    let complete = CancellationToken::new();
    let (source, events) = (context.source, context.events.clone());
    let served = partitions::run(listener, program.name.to_string(), context, stop.clone(), complete.clone());
    let lives = async {
        keep_running(&program, &socket, &stop, |reason| {
            // The runtime hangs up only when it is going away.
            let _ = events.send(SourceEvent::Down { source, reason });
        })
        .await;
        complete.cancel();
    };
    tokio::join!(served, lives);
}

async fn keep_running(program: &Program, socket: &str, stop: &CancellationToken, down: impl Fn(String)) {
    let mut pauses = Pauses::default();
    while !stop.is_cancelled() {
        let begun = Instant::now();
        let Err(reason) = program.run(socket).await else { return };
        if stop.is_cancelled() {
            return;
        }
        down(reason.clone());
        let pause = pauses.after(begun.elapsed(), false);
        tokio::select! {
            () = program.pause(&reason, pause) => {}
            () = stop.cancelled() => return,
        }
    }
}
