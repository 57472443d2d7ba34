//! The guard: a process that outlives the orchestrator and cleans up after it.
//!
//! The kernel kills workers when the orchestrator dies, but not the processes that user code has started, and it deletes no folders.
//! The guard is told process groups and folders over a pipe. When the orchestrator's end of the pipe closes, for whatever reason, it
//! kills the groups that are left and every process that carries the run's tag, and deletes the folders.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::descendants::{disown, kill_tagged, own, run_tag};
use crate::signals::ignore;

/// The subcommand that runs the guard.
pub const SUBCOMMAND: &str = "guard";

/// The orchestrator's handle of its guard. Dropping it ends the guard.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    pipe: Option<ChildStdin>,
    /// Groups, by number, and folders, by absolute path.
    watched: BTreeSet<String>,
}

impl Guard {
    /// Starts the guard, out of reach of signals meant for the orchestrator's group.
    pub fn start() -> io::Result<Self> {
        let (child, pipe) = spawn()?;
        Ok(Self { child, pipe, watched: BTreeSet::new() })
    }

    /// A worker was started: its group is to be killed in the end.
    pub fn watch(&mut self, group: i32) {
        self.add(group.to_string());
    }

    /// A worker and its group are gone.
    pub fn forget(&mut self, group: i32) {
        let group = group.to_string();
        self.watched.remove(&group);
        self.say('-', &group);
    }

    /// A folder is to be deleted in the end, if it is still there.
    pub fn watch_folder(&mut self, folder: &Path) {
        // Another path cannot be said in a line, and its folder stays if this process is killed.
        if let Some(path) = folder.to_str().filter(|path| path.starts_with('/') && !path.contains('\n')) {
            self.add(path.to_owned());
        }
    }

    /// Starts another guard if this one was killed.
    pub fn restart_if_dead(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        tracing::warn!("the guard, which cleans up if this process is killed, has died; another one is started");
        disown(self.child.id().cast_signed());
        match spawn() {
            Ok((child, pipe)) => {
                (self.child, self.pipe) = (child, pipe);
                for watched in self.watched.clone() {
                    self.say('+', &watched);
                }
            }
            Err(error) => tracing::error!("the guard cannot be started: {error}; it is tried again"),
        }
    }

    fn add(&mut self, what: String) {
        if !self.watched.contains(&what) {
            self.say('+', &what);
            self.watched.insert(what);
        }
    }

    fn say(&mut self, sign: char, what: &str) {
        // A guard that was killed is replaced soon, and the next one is told everything.
        if let Some(pipe) = &mut self.pipe {
            let _ = writeln!(pipe, "{sign}{what}");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.pipe = None;
        let _ = self.child.wait();
        disown(self.child.id().cast_signed());
    }
}

fn spawn() -> io::Result<(Child, Option<ChildStdin>)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([SUBCOMMAND, run_tag()]).process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn()?;
    own(child.id().cast_signed());
    let pipe = child.stdin.take();
    Ok((child, pipe))
}

/// The guard itself: reads until the orchestrator's end closes, then cleans up.
pub fn run(tag: &str) -> io::Result<()> {
    for ignored in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        ignore(ignored)?;
    }
    let mut watched = BTreeSet::new();
    for line in io::stdin().lock().lines() {
        let line = line?;
        match line.split_at_checked(1) {
            Some(("+", what)) => drop(watched.insert(what.to_owned())),
            Some(("-", what)) => drop(watched.remove(what)),
            _ => return Err(io::Error::other(format!("a guard is not told {line:?}"))),
        }
    }
    let groups = watched.iter().filter_map(|what| what.parse::<i32>().ok());
    for group in groups {
        let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
    }
    kill_tagged(tag);
    for folder in watched.iter().filter(|what| what.starts_with('/')) {
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(())
}
