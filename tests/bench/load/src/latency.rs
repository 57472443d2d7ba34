//! Latency against offered load, without coordinated omission: the time of every message is fixed beforehand, and its
//! latency is measured from that time, even if the messages before it delayed its sending.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::consumer::{Consumer, Take};
use crate::corpus::{append_frame, messages};
use crate::marker::{Turns, mark, number};
use crate::sender::connect;
use crate::{now, tell, wait_for_harness};

/// How long to wait for missing outputs after the last message.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Messages, one a line, sent in turn
    input: PathBuf,
    /// The newline is part of the message
    #[arg(long)]
    keep_newline: bool,
    /// Messages a second
    #[arg(long)]
    rate: f64,
    /// Messages that are due at the same time and sent together
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    burst: u64,
    /// Messages to measure
    #[arg(long)]
    count: u64,
    /// Messages at the same rate before these
    #[arg(long, default_value_t = 0)]
    warm_up: u64,
    /// The mark comes first in a message, in place of as many of its bytes, instead of as its last word
    #[arg(long)]
    mark_first: bool,
    /// Another connection is made when one breaks, and what could not be sent is lost
    #[arg(long)]
    reconnect: bool,
}

/// The time at which each message came out; 0 means not yet.
type Arrivals = Arc<Vec<AtomicU64>>;

pub(crate) fn run(to: SocketAddr, consumer: Consumer, args: &Args) -> io::Result<()> {
    let corpus = messages(&args.input, args.keep_newline)?;
    let total = args.warm_up + args.count;
    let frames: Vec<Vec<u8>> = (0..total).map(|number| marked(&corpus, number, args)).collect();
    let arrivals: Arrivals = Arc::new((0..total).map(|_| AtomicU64::new(0)).collect());
    let (finished, all) = mpsc::channel();
    let shared = Arc::clone(&arrivals);
    let left = Arc::new(AtomicU64::new(total));
    let in_turns = !args.reconnect;
    consumer.start(move || Stamper {
        arrivals: Arc::clone(&shared),
        left: Arc::clone(&left),
        turns: in_turns.then(Turns::default),
        finished: finished.clone(),
    });
    precise_sleep();
    let mut stream = connect(to)?;
    wait_for_harness()?;
    let interval = 1e9 / args.rate;
    let began = now() + 1_000_000;
    let due = |index: u64| began + ((index - index % args.burst) as f64 * interval) as u64;
    let mut lateness = Vec::with_capacity((total / args.burst) as usize + 1);
    let mut told = !args.reconnect;
    for (index, frames) in (0..).step_by(args.burst as usize).zip(frames.chunks(args.burst as usize)) {
        let frames = frames.concat();
        sleep_until(due(index));
        lateness.push(now().saturating_sub(due(index)));
        if !told && index >= args.warm_up {
            told = true;
            tell(&serde_json::json!({ "event": "measuring" }))?;
        }
        while let Err(error) = stream.write_all(&frames) {
            if !args.reconnect {
                return Err(error);
            }
            stream = connect(to)?;
        }
    }
    let _ = all.recv_timeout(PATIENCE);
    report(args, &arrivals, &mut lateness, due)?;
    let _ = wait_for_harness();
    Ok(())
}

/// The frame of message `number`. Marks are used in turn, unless many messages may be lost.
fn marked(corpus: &[Vec<u8>], number: u64, args: &Args) -> Vec<u8> {
    let message = &corpus[number as usize % corpus.len()];
    let mark = mark(if args.reconnect { number } else { Turns::of(number) });
    let mut frame = Vec::with_capacity(message.len() + mark.len() + 5);
    if args.mark_first {
        let rest = message.get(mark.len()..).unwrap_or_default();
        append_frame(&[mark.as_slice(), rest].concat(), &mut frame);
    } else {
        append_frame(&[message.as_slice(), mark.as_slice()].join(&b' '), &mut frame);
    }
    frame
}

/// Records when marks come out.
struct Stamper {
    arrivals: Arrivals,
    left: Arc<AtomicU64>,
    /// `None` means that every mark has its message's own number.
    turns: Option<Turns>,
    finished: mpsc::Sender<()>,
}

impl Take for Stamper {
    fn take(&mut self, at: u64, lines: &[u8]) {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', lines) {
            let number = number(&lines[start..end]);
            start = end + 1;
            let number = number.map(|number| self.turns.as_mut().map_or(number, |turns| turns.find(number)));
            let place = number.and_then(|number| self.arrivals.get(number as usize));
            let first_time = place.is_some_and(|place| place.swap(at, Ordering::Relaxed) == 0);
            if first_time && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                // There is no receiver any more after the measurement.
                let _ = self.finished.send(());
            }
        }
    }
}

/// The reported percentiles, in percent.
const PERCENTILES: [f64; 8] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0];

fn report(args: &Args, arrivals: &Arrivals, lateness: &mut [u64], due: impl Fn(u64) -> u64) -> io::Result<()> {
    let mut latencies = Vec::with_capacity(args.count as usize);
    let mut times = Vec::with_capacity(args.count as usize);
    for index in args.warm_up..args.warm_up + args.count {
        let at = arrivals[index as usize].load(Ordering::Relaxed);
        if at != 0 {
            latencies.push(at.saturating_sub(due(index)));
            times.push(at);
        }
    }
    times.sort_unstable();
    let silence = times.windows(2).map(|pair| pair[1] - pair[0]).max();
    let lost = args.count - latencies.len() as u64;
    tell(&serde_json::json!({
        "event": "latencies", "rate": args.rate, "count": args.count, "lost": lost, "longest_silence": silence,
        "began": due(args.warm_up), "ended": times.last(),
        "percent": PERCENTILES, "latency": percentiles(&mut latencies), "sent_late": percentiles(lateness),
    }))
}

/// The percentile by nearest rank.
fn percentiles(values: &mut [u64]) -> Vec<Option<u64>> {
    values.sort_unstable();
    let rank = |percent: f64| ((percent / 100.0 * values.len() as f64).ceil() as usize).max(1) - 1;
    PERCENTILES.iter().map(|percent| values.get(rank(*percent)).copied()).collect()
}

/// Makes this thread's sleeps end on time, not up to 50 µs later.
fn precise_sleep() {
    #[expect(unsafe_code, reason = "the standard library has no call for it")]
    // SAFETY: changes only how precisely this thread is woken.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1);
    }
}

fn sleep_until(due: u64) {
    let time =
        libc::timespec { tv_sec: (due / 1_000_000_000).cast_signed(), tv_nsec: (due % 1_000_000_000).cast_signed() };
    #[expect(unsafe_code, reason = "the standard library sleeps for a time, not until one")]
    // SAFETY: `time` outlives the call. If a signal interrupts the sleep, the message is sent early by less than the
    // sleep.
    unsafe {
        libc::clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME, &raw const time, std::ptr::null_mut());
    }
}
