//! The worker's operating system process: started with one inherited socket and one inherited marker file, in its own process
//! group, killed as a group, always reaped.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::code_folder::CodeFolder;
use super::descendants::{VARIABLE, disown, own, worker_tag};
use super::marker_file::MarkerFile;
use super::socket::{FromWorkerHalf, ToWorkerHalf, halves};
use crate::death::DeathCause;
use crate::descriptors;
use crate::ids::Generation;

/// PyPy's young generation. The lists of a batch outgrow the default of 4 MiB, are promoted and soon die. CPython ignores this.
const PYPY_NURSERY: (&str, &str) = ("PYPY_GC_NURSERY", "32M");

/// Makes the kernel kill a worker rather than the orchestrator when memory runs out.
const OOM_SCORE: &str = "500";

/// Bytes a socket to a worker may hold, so that a batch is sent in one piece and not in five with a change of tasks after each.
const SOCKET_BUFFER: usize = 1 << 20;

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// Absolute path of the Python to run.
    pub python: PathBuf,
    /// `PYTHONHASHSEED` of all workers of a run, so that a replay meets sets in the order of the first time.
    pub hash_seed: u32,
    /// Descriptors a worker may have open; `None`: as many as this process.
    pub descriptors: Option<u64>,
    /// How often a worker reports whether it has moved on.
    pub progress_interval: Duration,
    /// Where the code of the edition is kept; `None`: it is not.
    pub code: Option<CodeFolder>,
}

/// A worker process. Dropping it kills the process group; the runtime reaps the child.
#[derive(Debug)]
pub struct Process {
    child: Child,
    group: Pid,
    marker: MarkerFile,
}

/// The streams of a process just started.
#[derive(Debug)]
pub struct Streams {
    /// The socket to the worker.
    pub socket: (FromWorkerHalf, ToWorkerHalf),
    /// Its standard output.
    pub stdout: ChildStdout,
    /// Its standard error.
    pub stderr: ChildStderr,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
#[error("could not start a worker with {}", python.display())]
pub struct SpawnError {
    /// The interpreter.
    pub python: PathBuf,
    /// The operating system's error.
    #[source]
    pub source: io::Error,
}

/// A process that was started in a group of its own.
pub(crate) struct OwnGroup {
    /// The process. It is killed when this is dropped; whoever has waited for it calls [`disown`].
    pub(crate) child: Child,
    /// Its process id, which is its group's too.
    pub(crate) group: Pid,
    /// Its standard output.
    pub(crate) stdout: ChildStdout,
    /// Its standard error.
    pub(crate) stderr: ChildStderr,
}

impl Interpreter {
    /// A command that runs `code` with the SDK. `tag` is what its process and those that it starts are found by.
    pub(crate) fn command(&self, code: &str, tag: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .args(["-c", code])
            .args(self.code.iter().flat_map(|code| ["--code".as_ref(), code.path().as_os_str()]))
            .env("PYTHONUNBUFFERED", "1")
            .env(VARIABLE, tag)
            .env("PYTHONHASHSEED", self.hash_seed.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if std::env::var_os(PYPY_NURSERY.0).is_none() {
            command.env(PYPY_NURSERY.0, PYPY_NURSERY.1);
        }
        command
    }

    /// Starts it, with these descriptors of ours and no others.
    ///
    /// Call it from a thread that lives as long as the orchestrator: the process is killed when the thread ends.
    pub(crate) fn spawn(&self, mut command: Command, inherited: Vec<RawFd>) -> io::Result<OwnGroup> {
        let limit = self.descriptors.map(|most| (most, most)).or_else(descriptors::inherited);
        inherit(&mut command, inherited, limit);
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the child is gone already"))?;
        own(pid.cast_signed());
        let missing = || io::Error::other("the child has no output pipes");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        // When memory runs out, it can be replaced and this process cannot. The system may refuse.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), OOM_SCORE);
        Ok(OwnGroup { child, group: Pid::from_raw(pid.cast_signed()), stdout, stderr })
    }
}

/// Runs the worker. `python -m` and `python -c` look for modules in the current folder first, so a `types.py` there would
/// take the place of Python's own; `-P`, which turns that off, exists since Python 3.11 only.
const START: &str =
    "import sys; sys.path[:1] == [''] and sys.path.pop(0); from wallaroo.worker.__main__ import main; main()";

impl Process {
    /// Starts a worker.
    ///
    /// Call it from a thread that lives as long as the orchestrator: the worker is killed when the thread ends.
    pub fn spawn(interpreter: &Interpreter, generation: Generation) -> Result<(Self, Streams), SpawnError> {
        Self::try_spawn(interpreter, generation)
            .map_err(|source| SpawnError { python: interpreter.python.clone(), source })
    }

    fn try_spawn(interpreter: &Interpreter, generation: Generation) -> io::Result<(Self, Streams)> {
        let (ours, theirs) = UnixStream::pair()?;
        for end in [&ours, &theirs] {
            // The system may give less, which only costs time.
            let _ = setsockopt(end, sockopt::SndBuf, &SOCKET_BUFFER);
        }
        ours.set_nonblocking(true)?;
        let marker = MarkerFile::create()?;
        let mut command = interpreter.command(START, &worker_tag(generation));
        command
            .args(["--fd", &theirs.as_raw_fd().to_string()])
            .args(["--marker-fd", &marker.descriptor().to_string()])
            .args(["--progress-ms", &interpreter.progress_interval.as_millis().to_string()]);
        let child = interpreter.spawn(command, vec![theirs.as_raw_fd(), marker.descriptor()])?;
        drop(theirs);
        let OwnGroup { child, group, stdout, stderr } = child;
        Ok((Self { child, group, marker }, Streams { socket: halves(ours)?, stdout, stderr }))
    }

    /// The process id, which is its group's too.
    pub fn pid(&self) -> Pid {
        self.group
    }

    /// Waits until the process has ended and reaps it.
    ///
    /// # Cancel safety
    /// Safe: a new call goes on waiting.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        disown(self.group.as_raw());
        status
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        if self.child.id().is_some() {
            let _ = nix::sys::signal::kill(self.group, signal);
        }
    }

    /// Kills the whole group: the worker and what user code started. The worker is killed by its number too, since user code may
    /// have moved it to another group.
    pub fn kill(&self) {
        let _ = killpg(self.group, Signal::SIGKILL);
        self.signal(Signal::SIGKILL);
    }

    /// What the worker notes about itself.
    pub fn marker(&self) -> &MarkerFile {
        &self.marker
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After reaping, the number may belong to another group.
        if self.child.id().is_some() {
            self.kill();
        }
    }
}

/// Bytes of memory a process has resident; `None` once it is gone.
pub fn resident_bytes(pid: i32) -> Option<u64> {
    let memory = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = memory.split(' ').nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok()??;
    Some(pages * page.cast_unsigned())
}

/// What ended a process, from its status.
pub fn death_cause(status: ExitStatus) -> DeathCause {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => DeathCause::Exited(code),
        (None, Some(signal)) => DeathCause::Signalled(signal),
        (None, None) => DeathCause::Disconnected("ended without a status".to_owned()),
    }
}

/// Lets the child keep `descriptors`, ties its life to ours, and limits what it may open and leave behind.
#[expect(unsafe_code, reason = "the child can be prepared between fork and exec only here")]
fn inherit(command: &mut Command, descriptors: Vec<RawFd>, limit: Option<(u64, u64)>) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        for descriptor in &descriptors {
            // SAFETY: the descriptors are owned by the spawning function, which outlives the fork; in the child nothing closes them.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        if nix::unistd::getppid() != parent {
            return Err(io::Error::other("the orchestrator died meanwhile"));
        }
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
        if let Some((soft, hard)) = limit {
            setrlimit(Resource::RLIMIT_NOFILE, soft, hard)?;
        }
        Ok(())
    };
    // SAFETY: the closure only makes system calls that are safe between fork and exec: it neither allocates nor takes locks.
    unsafe { command.pre_exec(prepare) };
}

/// Keeps descriptors that this process itself inherited, beyond the standard three, from reaching workers.
#[expect(unsafe_code, reason = "descriptors inherited from our parent have no owner in this process")]
pub fn close_inherited_on_exec() {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let descriptors = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RawFd>().ok());
    for descriptor in descriptors.filter(|descriptor| *descriptor > 2).collect::<Vec<_>>() {
        // SAFETY: only a flag is changed; a descriptor closed meanwhile gives an error, which is ignored.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}
