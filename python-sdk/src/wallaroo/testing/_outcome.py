"""The outcome of a run: messages by sink, and dead letters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from wallaroo.testing._measured import Metrics


@dataclass(frozen=True)
class DeadLetter:
    """A message that a step could not process.

    Args:
        step: The step's name.
        key: The message's key, or ``None``.
        exception: The exception's class, with its module unless that is ``builtins``.
        message: What the exception says.
        traceback: Of the application's own code; empty where it did nothing but return what it must not.
        value: What the step was given: the frame, for a decoder; ``None`` when it cannot be pickled.
        shown_value: ``repr`` of that, cut.

    Example:
        >>> DeadLetter("invert", None, "ZeroDivisionError", "division by zero", "Traceback ...", "0", "'0'")
        DeadLetter(step='invert', key=None, exception='ZeroDivisionError', message='division by zero', value='0')
    """

    step: str
    key: Any
    exception: str
    message: str
    traceback: str = field(repr=False)
    value: Any
    shown_value: str = field(repr=False)


class RunStoppedError(Exception):
    """A message has failed in a step with ``on_error="stop"``, which ends the run.

    Args:
        dead_letter: The message, as a dead letter.

    Example:
        >>> letter = DeadLetter("invert", None, "ZeroDivisionError", "division by zero", "", "0", "'0'")
        >>> print(RunStoppedError(letter))
        step 'invert' has on_error="stop" and ended the run: ZeroDivisionError: division by zero
    """

    def __init__(self, dead_letter: DeadLetter) -> None:
        self.dead_letter = dead_letter
        said = f"{dead_letter.exception}: {dead_letter.message}\n{dead_letter.traceback}".rstrip()
        super().__init__(f'step {dead_letter.step!r} has on_error="stop" and ended the run: {said}')


@dataclass(frozen=True)
class Outcome:
    r"""The outcome of a run.

    Args:
        outputs: What every sink was given to write, message by message, by the sink's name: ``stdout``, ``file PATH``,
            ``tcp HOST:PORT`` or ``connector CLASS``; a second sink of one name has `` (2)`` after it. Messages are
            bytes, unless they were given to a connector without a codec.
        dead_letters: In the order in which they occurred.
        late: How many values came when all their windows were complete.
        metrics: What each metric of :mod:`wallaroo.metrics` has measured, by its name and then by the step's; ``None``
            is outside of steps. A metric that measured nothing has no steps.

    Example:
        >>> outcome = Outcome({"stdout": [b"to => 1\n", b"be => 1\n"]}, [])
        >>> outcome.lines
        ['to => 1', 'be => 1']
    """

    outputs: dict[str, list[Any]]
    dead_letters: list[DeadLetter]
    late: int = 0
    metrics: Metrics = field(default_factory=dict)

    @property
    def messages(self) -> list[Any]:
        """The messages of the only sink.

        Raises:
            ValueError: There are several sinks; use ``outputs``.
        """
        if len(self.outputs) != 1:
            raise ValueError(
                f"there are {len(self.outputs)} sinks: use outputs[name], with one of {list(self.outputs)}"
            )
        (messages,) = self.outputs.values()
        return messages

    @property
    def lines(self) -> list[str]:
        r"""The lines of text that the messages of the only sink are. A line ends with ``\n`` and nothing else."""
        lines = b"".join(self.messages).decode("utf-8").split("\n")
        return lines if lines[-1] else lines[:-1]
