"""Rules of durable runs, each broken: see ``tests.mutants``."""

from tests.mutant import Mutant

#: The tests of the log on disk.
LOG = {"folder": "orchestrator/src/log", "test": ("--lib", "log::tests")}

DURABLE = {
    "early-release": Mutant(
        "nothing leaves before its record is durable",
        "commit.rs",
        "let held = leaving(lsn, outcome).chain(self.acknowledgements(batch)).map(|action| (lsn, action));",
        "actions.extend(leaving(lsn, outcome)); let held = self.acknowledgements(batch).map(|action| (lsn, action));",
    ),
    "early-acknowledgement": Mutant(
        "nothing is acknowledged before its record is durable",
        "commit.rs",
        "let held = leaving(lsn, outcome).chain(self.acknowledgements(batch)).map(|action| (lsn, action));",
        "actions.extend(self.acknowledgements(batch)); let held = leaving(lsn, outcome).map(|action| (lsn, action));",
    ),
    "position": Mutant(
        "a source goes on behind the last frame that was released",
        "intake/frame_queue.rs",
        "queued.block.position_after(queued.next + taken as usize - 1)",
        "queued.block.position_after(queued.next)",
    ),
    "checkpoint-timers": Mutant(
        "timers are in checkpoints",
        "restart.rs",
        "queue: begun.chain(waiting).collect(), timers }",
        "queue: begun.chain(waiting).collect(), timers: timers.into_iter().skip(1).collect() }",
    ),
    "checkpoint-begun": Mutant(
        "groups in batches that are not released are in checkpoints",
        "restart.rs",
        "queue: begun.chain(waiting).collect(), timers }",
        "queue: { drop(begun); waiting.collect() }, timers }",
    ),
    "checkpoint-covered": Mutant(
        "what stored states cover is not in the journal of a checkpoint",
        "restart.rs",
        "let Some(part) = self.uncovered(slot, batch.clone()) else { continue };",
        "let part = batch.clone();",
    ),
    "checkpoint-cleared": Mutant(
        "a state that is gone is removed from the store",
        "recovery/ledger.rs",
        "self.note_change(partition, &key, &table.into());",
        "",
    ),
    "checkpoint-verdicts": Mutant(
        "states that are fatal to load are known to the next engine",
        "commit.rs",
        "unloadable: self.recovery.take_verdicts(),",
        "unloadable: Vec::new(),",
    ),
    "end-unsaved": Mutant(
        "a run that has time to end saves all states",
        "mod.rs",
        "let is_saving = !self.is_out_of_patience(now) && self.save_at_end(now, actions);",
        "let is_saving = false;",
    ),
    "generator-end": Mutant(
        "a generator ends with the batch that had its last value",
        "commit.rs",
        "Consumed::Generated { source, input: batch.input.clone(), ended: batch.ends_generator }",
        "Consumed::Generated { source, input: batch.input.clone(), ended: self.intake.has_ended(source) }",
    ),
    "suspended-time": Mutant(
        "a run that is suspended does not end windows",
        "time/mod.rs",
        "if intake.has_ended(source) && !busy && !self.is_suspended {",
        "if intake.has_ended(source) && !busy {",
    ),
    "log-sync": Mutant(
        "records are synced before they are called durable",
        "segment.rs",
        "        self.file.sync().map_err(|source| LogError::sync(&self.path, source))?;\n        self.offset",
        "        self.offset",
        **LOG,
    ),
    "log-store": Mutant(
        "a checkpoint is stored only once its records are durable",
        "writer.rs",
        "if self.waiting.front()?.lsn <= durable { self.waiting.pop_front() } else { None }",
        "{ let _ = durable; self.waiting.pop_front() }",
        **LOG,
    ),
    "log-cut": Mutant(
        "segments with records above the checkpoint are kept",
        "recovery.rs",
        "let count = covered(segments, checkpoint);\n    for first",
        "let count = (covered(segments, checkpoint) + 1).min(segments.len().saturating_sub(1));\n    for first",
        **LOG,
    ),
}
