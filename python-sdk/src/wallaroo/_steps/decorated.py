"""Decorated functions: what the decorators of generations 2 and 3 return, and their checks.

A decorated function can still be called. It is checked when it is defined, so that a wrong parameter is an error of
the import and not of the first message.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, TypeVar

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.objects import check_arity, check_name, check_not_async, shown_type

F = TypeVar("F", bound=Callable[..., Any], covariant=True)

_COPIED = ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__")


class Decorated(Generic[F]):
    """A function with the settings of its decorator.

    Args:
        decorator: The decorator's name, for errors.
        function: The user's function.
        parameters: Names of the arguments it will be called with.
    """

    function: F

    def __init__(self, decorator: str, function: F, *parameters: str) -> None:
        where = f"@wallaroo.{decorator}"
        check_function(where, function, *parameters)
        self.function = function
        for attribute in _COPIED:
            if hasattr(function, attribute):
                setattr(self, attribute, getattr(function, attribute))
        # inspect.signature and doctest follow this.
        self.__wrapped__ = function

    def __reduce__(self) -> str:
        """Pickle by name, as functions are."""
        return str(self.__wrapped__.__qualname__)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {shown_name(self.function)}>"


def check_function(where: str, function: Any, *parameters: str) -> None:
    """Raise an error unless ``function`` can be called with ``parameters`` and returns a plain result.

    Raises:
        WallarooParameterError: It is not a function, takes other arguments, or is async.
    """
    signature = f"({', '.join(parameters)})"
    if isinstance(function, Decorated):
        raise WallarooParameterError(
            f"{where}: {shown_name(function)} is decorated already", hint="one decorator of wallaroo is enough"
        )
    if not callable(function) or isinstance(function, type):
        raise WallarooParameterError(
            f"{where}: what it decorates is {shown_type(function)}, not a function",
            hint=f"put it above: def function{signature}",
        )
    name = shown_name(function)
    check_not_async(f"{where}: {name}", function, name + signature)
    check_arity(f"{where}: {name}", function, name + signature, parameters)


def check_step_name(decorator: str, name: Any) -> str:
    """Return ``name``. Raise an error unless it can name a step. A function means that the decorator was not called.

    Raises:
        WallarooParameterError: It is not a non-empty ``str``.
    """
    if callable(name):
        raise WallarooParameterError(
            f"@wallaroo.{decorator}: the name of the step is missing above {shown_name(name)}",
            hint=f'write @wallaroo.{decorator}(name="...")',
        )
    return check_name(f"@wallaroo.{decorator}: name", name)


def shown_name(function: Any) -> str:
    """Return the name a function or class was defined by, or the name of its type."""
    return str(getattr(function, "__name__", type(function).__name__))
