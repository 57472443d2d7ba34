"""Breaks each rule of the engine, one at a time, and shows that the simulator notices: ``python -m tests.mutants [NAME ...]``.

Every mutant is one replacement in a copy of the sources. A mutant that survives is a rule without a test.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

from tests.harness.places import ROOT, TARGET

COPY = TARGET / "mutants"
ENGINE = "orchestrator/src/engine"


@dataclass(frozen=True)
class Mutant:
    """One rule broken: ``old`` in ``file`` becomes ``new``."""

    rule: str
    file: str
    old: str
    new: str


MUTANTS = {
    "order": Mutant(
        "results of parallel stages are released in source order",
        "parallel.rs",
        "let (bytes, finished) = self.held.remove(&self.released)?;",
        "let (bytes, finished) = self.held.pop_first()?.1;",
    ),
    "handed-over-order": Mutant(
        "results of a pool's stages are released in the order in which their values were handed over",
        "batch.rs",
        "Origin::Frames { sequence, .. } | Origin::Values { sequence } => Some(sequence),\n            Origin::Groups",
        "Origin::Frames { sequence, .. } => Some(sequence),\n            Origin::Values { .. } | Origin::Groups",
    ),
    "pool": Mutant(
        "a worker is given batches of its own pool",
        "dispatch.rs",
        "self.plan.stages[stage].pool == slot.pool",
        "self.plan.stages[stage].pool <= slot.pool",
    ),
    "handed-over": Mutant(
        "a run ends when all that was handed over is done", "mod.rs", "&& self.values.is_empty()", ""
    ),
    "window": Mutant("a worker has no more than its window of batches", "dispatch.rs", "0..self.config.window", "0..9"),
    "stale": Mutant(
        "replies of former workers are dropped",
        "slot.rs",
        "matches!(self.seat, Seat::Seated(seated) | Seat::Retiring(seated) if seated == generation)",
        "{ let _ = generation; matches!(self.seat, Seat::Seated(_) | Seat::Retiring(_)) }",
    ),
    "room": Mutant(
        "a stage stops while what it feeds is full",
        "dispatch.rs",
        "Target::Sink(sink) => self.sinks[sink.index()].pending_bytes < limit,",
        "Target::Sink(_) => true,",
    ),
    "credit": Mutant(
        "a source gets all of its credit back",
        "parallel.rs",
        "released += front.charge;",
        "released += front.charge / 2;",
    ),
    "retry": Mutant(
        "stateless batches of a dead worker are run by another",
        "recovery.rs",
        "self.stages[abandoned.work.stage.index()].retry.push_front(abandoned.work)",
        "drop(abandoned.work)",
    ),
    "repeat-order": Mutant(
        "keyed batches of a dead worker are repeated in order",
        "recovery.rs",
        "Origin::Groups => repeat.push_front(abandoned.work)",
        "Origin::Groups => repeat.push_back(abandoned.work)",
    ),
    "replay": Mutant("the journal is replayed", "recovery.rs", "state.replay = replay.into();", "drop(replay);"),
    "replay-outputs": Mutant(
        "outputs of a replay are discarded",
        "dispatch.rs",
        "message: work.message(replay)",
        "message: work.message(false)",
    ),
    "covered": Mutant(
        "a replay leaves out what snapshots cover", "recovery.rs", "snapshot.after >= batch", "snapshot.after > batch"
    ),
    "journal": Mutant(
        "completed stateful batches are journaled",
        "mod.rs",
        "if stage.stateful {",
        "if stage.stateful && work.batch.0 % 7 != 0 {",
    ),
    "truncate": Mutant(
        "the journal keeps what is in no snapshot",
        "ledger.rs",
        "entry.work.batch < oldest",
        "entry.work.batch <= oldest",
    ),
    "empty": Mutant(
        "of a key without state it is known as long as a journal reaches back to it",
        "ledger.rs",
        "&& oldest.is_none_or(|oldest| *after < oldest)",
        "&& oldest.is_none_or(|_| true)",
    ),
    "restore": Mutant(
        "snapshots reach the worker that needs them",
        "snapshots.rs",
        "snapshot.known_to = Some(generation);\n            for",
        "if snapshot.after.0 % 5 == 0 { continue; }\n            for",
    ),
    "blame": Mutant(
        "only the message that kills is given up",
        "poison.rs",
        "|message| vec![message]",
        "|_| everything(work)",
    ),
    "skip": Mutant("a message given up is not run again", "poison.rs", "work.skip.push(*message);", ""),
    "hang": Mutant(
        "a batch past its deadline is ended", "recovery.rs", "deadline <= now", "deadline + timeout * 1000 <= now"
    ),
    "drain": Mutant("the run ends when everything has left", "mod.rs", "self.slots.iter().all(Slot::is_idle)", "true"),
    "generate": Mutant(
        "a generator's worker repeats nothing",
        "recovery.rs",
        "if matches!(work.origin, Origin::Generate) {\n            return",
        "if matches!(work.origin, Origin::Generate) {\n            return Some(work);\n            #[expect(unreachable_code)]\n            return",
    ),
    "late": Mutant(
        "a batch meets the watermark that the one before it has left",
        "watermark.rs",
        "        self.advance_time(now);\n    }\n\n    /// Notes that nobody",
        "    }\n\n    /// Notes that nobody",
    ),
    "window-delay": Mutant(
        "what windows give is not late for windows below",
        "watermark.rs",
        "let watermark = clock.done().minus(plan.delay);",
        "let watermark = clock.done();",
    ),
    "window-timers": Mutant(
        "what timers will give is not late for windows below",
        "watermark.rs",
        "self.outstanding.earliest().into_iter().chain(timers).min()",
        "self.outstanding.earliest().into_iter().chain(timers.filter(|_| false)).min()",
    ),
    "under-way": Mutant(
        "values under way in a stage are not late below it",
        "watermark.rs",
        "waiting.map_or(self.watermark, |waiting| waiting.min(self.watermark))",
        "waiting.map_or(self.watermark, |_| self.watermark)",
    ),
    "end-of-time": Mutant(
        "time ends when nothing is under way",
        "watermark.rs",
        "if state.ended && !busy",
        "if state.ended",
    ),
    "end-floor": Mutant(
        "what windows give at the end is not late below",
        "watermark.rs",
        "EventTime(deadline.0.saturating_sub(1)).min(self.last)",
        "EventTime(deadline.0.saturating_sub(1))",
    ),
    "arrival": Mutant(
        "what waits in a source holds its time back",
        "watermark.rs",
        "let waiting = under_way.earliest().into_iter().chain(state.queue.first_arrival());",
        "let waiting = None.into_iter();",
    ),
    "open-windows": Mutant("a run ends when all windows have", "mod.rs", " && self.clock.timers.is_empty()", ""),
    "replayed-times": Mutant(
        "a replayed group meets the watermark it met",
        "recovery.rs",
        "work.times = work.times.only(|index| is_kept[index]);",
        "",
    ),
    "cut-order": Mutant(
        "one cut of a connection is outstanding at a time",
        "cutting.rs",
        "uncut.sent.is_none() && !uncut.listed",
        "!uncut.listed",
    ),
    "hold": Mutant(
        "nothing is queued for the old slot of a partition on its way",
        "moving.rs",
        "Some(wave) if wave.partitions.contains(&partition) =>",
        "Some(wave) if wave.partitions.contains(&partition) && stage.0 > 99 =>",
    ),
    "queued": Mutant(
        "what was queued for a partition moves with it",
        "moving.rs",
        "lane.split_off(|group| partitions.contains(",
        "lane.split_off(|group| stage.id.0 > 99 && partitions.contains(",
    ),
    "changed": Mutant(
        "every changed key of a partition is saved before it moves",
        "moving.rs",
        "changed.insert(key);",
        "if changed.is_empty() { changed.insert(key); }",
    ),
    "in-flight": Mutant(
        "batches in flight count as changes",
        "moving.rs",
        "completed.chain(sent)",
        "completed.chain(sent.take(0))",
    ),
    "moved-away": Mutant(
        "a replay leaves out what has moved away",
        "recovery.rs",
        "self.router.slot(partition) != slot\n                ||",
        "",
    ),
    "forgotten": Mutant(
        "a state that was forgotten is restored when it comes back",
        "snapshots.rs",
        "snapshot.known_to = None;",
        "",
    ),
    "repeated": Mutant(
        "a partition waits for batches to be repeated",
        "moving.rs",
        "if !slot.replay.is_empty() || !slot.repeat.is_empty() {",
        "if !slot.replay.is_empty() {",
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MUTANTS)} [default: all]")
    options = parser.parse_args()
    copy_sources()
    verdict = run()
    if verdict is not None:
        print(f"the simulator fails without a mutation: {verdict}")
        return 1
    survivors = []
    for name in options.names or MUTANTS:
        mutant = MUTANTS[name]
        path = COPY / ENGINE / mutant.file
        original = path.read_text()
        if original.count(mutant.old) != 1:
            print(f"{name}: {mutant.old!r} is in {mutant.file} {original.count(mutant.old)} times, not once")
            return 1
        path.write_text(original.replace(mutant.old, mutant.new))
        verdict = run()
        path.write_text(original)
        print(f"{name}: {mutant.rule}: {verdict or 'SURVIVED'}", flush=True)
        if verdict is None:
            survivors.append(name)
    print(f"{len(survivors)} survived" + (f": {', '.join(survivors)}" if survivors else ""))
    return 1 if survivors else 0


def copy_sources():
    shutil.rmtree(COPY / "orchestrator", ignore_errors=True)
    shutil.rmtree(COPY / "protocol", ignore_errors=True)
    COPY.mkdir(parents=True, exist_ok=True)
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy2(ROOT / name, COPY / name)
    for name in ("orchestrator", "protocol"):
        # With new times: cargo would take a former mutant for up to date.
        ignore = shutil.ignore_patterns("target")
        shutil.copytree(ROOT / name, COPY / name, ignore=ignore, copy_function=shutil.copy)
    # Benchmarks and the like are not built here.
    manifest = (COPY / "Cargo.toml").read_text()
    (COPY / "Cargo.toml").write_text(re.sub(r"(?m)^exclude = .*$", "", manifest))


def run() -> "str | None":
    """Runs the simulator on the copy; says what it found, or ``None``."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(COPY / "target"), "WALLAROO_SEEDS": "20000"}
    command = ["cargo", "test", "--quiet", "--package", "wallaroo-orch", "--test", "simulator", "--", "--nocapture"]
    result = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True)
    if result.returncode == 0:
        return None
    seed = re.search(r"^seed (\d+) fails", result.stderr + result.stdout, re.MULTILINE)
    unused = re.search(r"no seed had [^\n]*", result.stderr + result.stdout)
    if unused is not None:
        return f"caught over all seeds: {unused[0]}"
    if seed is None:
        raise SystemExit(f"the copy cannot be tested:\n{result.stderr[-3000:]}")
    again = subprocess.run(
        command, cwd=COPY, env={**environment, "WALLAROO_SEED": seed[1]}, capture_output=True, text=True
    )
    panic = re.search(r"panicked at [^\n]*\n([^\n]*)", again.stderr + again.stdout)
    return f"caught by seed {seed[1]}: {panic[1] if panic else 'it does not end'}"


if __name__ == "__main__":
    sys.exit(main())
