"""One rule of the engine or the log, and how it is broken."""

from dataclasses import dataclass

ENGINE = "orchestrator/src/engine"


@dataclass(frozen=True)
class Mutant:
    """One rule broken: ``old`` in ``file`` becomes ``new``."""

    rule: str
    file: str
    old: str
    new: str
    folder: str = ENGINE
    test: "tuple[str, ...]" = ("--test", "simulator")
