//! Both ends of a stream, in one process with one clock. Sends frames on one connection, receives newline-terminated
//! messages on any number of connections, and reports events on standard output, one JSON object per line.
//!
//! It shares the cores with the contender, so it does as little work as possible: frames are built before they are
//! needed, and received data is only searched for newlines.

mod consumer;
mod corpus;
mod latency;
mod marker;
mod sender;
mod throughput;

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::consumer::Consumer;

/// Measures what is between two TCP connections.
#[derive(Debug, Parser)]
struct Args {
    /// Where to send
    #[arg(long)]
    to: SocketAddr,
    /// Where to listen for what comes out
    #[arg(long)]
    listen: SocketAddr,
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Debug, Subcommand)]
enum Measure {
    /// As fast as it goes
    Throughput(throughput::Args),
    /// At a rate, each message at its time whatever has happened to the ones before
    Latency(latency::Args),
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let consumer = Consumer::listen(args.listen)?;
    tell(&serde_json::json!({ "event": "listening" }))?;
    match &args.measure {
        Measure::Throughput(measure) => throughput::run(args.to, consumer, measure),
        Measure::Latency(measure) => latency::run(args.to, consumer, measure),
    }
}

/// Reports to the harness.
fn tell(what: &Value) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{what}")?;
    output.flush()
}

/// Waits for a line from the harness, which meanwhile reads the counters of the contender.
fn wait_for_harness() -> io::Result<()> {
    match io::stdin().lock().read_line(&mut String::new())? {
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the harness has gone")),
        _ => Ok(()),
    }
}

/// The machine's monotonic clock in nanoseconds, which all processes share.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "the standard library's clock cannot be compared with another process's")]
    // SAFETY: the clock exists on every Linux, and `time` has room for one reading.
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
    }
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
