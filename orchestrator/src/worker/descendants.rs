//! Processes that user code has started, and theirs. They may leave the worker's group and session; what they cannot lose by accident
//! is their environment. Every worker carries a tag there that names the run and the worker.
//!
//! This process is a subreaper: who loses its parent becomes its child, and is reaped here.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;
use wallaroo_protocol::NodeId;

use crate::ids::Generation;

/// The variable with the tag.
pub const VARIABLE: &str = "WALLAROO_WORKER";

/// How often processes are looked for again that were started while others were killed.
const PASSES: usize = 10;

static RUN: LazyLock<String> = LazyLock::new(|| {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), now.as_nanos())
});

/// Children that somebody here waits for.
static OWN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// What the tags of all workers of this run begin with.
pub fn run_tag() -> &'static str {
    &RUN
}

/// A tag for the next process of a connector.
pub(crate) fn connector_tag(node: NodeId) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}.c{node}-{}.", run_tag(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The tag of a worker.
pub fn worker_tag(generation: Generation) -> String {
    format!("{}.{}.", run_tag(), generation.0)
}

/// Kills every process of this user whose tag begins with `tag`, except this one, and what they start meanwhile.
pub fn kill_tagged(tag: &str) {
    let wanted = format!("{VARIABLE}={tag}");
    for _ in 0..PASSES {
        let found = tagged(wanted.as_bytes());
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

fn tagged(wanted: &[u8]) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let own = std::process::id().cast_signed();
    // A zombie has no environment any more.
    let is_tagged = |pid: &i32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(wanted))
    };
    numbers.filter(|pid| *pid != own).filter(is_tagged).collect()
}

/// Has processes that lose their parent become children of this one.
pub fn adopt_orphans() {
    // Without it they become children of the system's first process, which reaps them just as well.
    let _ = nix::sys::prctl::set_child_subreaper(true);
}

/// Notes that somebody here waits for a child. [`reap_orphans`] leaves it alone.
pub(super) fn own(pid: i32) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
}

/// Notes that a child was waited for.
pub(crate) fn disown(pid: i32) {
    OWN.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
}

/// Reaps children that nobody here has started.
pub fn reap_orphans() {
    let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Some(pid) = waitid(Id::All, peek).ok().and_then(|status| status.pid()) {
        // One of ours is reaped by who waits for it, soon; the others come after.
        if OWN.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid.as_raw()) {
            return;
        }
        let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
    }
}
