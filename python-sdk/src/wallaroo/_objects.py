"""The user's classes: made into objects, named, and checked for the methods a step calls.

Every check is made when the application is built, so that a misspelt method is an error before the first message.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable

from wallaroo._errors import WallarooParameterError


def as_object(where: str, thing: Any) -> Any:
    """Return ``thing``, or an instance of it when it is a class: steps may be given as either."""
    if thing is None:
        raise WallarooParameterError(f"{where}: got None", hint="give a class or an instance of it")
    if not inspect.isclass(thing):
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
    _check_arity(where, thing, name, found, parameters)
    return found  # type: ignore[no-any-return]


def _check_arity(where: str, thing: Any, name: str, found: Callable[..., Any], parameters: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return  # Written in C without a signature: the first call will tell.
    try:
        signature.bind(*parameters)
    except TypeError:
        raise WallarooParameterError(
            f"{where}: {class_name(thing)}.{name}{signature} cannot be called with {_counted(parameters)}",
            hint=f"define it as {name}({', '.join(('self', *parameters))})",
        ) from None


def _counted(parameters: tuple[str, ...]) -> str:
    if not parameters:
        return "no argument"
    plural = "argument" if len(parameters) == 1 else "arguments"
    return f"{len(parameters)} {plural} ({', '.join(parameters)})"


def class_name(thing: Any) -> str:
    """Return the name of the class of ``thing``."""
    return type(thing).__name__


def qualified_name(thing: Any) -> str:
    """Return module and name of the class of ``thing``: the same in every worker of a run."""
    cls = type(thing)
    return f"{cls.__module__}.{cls.__qualname__}"


def step_name(where: str, thing: Any) -> str:
    """Return what ``thing`` calls itself by ``name()``, or the name of its class."""
    named = getattr(thing, "name", None)
    if named is None:
        return class_name(thing)
    given = named
    if callable(named):
        _check_arity(where, thing, "name", named, ())
        given = named()
    if not isinstance(given, str) or not given:
        raise WallarooParameterError(
            f"{where}: the name of {class_name(thing)} must be a non-empty str, got {given!r}",
            hint="return a str from name(), or leave name() out to use the name of the class",
        )
    return given
