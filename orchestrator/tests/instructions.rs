//! The regression guard of the engine's and the codec's hot path: instructions a message, counted by valgrind, so that neither
//! the machine nor what else it does matters. `cargo test --test instructions`, which optimizes less than a release does.
//!
//! The program runs itself under callgrind, twice for each stream; what both runs have in common, starting and warming up, does
//! not count. Compilers differ by a few per cent, hence the tolerance. Where there is no valgrind nothing is checked.

#[path = "../benches/stream/mod.rs"]
mod stream;

use std::process::{Command, ExitCode};

use self::stream::{MESSAGES, Stream};

/// Slots, keys, and instructions a message. To be lowered when a change makes it faster, raised only for a reason.
const EXPECTED: [(u32, usize, u64); 6] =
    [(1, 25, 633), (1, 1000, 2008), (2, 25, 640), (2, 1000, 2014), (32, 25, 850), (32, 1000, 2500)];
/// Per cent by which a count may exceed what is expected.
const TOLERANCE: u64 = 10;
/// Rounds of the shorter and of the longer run.
const ROUNDS: (u64, u64) = (5, 25);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if let [_, flag, slots, keys, rounds] = words.as_slice()
        && flag == "--run"
        && let (Ok(slots), Ok(keys), Ok(rounds)) = (slots.parse(), keys.parse(), rounds.parse())
    {
        let mut stream = Stream::new(keys, slots);
        (0..rounds).for_each(|_: u64| stream.round());
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions of the engine: not counted, there is no valgrind here");
        return ExitCode::SUCCESS;
    }
    let mut worse = false;
    for (slots, keys, expected) in EXPECTED {
        let count = |rounds| instructions(slots, keys, rounds);
        let (Some(few), Some(many)) = (count(ROUNDS.0), count(ROUNDS.1)) else {
            eprintln!("error: valgrind did not say how many instructions {keys} keys took");
            return ExitCode::FAILURE;
        };
        let found = (many - few) / (ROUNDS.1 - ROUNDS.0) / u64::from(MESSAGES);
        println!(
            "instructions of the engine a message, {slots} slots, {keys} keys: {found}, expected {expected} (+{TOLERANCE} %)"
        );
        worse |= found * 100 > expected * (100 + TOLERANCE);
    }
    if worse {
        eprintln!("error: the engine takes more instructions than it did; see {}", file!());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What a run of so many rounds takes, as callgrind has it.
fn instructions(slots: u32, keys: usize, rounds: u64) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().ok()?)
        .args(["--run", &slots.to_string(), &keys.to_string(), &rounds.to_string()])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&output.stderr);
    let line = report.lines().find(|line| line.contains("Collected"))?;
    line.rsplit(' ').next()?.parse().ok()
}
