"""Any callable as a step: lambdas, bound methods, builtins, partials, classes, objects that can be called."""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any, Callable

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.computations import Computation, ComputationBatch, ComputationMulti, Step
from wallaroo._steps.decorated import Decorated
from wallaroo._steps.key_functions import KeyExtractor
from wallaroo._steps.objects import check_arity, check_async, check_name, check_not_async, is_generator, shown_type

_LAMBDA = "<lambda>"

_DECORATED_FOR: dict[str, type[Decorated[Any]]] = {
    "map": Computation,
    "flat_map": ComputationMulti,
    "map_batch": ComputationBatch,
    "key_by": KeyExtractor,
}
"""Verbs that take functions with a decorator of the same meaning."""


def callable_of(where: str, verb: str, function: Any, *parameters: str) -> Callable[..., Any]:
    """Return what a verb calls.

    Args:
        where: The verb's place, for errors.
        verb: Its name.
        function: What the user gave.
        parameters: Names of the arguments it will be called with.

    Raises:
        WallarooParameterError: It cannot be called with them, is async or for ``map_async`` is not, or is a step of
            another kind.
    """
    decorated_for = _DECORATED_FOR.get(verb)
    if decorated_for is not None and isinstance(function, decorated_for):
        return function.function  # type: ignore[no-any-return]
    if isinstance(function, (Decorated, Step)):
        raise WallarooParameterError(
            f"{where}: {shown_callable(function)} is {_what_is(function)} already", hint=_hint_for_step(verb, function)
        )
    if not callable(function):
        raise WallarooParameterError(
            f"{where}: the argument is {shown_type(function)}, not a function",
            hint=_hint_for_no_function(verb, function, parameters),
        )
    name = shown_callable(function)
    define_as = f"{name}({', '.join(parameters)})"
    if verb == "map_async":
        check_async(f"{where}: {name}", function, define_as)
    else:
        check_not_async(f"{where}: {name}", function, define_as, "use map_async, or " if verb == "map" else "")
    check_arity(f"{where}: {name}", function, define_as, parameters, _hint_for_arity(function, name, parameters))
    return function  # type: ignore[no-any-return]


def refuse_generator(where: str, function: Any, hint: str) -> None:
    """Raise an error if a function yields whose one result is used.

    Raises:
        WallarooParameterError: It yields.
    """
    if is_generator(function):
        raise WallarooParameterError(
            f"{where}: {shown_callable(function)} yields, and its result would be the generator itself", hint=hint
        )


def name_of(where: str, verb: str, function: Any, name: str | None) -> str:
    """Return the name of a step: what the user said, or else the function's, or the verb's for a lambda.

    Raises:
        WallarooParameterError: ``name`` is not a non-empty ``str`` of printable characters.
    """
    if name is not None:
        return check_name(f"{where}: name", name)
    found = function.name if isinstance(function, (Step, KeyExtractor)) else shown_callable(function)
    return found if found != _LAMBDA and found.isprintable() else verb


def shown_callable(function: Any) -> str:
    """Return the name of a function, of what is called by a partial or an object; other things as Python shows them."""
    while isinstance(function, partial):
        function = function.func
    name = getattr(function, "__name__", None)
    if isinstance(name, str) and name:
        return name
    text = repr(function) if isinstance(function, (str, bytes, int, float, type(None))) else type(function).__name__
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


_LONGEST_SHOWN = 60


def _what_is(decorated: Any) -> str:
    return "a step" if isinstance(decorated, Step) else "decorated"


def _hint_for_step(verb: str, step: Any) -> str:
    if isinstance(step, KeyExtractor):
        return "give a key function to key_by"
    if not isinstance(step, Step):
        return f"give {verb} a function without a decorator"
    if not isinstance(step, Decorated):
        return "add it with to(...)"
    return f"add it with to({shown_callable(step)}), or give {verb} the function without its decorator"


def _hint_for_arity(function: Any, name: str, parameters: tuple[str, ...]) -> str:
    arguments = ", ".join(parameters)
    if callable(getattr(function, "compute", None)):
        return f"give its method: {name}().compute"
    if isinstance(function, (FunctionType, MethodType)):
        write = f"write lambda {arguments}: ..." if name == _LAMBDA else f"define it as {name}({arguments})"
        return write if parameters != ("message",) else f"{write}; a message is one argument, also if it is a tuple"
    return f"give a function that calls it, such as lambda {arguments}: {name}(...)"


def _hint_for_no_function(verb: str, given: Any, parameters: tuple[str, ...]) -> str:
    example = f"lambda {', '.join(parameters)}: ..."
    if callable(getattr(given, "compute", None)):
        return f"give its method: {type(given).__name__}().compute"
    if isinstance(given, str) and len(parameters) == 1:
        field = f"lambda {parameters[0]}: {parameters[0]}[{given!r}]" if given.isidentifier() else example
        return f"give a function, such as {field}, and not a name or what a function returned"
    if verb == "key_by" and isinstance(given, (list, tuple)):
        fields = ", ".join(f"message[{field!r}]" for field in given)
        return f"for a key of several fields give a function that returns a tuple, as lambda message: ({fields})"
    if given is None or isinstance(given, (str, bytes, int, float)):
        return f"give {verb} the function itself, without calling it; for example {example}"
    return f"give {verb} a function, for example {example}"
