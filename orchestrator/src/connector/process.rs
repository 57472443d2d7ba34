//! The process of a connector. It is started again whenever it ends before it is done, after longer and longer pauses.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep, timeout};
use wallaroo_protocol::NodeId;

use crate::worker::descendants::{connector_tag, disown, kill_tagged};
use crate::worker::output::{Speaker, Stream, Tail, pump};
use crate::worker::process::{Interpreter, OwnGroup, death_cause, resident_bytes};

/// First pause before it is started again; doubled up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause before it is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A process that lived so long has worked: the next pause is short again.
const LONG_LIFE: Duration = Duration::from_secs(10);
/// How often its memory is looked at.
const MEMORY_EVERY: Duration = Duration::from_millis(500);
/// How long output is read after its end: what it has started can hold the pipe open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(50);

/// Runs it. As for workers, no module of the current folder may take the place of one of Python's own.
const START: &str =
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); from wallaroo._connector.__main__ import main; main()";

/// What a connector runs.
#[derive(Debug, Clone)]
pub struct Program {
    /// The source or sink.
    pub node: NodeId,
    /// Its name, as people know it: `source "orders"`.
    pub name: Arc<str>,
    /// The Python that runs it.
    pub interpreter: Interpreter,
    /// Path of the application, or its module name.
    pub application: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Bytes it may have resident.
    pub memory: Option<u64>,
}

/// Pauses between one process and the next.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    next: Duration,
}

impl Pauses {
    /// The pause after a process that lived for `life`, or that has got somewhere.
    pub(super) fn after(&mut self, life: Duration, worked: bool) -> Duration {
        if worked || life >= LONG_LIFE {
            self.next = Duration::ZERO;
        }
        self.next = (self.next * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.next.mul_f64(jitter())
    }
}

/// From 0.75 to 1, so that those that have ended together do not begin together.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0_u8);
    0.75 + (random % 1024) as f64 / 4096.0
}

impl Program {
    /// Runs one process to its end, or kills it when the future is dropped. Returns why it has failed, unless it is done.
    pub(super) async fn run(&self, socket: &str) -> Result<(), String> {
        let tag = connector_tag(self.node);
        let started = self.start(socket, &tag);
        let OwnGroup { child, group, stdout, stderr } =
            started.map_err(|error| format!("{} cannot be started: {error}", self.interpreter.python.display()))?;
        let mut process = Group { child, pid: group.as_raw() };
        let speaker = Speaker::Connector(Arc::clone(&self.name));
        let (mut discarded, mut tail) = (Tail::default(), Tail::default());
        let (_nobody, mut no_listener) = mpsc::unbounded_channel();
        let (_nobody_either, mut no_other) = mpsc::unbounded_channel();
        let output = async {
            tokio::join!(
                pump(stdout, Stream::Stdout, &speaker, &mut discarded, &mut no_listener),
                pump(stderr, Stream::Stderr, &speaker, &mut tail, &mut no_other)
            )
        };
        let mut output = std::pin::pin!(output);
        let mut is_open = true;
        let mut life = std::pin::pin!(process.life(self.memory));
        let end = loop {
            tokio::select! {
                end = &mut life => break end,
                _ = &mut output, if is_open => is_open = false,
            }
        };
        if is_open {
            let _ = timeout(OUTPUT_GRACE, output).await;
        }
        // What it has started may have left its group. Nobody waits for that: looking through all processes takes a while.
        tokio::task::spawn_blocking(move || kill_tagged(&tag));
        end
    }

    fn start(&self, socket: &str, tag: &str) -> io::Result<OwnGroup> {
        let mut command = self.interpreter.command(START, tag);
        command.args(["--node", &self.node.to_string(), "--socket", socket, "--application", &self.application, "--"]);
        command.args(&self.args);
        self.interpreter.spawn(command, Vec::new())
    }

    /// Says that it has failed, and waits until it is to be started again.
    pub(super) async fn pause(&self, reason: &str, pause: Duration) {
        tracing::warn!("{}: {reason}; it is started again in {} ms", self.name, pause.as_millis());
        sleep(pause).await;
    }
}

/// A process and its group. Dropping it kills them all.
struct Group {
    child: tokio::process::Child,
    pid: i32,
}

impl Group {
    /// Waits for its end. It is killed if it has more memory than it may.
    async fn life(&mut self, memory: Option<u64>) -> Result<(), String> {
        let mut looks = interval(MEMORY_EVERY);
        let mut exceeded = None;
        let status = loop {
            tokio::select! {
                status = self.child.wait() => break status,
                _ = looks.tick(), if memory.is_some() && exceeded.is_none() => {
                    let resident = resident_bytes(self.pid).unwrap_or(0);
                    if let Some(limit) = memory.filter(|limit| resident > *limit) {
                        exceeded = Some(format!("had {resident} bytes of memory, and its limit is {limit}"));
                        self.kill();
                    }
                }
            }
        };
        match (exceeded, status) {
            (Some(reason), _) => Err(reason),
            (None, Ok(status)) if status.success() => Ok(()),
            (None, Ok(status)) => Err(death_cause(status).to_string()),
            (None, Err(error)) => Err(error.to_string()),
        }
    }

    fn kill(&self) {
        if self.child.id().is_some() {
            let group = nix::unistd::Pid::from_raw(self.pid);
            let _ = killpg(group, Signal::SIGKILL);
            let _ = kill(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        disown(self.pid);
    }
}
