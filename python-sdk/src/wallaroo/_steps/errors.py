"""What happens where a step's function raises: ``on_error=`` and ``retries=`` of verbs and decorators.

Here they are checked; ``worker/_guarded.py`` does what they say.
"""

from __future__ import annotations

from typing import Any, Callable, Literal, NamedTuple, TypeVar, Union

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.objects import check_arity, check_not_async, shown_type

T = TypeVar("T")
R = TypeVar("R")

OnError = Union[Literal["dead-letter", "skip", "stop"], Callable[[T, Exception], R]]
"""``"dead-letter"``, ``"skip"``, ``"stop"``, or a function of the message and the exception whose result stands for the
step's."""


class ErrorPolicy(NamedTuple):
    """What a step does with an exception.

    ``handler`` is given the message and the exception, and returns what the step gives in place of its function;
    ``None``: nothing is given, if ``skips``, or else the message becomes a dead letter. ``retries``: how often the
    function is called again first. ``stops``: the run ends with the dead letter. ``atomic``: the state of a step is
    then as it was before the call.
    """

    handler: Callable[[Any, Exception], Any] | None
    skips: bool
    retries: int
    stops: bool = False
    atomic: bool = False


def error_policy(where: str, on_error: Any, retries: Any, atomic: Any = False) -> ErrorPolicy | None:
    """Return what the arguments of a step say, ``None`` for what every step does without them.

    Raises:
        WallarooParameterError: One of them is unusable.
    """
    if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
        shown = repr(retries) if isinstance(retries, int) else shown_type(retries)
        raise WallarooParameterError(
            f"{where}: retries is {shown}, not a number of tries", hint="give 0 or a larger int, such as retries=2"
        )
    if not isinstance(atomic, bool):
        raise WallarooParameterError(
            f"{where}: atomic is {shown_type(atomic)}, not a bool",
            hint="give atomic=True, and a message that fails leaves no trace in the state",
        )
    if isinstance(on_error, str) or not callable(on_error):
        if on_error not in _WORDS:
            raise WallarooParameterError(f"{where}: on_error is {on_error!r}", hint=_HINT)
        skips, stops = on_error == "skip", on_error == "stop"
        policy = ErrorPolicy(None, skips, retries, stops, atomic)
        return policy if skips or stops or retries or atomic else None
    name = f"{where}: on_error"
    check_not_async(name, on_error, "handle(message, error)")
    check_arity(name, on_error, "handle(message, error)", ("message", "error"))
    return ErrorPolicy(on_error, False, retries, atomic=atomic)


_WORDS = ("dead-letter", "skip", "stop")
_HINT = 'give "dead-letter", "skip", "stop", or a function of the message and the exception'
