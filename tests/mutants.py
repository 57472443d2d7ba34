"""Breaks the engine's rules one at a time and checks that the simulator fails: ``python -m tests.mutants [NAME ...]``.

Every mutant is one replacement in a copy of the sources. A mutant that survives is a rule without a test.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys

from tests.durable_mutants import DURABLE
from tests.harness.places import ROOT, TARGET
from tests.mutant import Mutant

COPY = TARGET / "mutants"


MUTANTS = {
    "order": Mutant(
        "results of parallel stages are released in source order",
        "order/mod.rs",
        "resequencer.held.remove(&resequencer.next)",
        "resequencer.held.pop_first().map(|(_, held)| held)",
    ),
    "handed-over-order": Mutant(
        "results of a pool's stages are released in the order in which their values were handed over",
        "batch.rs",
        "Origin::Frames { sequence, .. } | Origin::Values { sequence } => Some(sequence),\n            Origin::Groups",
        "Origin::Frames { sequence, .. } => Some(sequence),\n            Origin::Values { .. } | Origin::Groups",
    ),
    "pool": Mutant(
        "a worker is given batches of its own pool",
        "dispatch/mod.rs",
        "if self.plan.stages[stage.index()].pool != slot.pool",
        "if self.plan.stages[stage.index()].pool > slot.pool",
    ),
    "handed-over": Mutant("a run ends when all that was queued is done", "mod.rs", "&& self.routing.is_idle()", ""),
    "window": Mutant(
        "a worker has no more than its window of batches", "dispatch/mod.rs", "window: config.window,", "window: 9,"
    ),
    "stale": Mutant(
        "replies of former workers are dropped",
        "workers.rs",
        "matches!(self.slots[slot].seat, Seat::Seated(seated) | Seat::Retiring(seated) if seated == generation)",
        "{ let _ = generation; matches!(self.slots[slot].seat, Seat::Seated(_) | Seat::Retiring(_)) }",
    ),
    "withdrawn-counts": Mutant(
        "the answer to a withdrawn batch is dropped",
        "dispatch/withdrawal.rs",
        "is_some_and(|front| front.withdrawn)",
        "is_some_and(|front| front.withdrawn && front.batch.messages == 0)",
    ),
    "withdrawn-again": Mutant(
        "a withdrawn batch is not run again when its worker dies",
        "recovery/deaths.rs",
        "!abandoned.replay && !abandoned.withdrawn",
        "!abandoned.replay",
    ),
    "withdrawn-number": Mutant(
        "the copy of a withdrawn batch has a number of its own",
        "dispatch/withdrawal.rs",
        "Batch { id: self.number_batch(), ..copy }",
        "copy",
    ),
    "adopted-journal": Mutant(
        "what a slot takes over is in its journal",
        "recovery/adoption.rs",
        "self.recovery.ledger.append(*to, &part, entry.elapsed / messages * part.messages);",
        "let _ = messages;",
    ),
    "adopted-repeat": Mutant(
        "what was in flight in a slot without a worker is run by who takes it over",
        "recovery/adoption.rs",
        "self.recovery.slots[*to].repeat.push_back(part);",
        "drop(part);",
    ),
    "adopted-snapshot": Mutant(
        "a slot that is being saved takes nothing over",
        "change/relieving.rs",
        "&& !is_saving",
        "&& (!is_saving || is_saving)",
    ),
    "outage": Mutant(
        "a step at which message after message hangs is out, and they are not to blame",
        "recovery/outages.rs",
        "another || self.outage.is_some()",
        "another && self.outage.is_some()",
    ),
    "probe": Mutant(
        "what a probe gives does not count",
        "results.rs",
        "if self.dispatch.is_probe(slot) {",
        "if self.dispatch.is_probe(slot) && slot.number > 99 {",
    ),
    "held-back": Mutant(
        "what is in a slot's lanes comes after what is to be run again there",
        "dispatch/mod.rs",
        "if is_shared { late } else { held_back }",
        "is_shared && late",
    ),
    "given-up": Mutant(
        "what comes of a connection that was given up is dropped",
        "intake/cutting.rs",
        "if self.given_up.contains(&connection) {",
        "if self.given_up.contains(&connection) && bytes.is_empty() {",
    ),
    "letters": Mutant(
        "a stage stops while too many dead letters are not written",
        "dispatch/form.rs",
        "|| self.sinks.letter_bytes() < limit\n                && self.commit",
        "|| self.commit",
    ),
    "letters-last": Mutant(
        "a run ends when all dead letters are written",
        "sinks.rs",
        "self.letter_bytes == 0 && self.all_pending_bytes()",
        "self.all_pending_bytes()",
    ),
    "room": Mutant(
        "a stage stops while what it feeds is full",
        "dispatch/form.rs",
        "Target::Sink(sink) => self.sinks.pending_bytes(*sink) < limit,",
        "Target::Sink(_) => true,",
    ),
    "credit": Mutant(
        "a source gets all of its credit back",
        "intake/frame_queue.rs",
        "credit += front.charge;",
        "credit += front.charge / 2;",
    ),
    "retry": Mutant(
        "stateless batches of a dead worker are run by another",
        "recovery/mod.rs",
        "self.repeat[batch.stage.index()].push_front(batch);",
        "drop(batch);",
    ),
    "repeat-order": Mutant(
        "keyed batches of a dead worker are repeated in order",
        "recovery/deaths.rs",
        "Origin::Groups => self.recovery.slots[slot].repeat.push_front(batch)",
        "Origin::Groups => self.recovery.slots[slot].repeat.push_back(batch)",
    ),
    "replay": Mutant(
        "the journal is replayed",
        "recovery/deaths.rs",
        "recovery.replay = replay;",
        "drop::<std::collections::VecDeque<Batch>>(replay);",
    ),
    "replay-outputs": Mutant(
        "outputs of a replay are discarded",
        "dispatch/mod.rs",
        "message: batch.message(replay)",
        "message: batch.message(false)",
    ),
    "covered": Mutant(
        "a replay leaves out what snapshots cover",
        "recovery/ledger.rs",
        "is_some_and(|snapshot| snapshot.after >= id)",
        "is_some_and(|snapshot| snapshot.after > id)",
    ),
    "journal": Mutant(
        "completed stateful batches are journaled",
        "results.rs",
        "if self.plan.stages[batch.stage.index()].stateful {",
        "if self.plan.stages[batch.stage.index()].stateful && batch.id.0 % 7 != 0 {",
    ),
    "truncate": Mutant(
        "the journal keeps what is in no snapshot",
        "recovery/ledger.rs",
        "entry.batch.id < oldest",
        "entry.batch.id <= oldest",
    ),
    "empty": Mutant(
        "of a key without state it is known as long as a journal reaches back to it",
        "recovery/ledger.rs",
        "&& oldest.is_none_or(|oldest| *after < oldest)",
        "&& oldest.is_none_or(|_| true)",
    ),
    "restore": Mutant(
        "snapshots reach the worker that needs them",
        "recovery/ledger.rs",
        "snapshot.known_to = Some(worker);\n        Some(&snapshot.states)",
        "snapshot.known_to = Some(worker);\n        Some(if snapshot.after.0 % 5 == 0 { &[] } else { &snapshot.states })",
    ),
    "blame": Mutant(
        "only the message that kills is given up",
        "recovery/poison.rs",
        "|message| vec![message]",
        "|_| everything(batch)",
    ),
    "skip": Mutant("a message given up is not run again", "recovery/poison.rs", "batch.skip.push(*message);", ""),
    "hang": Mutant(
        "a batch past its deadline is ended",
        "recovery/deaths.rs",
        "alive + timeout <= now",
        "alive + timeout * 1000 <= now",
    ),
    "drain": Mutant("the run ends when everything has left", "mod.rs", "&& self.dispatch.is_idle()", ""),
    "generate": Mutant(
        "a generator's worker repeats nothing",
        "recovery/part.rs",
        "return is_kept(&key::nil()).then_some(batch);",
        "return Some(batch);",
    ),
    "late": Mutant(
        "a batch meets the watermark that the one before it has left",
        "time/mod.rs",
        "        self.advance_time(now);\n        Ok(())",
        "        Ok(())",
    ),
    "window-delay": Mutant(
        "what windows give is not late for windows below",
        "time/mod.rs",
        "let watermark = clock.done().minus(plan.delay);",
        "let watermark = clock.done();",
    ),
    "window-timers": Mutant(
        "what timers will give is not late for windows below",
        "time/mod.rs",
        "self.outstanding.earliest().into_iter().chain(timers).min()",
        "self.outstanding.earliest().into_iter().chain(timers.filter(|_| false)).min()",
    ),
    "under-way": Mutant(
        "values under way in a stage are not late below it",
        "time/mod.rs",
        "waiting.map_or(self.watermark, |waiting| waiting.min(self.watermark))",
        "waiting.map_or(self.watermark, |_| self.watermark)",
    ),
    "end-of-time": Mutant(
        "time ends when nothing is under way",
        "time/mod.rs",
        "if intake.has_ended(source) && !busy",
        "if intake.has_ended(source)",
    ),
    "end-floor": Mutant(
        "what windows give at the end is not late below",
        "time/mod.rs",
        "EventTime(deadline.0.saturating_sub(1)).min(self.last)",
        "EventTime(deadline.0.saturating_sub(1))",
    ),
    "arrival": Mutant(
        "what waits in a source holds its time back",
        "time/mod.rs",
        "let waiting = under_way.earliest().into_iter().chain(intake.first_arrival(source));",
        "let waiting = None.into_iter();",
    ),
    "open-windows": Mutant("a run ends when all windows have", "mod.rs", "&& self.time.is_idle()", ""),
    "replayed-times": Mutant(
        "a replayed group meets the watermark it met",
        "recovery/part.rs",
        "batch.times = batch.times.only(|index| kept_groups[index]);",
        "",
    ),
    "cut-order": Mutant(
        "one cut of a connection is outstanding at a time",
        "intake/cutting.rs",
        "if uncut.sent.is_some() || uncut.queued {\n            return;\n        }\n        if !uncut.tail",
        "if uncut.queued {\n            return;\n        }\n        if !uncut.tail",
    ),
    "hold": Mutant(
        "nothing is queued for the old slot of a partition on its way",
        "routing/mod.rs",
        "filter(|held| held.partitions.contains(&partition))",
        "filter(|held| held.partitions.contains(&partition) && stage.0 > 99)",
    ),
    "queued": Mutant(
        "what was queued for a partition moves with it",
        "routing/mod.rs",
        "lane.split_off(|group| partitions.contains(",
        "lane.split_off(|group| stage.id.0 > 99 && partitions.contains(",
    ),
    "changed": Mutant(
        "every changed key of a partition is saved before it moves",
        "change/scaling.rs",
        "changed.insert(key);",
        "if changed.is_empty() { changed.insert(key); }",
    ),
    "in-flight": Mutant(
        "batches in flight count as changes",
        "change/scaling.rs",
        "self.recovery.journal(wave.from).chain(sent)",
        "self.recovery.journal(wave.from).chain(sent.take(0))",
    ),
    "moved-away": Mutant(
        "a replay leaves out what has moved away",
        "recovery/deaths.rs",
        "self.routing.router().slot(partition) == slot && ",
        "",
    ),
    "forgotten": Mutant(
        "a state that was forgotten is restored when it comes back",
        "recovery/ledger.rs",
        "snapshot.known_to = None;",
        "",
    ),
    "woken": Mutant(
        "a slot is looked at again when something for it arrives",
        "results.rs",
        "self.dispatch.wake(slot);",
        "",
    ),
    "unparked": Mutant(
        "a slot is looked at again when there is room for its outputs",
        "dispatch/mod.rs",
        "changed.absorb(parked);",
        "",
    ),
    "missed": Mutant(
        "a worker is sent the snapshots of partitions that came to it",
        "recovery/snapshots.rs",
        "self.slots[slot].missed += keys;",
        "let _ = keys;",
    ),
    "whole-snapshot": Mutant(
        "a snapshot counts once it is whole",
        "recovery/snapshots.rs",
        "        if !more {\n            self.recovery.keep(slot, generation)?;",
        "        self.recovery.keep(slot, generation)?;\n        if !more {",
    ),
    "all-keys": Mutant(
        "all changed keys of a wave are saved, however many requests that takes",
        "change/scaling.rs",
        "if wave.stuck.is_none() && wave.unsaved.as_ref().is_some_and(|unsaved| !unsaved.is_empty()) {",
        "if wave.stuck.is_some() && wave.unsaved.is_none() {",
    ),
    "standstill": Mutant(
        "nobody is blamed for what the orchestrator did not hear while it stood still",
        "dispatch/mod.rs",
        "in_flight.alive = (in_flight.alive + gap).min(now);",
        "let _ = (&in_flight, gap, now);",
    ),
    "empty-group": Mutant(
        "a group without values is sent too",
        "routing/mod.rs",
        "let lane = &self.lanes[slot][stage.index()];\n        (!lane.is_empty())",
        "let lane = &self.lanes[slot][stage.index()];\n        (lane.messages() > 0)",
    ),
    "fatal-value": Mutant(
        "the values that a generator made before the one that kills who asks for it are kept",
        "recovery/poison.rs",
        "batch.messages = fatal.map_or(0, |fatal| fatal.origin);",
        "batch.messages = 0;",
    ),
    "progress": Mutant(
        "a batch that is slow but moves on is not hung",
        "dispatch/mod.rs",
        "front.alive = now;",
        "let _ = now;",
    ),
    "unsaved": Mutant(
        "a new worker is told which states it must not save",
        "recovery/snapshots.rs",
        "if unsaved.len() > 0 {",
        "if unsaved.len() > 30 {",
    ),
    "unloaded": Mutant(
        "a new worker is told which states it must not load",
        "recovery/snapshots.rs",
        "if self.unloadable.len() > 0 {",
        "if self.unloadable.len() > 30 {",
    ),
    "loading": Mutant(
        "who dies while it loads a state is not laid to a message",
        "recovery/deaths.rs",
        "self.recovery.note_fatal_loading(key, &death.cause, now);",
        "self.recovery.note_fatal_loading(&bytes::Bytes::new(), &death.cause, now);",
    ),
    "repeated": Mutant(
        "a partition waits for batches to be repeated",
        "change/scaling.rs",
        "if self.recovery.awaits_snapshot(slot) || !self.recovery.is_slot_idle(slot) {",
        "if self.recovery.awaits_snapshot(slot) || !self.recovery.has_replayed(slot) {",
    ),
    **DURABLE,
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
        path = COPY / mutant.folder / mutant.file
        original = path.read_text()
        if original.count(mutant.old) != 1:
            print(f"{name}: {mutant.old!r} is in {mutant.file} {original.count(mutant.old)} times, not once")
            return 1
        path.write_text(original.replace(mutant.old, mutant.new))
        verdict = run(mutant.test)
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
        # With new modification times, or cargo would treat a former mutant as up to date.
        ignore = shutil.ignore_patterns("target")
        shutil.copytree(ROOT / name, COPY / name, ignore=ignore, copy_function=shutil.copy)
    # Benchmarks and similar targets are not built here.
    manifest = (COPY / "Cargo.toml").read_text()
    (COPY / "Cargo.toml").write_text(re.sub(r"(?m)^exclude = .*$", "", manifest))


def run(test: "tuple[str, ...]" = ("--test", "simulator")) -> "str | None":
    """Runs the simulator, or other tests, on the copy; returns what it found, or ``None``."""
    environment = {**os.environ, "CARGO_TARGET_DIR": str(COPY / "target"), "WALLAROO_SEEDS": "20000"}
    command = ["cargo", "test", "--quiet", "--package", "wallaroo-orch", *test, "--", "--nocapture"]
    result = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True)
    if result.returncode == 0:
        return None
    if "--lib" in test:
        failed = re.search(r"panicked at [^\n]*\n([^\n]*)", result.stderr + result.stdout)
        if failed is None:
            raise SystemExit(f"the copy cannot be tested:\n{result.stderr[-3000:]}")
        return f"caught: {failed[1]}"
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
