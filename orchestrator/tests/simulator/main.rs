//! The engine's main test: it is driven through random interleavings of everything that can happen, and what comes out is
//! compared with what went in.
//!
//! A run is made from a seed alone. A failing seed is printed and can be run again:
//! `WALLAROO_SEED=4711 cargo test -p wallaroo-orch --test simulator`. `WALLAROO_SEEDS=1000000` runs that many, from
//! `WALLAROO_FROM` on; `WALLAROO_TRACE=1` prints every event and action.

mod check;
mod pooled;
mod random;
mod scenario;
mod tally;
mod windows;
mod worker;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use self::tally::Tally;
use self::world::World;

/// Seeds of an ordinary test run.
const SEEDS: u64 = 50_000;
/// Seeds beyond those that have found a fault: a record behind the last checkpoint of a run out of patience; a generator that has
/// ended before values that it had made.
const FAULTS: [u64; 2] = [567_370, 892_736];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64) -> Tally {
    World::new(seed).run()
}

#[test]
fn every_interleaving_keeps_the_promise() {
    if let Some(seed) = number("WALLAROO_SEED") {
        println!("seed {seed}: {:?}", run(seed));
        return;
    }
    let from = number("WALLAROO_FROM").unwrap_or(0);
    let seeds = number("WALLAROO_SEEDS").unwrap_or(SEEDS);
    let has_failed = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    std::panic::set_hook(Box::new(|_| {}));
    let tallies = std::thread::scope(|scope| {
        let part = |thread| {
            let has_failed = &has_failed;
            scope.spawn(move || {
                let mut total = Tally::default();
                let known = FAULTS.into_iter().filter(|seed| seed % threads == thread);
                for seed in known.chain((from + thread..from + seeds).step_by(threads as usize)) {
                    if has_failed.load(Ordering::Relaxed) {
                        break;
                    }
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(tally) => total.add(&tally),
                        Err(panic) => {
                            has_failed.store(true, Ordering::Relaxed);
                            return Err((seed, panic));
                        }
                    }
                }
                Ok(total)
            })
        };
        let handles: Vec<_> = (0..threads).map(part).collect();
        handles.into_iter().map(|handle| handle.join().expect("seeds catch their panics")).collect::<Vec<_>>()
    });
    let _ = std::panic::take_hook();
    let mut total = Tally::default();
    for tally in tallies {
        match tally {
            Ok(tally) => total.add(&tally),
            Err((seed, panic)) => {
                eprintln!("seed {seed} fails; run it alone with WALLAROO_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{seeds} seeds: {total:?}");
    // A simulator in which nothing goes wrong tests nothing.
    for (what, count) in total.accidents() {
        assert!(count > 0 || seeds < 1000, "no seed had {what}");
    }
}
