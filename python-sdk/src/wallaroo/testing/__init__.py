"""Testing applications: in the test's own process, or as the real thing that loses its workers.

:func:`run` takes messages through an application's steps without ``wallaroo-orch``, by the code that workers run::

    import word_count
    import wallaroo.testing

    def test_words_are_counted():
        outcome = wallaroo.testing.run(word_count, ["to be"], args=["--in", "127.0.0.1:0", "--out", "127.0.0.1:1"])
        assert outcome.lines == ["to => 1", "be => 1"]

The fixtures ``wallaroo_orch`` and ``wallaroo_sink``, which pytest finds by itself, run it in worker processes that a
test may kill.
"""

from wallaroo.testing._check_sink import check_sink
from wallaroo.testing._check_source import check_source
from wallaroo.testing._in_process import InProcess, run
from wallaroo.testing._measured import Measured
from wallaroo.testing._orchestrator import Orchestrator, Sink, frames
from wallaroo.testing._outcome import DeadLetter, Outcome, RunStoppedError
from wallaroo.testing._states import UnsavedStateError, UnsavedStateWarning

__all__ = [
    "DeadLetter",
    "InProcess",
    "Measured",
    "Orchestrator",
    "Outcome",
    "RunStoppedError",
    "Sink",
    "UnsavedStateError",
    "UnsavedStateWarning",
    "check_sink",
    "check_source",
    "frames",
    "run",
]
