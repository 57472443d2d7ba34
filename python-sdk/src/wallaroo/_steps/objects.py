"""The user's objects: made from classes, named, and checked for the methods that a step calls.

Every check is made when the application is built, so that a misspelt method is an error before the first message.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any, Callable

from wallaroo._errors import WallarooParameterError

_DECORATORS = {"decode": "decoder", "header_length": "decoder", "encode": "encoder", "partition": "partition"}
"""The decorator whose functions stand for objects with a method."""

A_STEP = '@wallaroo.computation(name="...")'


ROUTINES = (
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)

# Built-in types whose methods encode and decode mean something else.
_TEXT = (str, bytes, bytearray)

# Bits of a code object's co_flags; the module inspect has them too.
_GENERATOR = 0x20
_COROUTINE = 0x80
_ASYNC_GENERATOR = 0x200


def as_object(where: str, thing: Any, decorator: str | None = A_STEP) -> Any:
    """Return ``thing``, or an instance of it when it is a class: steps may be given as either.

    Args:
        where: Its place, for the error.
        thing: A class or an object.
        decorator: The decorator that makes of a function what belongs here; ``None`` if there is none.

    Raises:
        WallarooParameterError: It cannot be a step: ``None``, text, a plain function, or a class that needs arguments.
    """
    if thing is None:
        raise WallarooParameterError(f"{where}: got None", hint="give a class or an instance of it")
    if isinstance(thing, _TEXT) or any(thing is kind for kind in _TEXT):
        raise WallarooParameterError(
            f"{where}: the argument is {shown_type(thing)}, whose methods are not those of a step",
            hint="give a class of your own, or a function with the decorator for its place",
        )
    if isinstance(thing, ROUTINES):
        raise WallarooParameterError(
            f"{where}: {class_name(thing)} is a plain function",
            hint=f"put {decorator} above it, or give a class" if decorator else "give a class",
        )
    if not isinstance(thing, type):
        return thing
    try:
        return thing()
    except Exception as error:
        raise WallarooParameterError(
            f"{where}: making an object of class {thing.__name__} raised {type(error).__name__}: {error}",
            hint=f"a class given as a step is called without arguments; give an object, {thing.__name__}(...), instead",
        ) from error


def method(where: str, thing: Any, name: str, *parameters: str) -> Callable[..., Any]:
    """Return the bound method ``name`` of ``thing``, once it is known to accept ``parameters``.

    Raises:
        WallarooParameterError: There is no such method, or it cannot be called with that many arguments.
    """
    found = optional_method(where, thing, name, *parameters)
    if found is None and hasattr(thing, "__wrapped__"):
        raise WallarooParameterError(
            f"{where}: {class_name(thing)} is decorated for another place, as {type(thing).__name__}",
            hint=f"decorate it with @wallaroo.{_DECORATORS[name]}",
        )
    if found is None:
        signature = f"{name}({', '.join(('self', *parameters))})"
        raise WallarooParameterError(
            f"{where}: {class_name(thing)} has no method {name}",
            hint=f"define {signature} in class {class_name(thing)}",
        )
    return found


def optional_method(where: str, thing: Any, name: str, *parameters: str) -> Callable[..., Any] | None:
    """Return the bound method ``name`` of ``thing``, or ``None`` when ``thing`` does not have it."""
    found = getattr(thing, name, None)
    if found is None:
        return None
    if not callable(found):
        raise WallarooParameterError(
            f"{where}: {class_name(thing)}.{name} is {type(found).__name__}, not a method",
            hint=f"define {name}({', '.join(('self', *parameters))}) in class {class_name(thing)}",
        )
    define_as = f"{name}({', '.join(('self', *parameters))})"
    described = f"{where}: {class_name(thing)}.{name}"
    check_not_async(described, found, define_as)
    if is_generator(found) and (name != "compute_multi" or "state" in parameters):
        result = "has no result (output, state_changed)" if "state" in parameters else "its result is a generator"
        may_yield = "; a compute_multi(self, data) may yield" if name in ("compute", "compute_multi") else ""
        raise WallarooParameterError(f"{described} yields, and {result}", hint=f"return the result{may_yield}")
    check_arity(described, found, define_as, parameters)
    return found  # type: ignore[no-any-return]


def check_not_async(described: str, found: Callable[..., Any], define_as: str, instead: str = "") -> None:
    """Raise an error if ``found`` is an ``async def``.

    Args:
        described: Its place and name, for the error.
        found: The function, or bound method.
        define_as: What its definition should look like.
        instead: What to do about it otherwise, for the hint.

    Raises:
        WallarooParameterError: ``found`` is async.
    """
    if is_async(found):
        raise WallarooParameterError(
            f"{described} is async, and nothing would await it", hint=f"{instead}define it as: def {define_as}"
        )


def check_async(described: str, found: Callable[..., Any], define_as: str) -> None:
    """Raise an error if ``found`` certainly returns nothing that can be awaited.

    A lambda, a decorated function and an object may return an awaitable: only their first call tells.

    Raises:
        WallarooParameterError: ``found`` is a plain function, or yields.
    """
    if _flags(found) & _ASYNC_GENERATOR:
        raise WallarooParameterError(f"{described} yields, and nothing would iterate", hint="return the result")
    while isinstance(found, (partial, MethodType)):
        found = found.func if isinstance(found, partial) else found.__func__
    is_wrapper = hasattr(found, "__wrapped__") or getattr(found, "__name__", "") == "<lambda>"
    if isinstance(found, (type, *ROUTINES)) and not is_async(found) and not is_wrapper:
        raise WallarooParameterError(
            f"{described} is not async: it would be awaited",
            hint=f"define it as: async def {define_as}, or use map for a function that returns its result",
        )


def check_arity(
    described: str, found: Callable[..., Any], define_as: str, parameters: tuple[str, ...], hint: str | None = None
) -> None:
    """Raise an error unless a function can be called with ``parameters``.

    Args:
        described: Its place and name, for the error.
        found: The function, or bound method.
        define_as: What its definition should look like.
        parameters: Names of the arguments it will be given, by position.
        hint: What to do about it; to define it so, if it is left out.

    Raises:
        WallarooParameterError: It takes fewer arguments, or needs more.
    """
    if _plainly_takes(found, len(parameters)) or _takes_in_c(found, len(parameters)):
        return
    signature = _signature(found)
    if signature is None:
        return  # Written in C without a signature: the first call will tell.
    if not _binds(signature, parameters):
        shown = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        raise WallarooParameterError(
            f"{described}{shown} cannot be called with {_counted(parameters)}",
            hint=f"define it as {define_as}" if hint is None else hint,
        )


def takes(found: Any, *parameters: str) -> bool:
    """Whether a function takes as many arguments, and asks for the last: it has that name, or no default."""
    fewer = len(parameters) - 1
    if not callable(found) or _plainly_takes(found, fewer) or _takes_in_c(found, fewer):
        return False
    signature = _signature(found)
    if signature is None:
        return False
    names = list(signature.parameters)
    return _binds(signature, parameters) and (names[-1:] == [parameters[-1]] or not _binds(signature, parameters[:-1]))


def _binds(signature: Any, arguments: Sequence[Any]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True


def _signature(found: Any) -> Any:
    """Return the signature of a function, ``None`` if it has none that can be read."""
    import inspect  # Imported here because it takes a tenth of a worker's start.

    try:
        # Of the function itself: a decorator made with functools.wraps may give the wrapped one further arguments.
        return inspect.signature(found, follow_wrapped=False)
    except (TypeError, ValueError):
        return None


def _plainly_takes(found: Any, count: int) -> bool:
    """Whether ``found`` certainly takes exactly ``count`` arguments. ``False`` if that needs a closer look."""
    metaclass: Any = type(found)
    if metaclass is type and found.__new__ is object.__new__:
        if found.__init__ is object.__init__:
            return count == 0
        found, count = found.__init__, count + 1
    if isinstance(found, MethodType):
        found, count = found.__func__, count + 1
    if not isinstance(found, FunctionType):
        return False
    code = found.__code__
    return code.co_argcount == count and not code.co_kwonlyargcount


def _takes_in_c(found: Any, count: int) -> bool:
    """Whether what is written in C takes ``count`` arguments or does not say. ``False`` if that needs a closer look."""
    is_routine = isinstance(found, (BuiltinFunctionType, MethodDescriptorType))
    if not _IN_C or not (is_routine or _is_class_in_c(found) or type(found).__module__ == "operator"):
        return False
    text = getattr(found, "__text_signature__", None)
    if text is None:
        return True
    names = text[1:-1].replace("/, ", "").replace(", /", "").split(", ")
    if names[0].startswith("$") and not isinstance(found, MethodDescriptorType):
        # The object or module that the function is bound to.
        del names[0]
    by_position = list(takewhile(lambda name: not name.startswith("*"), names))
    at_most = count if any(name.startswith("*") and name != "*" for name in names) else len(by_position)
    return sum("=" not in name for name in by_position) <= count <= at_most


def _is_class_in_c(found: Any) -> bool:
    return type(found) is type and not found.__flags__ & _HEAP_TYPE


_IN_C = sys.implementation.name == "cpython"
_HEAP_TYPE = 1 << 9
"""Of classes that are defined in Python, in ``__flags__``."""


def is_generator(function: Any) -> bool:
    """Whether ``function`` yields."""
    return bool(_flags(function) & _GENERATOR)


def yields(function: Any) -> bool:
    """Whether ``function`` yields, async or not."""
    return bool(_flags(function) & (_GENERATOR | _ASYNC_GENERATOR))


def is_async(function: Any) -> bool:
    """Whether ``function`` is an ``async def``."""
    return bool(_flags(function) & (_COROUTINE | _ASYNC_GENERATOR))


def _flags(function: Any) -> int:
    while isinstance(function, (partial, MethodType)):
        function = function.func if isinstance(function, partial) else function.__func__
    if not isinstance(function, (type, *ROUTINES)):
        # An object that can be called.
        function = next((vars(kind)["__call__"] for kind in type(function).__mro__ if "__call__" in vars(kind)), None)
    return getattr(getattr(function, "__code__", None), "co_flags", 0)


def _counted(parameters: tuple[str, ...]) -> str:
    if not parameters:
        return "no argument"
    plural = "argument" if len(parameters) == 1 else "arguments"
    return f"{len(parameters)} {plural} ({', '.join(parameters)})"


def class_name(thing: Any) -> str:
    """Return the name of the class of ``thing``, or the name of a decorated function."""
    return str(getattr(thing, "__name__", type(thing).__name__))


def qualified_name(definition: Any) -> str:
    """Return module and name of a class or function. They are the same in every worker of a run."""
    if not hasattr(definition, "__qualname__"):
        definition = type(definition)
    return f"{definition.__module__}.{definition.__qualname__}"


def step_name(where: str, thing: Any) -> str:
    """Return the result of ``thing.name()``, or else the name of its class."""
    named = getattr(thing, "name", None)
    if named is None:
        return class_name(thing)
    given = named
    if callable(named):
        check_arity(f"{where}: {class_name(thing)}.name", named, "name(self)", ())
        given = named()
    if not isinstance(given, str) or not given:
        raise WallarooParameterError(
            f"{where}: the name of {class_name(thing)} must be a non-empty str, got {given!r}",
            hint="return a str from name(), or leave name() out to use the name of the class",
        )
    return given


def check_name(where: str, name: Any) -> str:
    """Return ``name``. Raise an error unless people can read it in a log.

    Raises:
        WallarooParameterError: It is not a non-empty ``str`` of printable characters.
    """
    if not isinstance(name, str) or not name or not name.isprintable():
        raise WallarooParameterError(
            f"{where} must be a non-empty str of printable characters, got {name!r}", hint="give it a name people know"
        )
    return name


def as_list(where: str, sequence: Any) -> list[Any]:
    """Return ``sequence`` as a list. Raise an error unless it is a sequence.

    Raises:
        WallarooParameterError: It cannot be iterated, or is text.
    """
    if isinstance(sequence, (str, bytes)):
        raise WallarooParameterError(f"{where} is {shown_type(sequence)}, not a list", hint="give a list")
    try:
        return list(sequence)
    except TypeError:
        raise WallarooParameterError(f"{where} is {shown_type(sequence)}, not a list", hint="give a list") from None


def shown_step(thing: Any) -> str:
    """Return the name of a class, of an object's class, or of a function."""
    return thing.__name__ if isinstance(thing, type) else class_name(thing)


def shown_type(thing: Any) -> str:
    """Describe the type of ``thing``, for an error that says what was expected instead."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    if isinstance(thing, FunctionType):
        return f"the function {thing.__name__}"
    return f"of type {type(thing).__name__}"
