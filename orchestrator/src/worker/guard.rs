//! The guard: a process that outlives the orchestrator and cleans up after it.
//!
//! The kernel kills workers when the orchestrator dies, but not the processes that user code has started. The guard is told all
//! process groups over a pipe. When the orchestrator's end of the pipe closes, for whatever reason, it kills the groups that are left.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{SigHandler, Signal, killpg, signal};
use nix::unistd::Pid;

/// The subcommand that runs the guard.
pub const SUBCOMMAND: &str = "guard";

/// The orchestrator's handle of its guard. Dropping it ends the guard.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    /// Starts the guard, out of reach of signals meant for the orchestrator's group.
    pub fn start() -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(SUBCOMMAND).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn()?;
        let pipe = child.stdin.take();
        Ok(Self { child, pipe })
    }

    /// A worker was started: its group is to be killed in the end.
    pub fn watch(&mut self, group: i32) {
        self.say('+', group);
    }

    /// A worker and its group are gone.
    pub fn forget(&mut self, group: i32) {
        self.say('-', group);
    }

    fn say(&mut self, sign: char, group: i32) {
        // A guard that was killed cannot be told; workers themselves still die with the orchestrator.
        if let Some(pipe) = &mut self.pipe {
            let _ = writeln!(pipe, "{sign}{group}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.child.wait();
    }
}

/// The guard itself: reads until the orchestrator's end closes, then kills the groups that are left.
pub fn run() -> io::Result<()> {
    for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ignore(ignored)?;
    }
    let mut groups = BTreeSet::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_at_checked(1).map(|(sign, group)| (sign, group.parse::<i32>())) {
            Some(("+", Ok(group))) => drop(groups.insert(group)),
            Some(("-", Ok(group))) => drop(groups.remove(&group)),
            _ => return Err(io::Error::other(format!("a guard is not told {line:?}"))),
        }
    }
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    Ok(())
}

#[expect(unsafe_code, reason = "installing a signal disposition is unsafe in general; ignoring a signal runs no code")]
fn ignore(ignored: Signal) -> io::Result<()> {
    // SAFETY: no handler is installed.
    unsafe { signal(ignored, SigHandler::SigIgn) }?;
    Ok(())
}
