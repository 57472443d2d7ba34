"""Steps that are decorated functions, and the base class of all steps."""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Generic, TypeVar, get_origin

from wallaroo._errors import WallarooParameterError
from wallaroo._steps.decorated import Decorated, shown_name
from wallaroo._steps.errors import ErrorPolicy
from wallaroo._steps.filling import Fill
from wallaroo._steps.objects import check_arity, is_generator, shown_type

In = TypeVar("In", contravariant=True)
Out = TypeVar("Out", covariant=True)
Returned = TypeVar("Returned", covariant=True)
State = TypeVar("State")

_RESERVED = ("generator:", "window:")
"""What the names of the generators' and windows' own state tables begin with."""


_IMMUTABLE = (int, float, complex, bool, str, bytes, tuple, frozenset)
"""Built-in types that no state can be of: a step changes its state in place."""


_OF_ANNOTATIONS = ("builtins", "collections", "collections.abc", "typing", "types")
"""Modules whose classes ``typing`` has names of its own for. Such a name cannot be called."""


class Step(Generic[In, Out]):
    """What :meth:`Pipeline.to` takes."""

    name: str

    needs_key: ClassVar[bool] = False
    """Whether it has state, and so must stand below a ``key_by`` or ``collect``."""

    errors: ErrorPolicy | None = None
    """What is done where its function raises; ``None``: the message becomes a dead letter."""


class Computation(Decorated[Callable[[In], Returned]], Step[In, Any], Generic[In, Returned]):
    """A function decorated with :func:`computation`: called like the function.

    Generic in what the function takes and what it returns. Name it to annotate a function that makes steps.

    Example:
        >>> import wallaroo
        >>> def times(factor: int) -> wallaroo.Computation[int, int]:
        ...     @wallaroo.computation(name=f"times {factor}")
        ...     def multiply(data: int) -> int:
        ...         return data * factor
        ...     return multiply
        >>> times(3)(2)
        6
    """

    def __init__(self, name: str, function: Callable[[In], Returned]) -> None:
        super().__init__("computation", function, "data")
        self.name = name
        _refuse_generator("computation", function)

    def __call__(self, data: In, /) -> Returned:
        """Call the function."""
        return self.function(data)


class ComputationMulti(Decorated[Callable[[In], Returned]], Step[In, Any], Generic[In, Returned]):
    """A function decorated with :func:`computation_multi`: called like the function."""

    def __init__(self, name: str, function: Callable[[In], Returned]) -> None:
        super().__init__("computation_multi", function, "data")
        self.name = name

    def __call__(self, data: In, /) -> Returned:
        """Call the function."""
        return self.function(data)


class ComputationBatch(Decorated[Callable[[list[Any]], Returned]], Step[In, Any], Generic[In, Returned]):
    """A function decorated with :func:`computation_batch`: called like the function."""

    def __init__(
        self,
        name: str,
        function: Callable[[list[Any]], Returned],
        max_batch: int | None = None,
        fill: Fill | None = None,
    ) -> None:
        super().__init__("computation_batch", function, "batch")
        self.name = name
        self.max_batch = max_batch
        self.fill = fill

    def __call__(self, batch: list[Any], /) -> Returned:
        """Call the function."""
        return self.function(batch)


class StateStep(Decorated[Callable[[In, State], Returned]], Step[In, Any], Generic[In, State, Returned]):
    """A function whose decorator names the class of its state. It returns its output alone.

    Args:
        decorator: The decorator's name.
        name: The step's name.
        function: The user's function.
        state: Makes the state of a key that has none.
    """

    needs_key: ClassVar[bool] = True
    multi: ClassVar[bool]

    def __init__(
        self, decorator: str, name: str, function: Callable[[In, State], Returned], state: Callable[[], State]
    ) -> None:
        super().__init__(decorator, function, "data", "state")
        self.name = name
        self.state = state
        check_state_name(f"@wallaroo.{decorator}: name", name)
        check_state_class(f"@wallaroo.{decorator}: {shown_name(function)}: state", state)

    def __call__(self, data: In, state: State, /) -> Returned:
        """Call the function."""
        return self.function(data, state)


class StateComputation(StateStep[In, State, Returned]):
    """A function decorated with :func:`state_computation` and ``state=``: called like the function."""

    multi: ClassVar[bool] = False

    def __init__(self, name: str, function: Callable[[In, State], Returned], state: Callable[[], State]) -> None:
        super().__init__("state_computation", name, function, state)
        _refuse_generator("state_computation", function)


class StateComputationMulti(StateStep[In, State, Returned]):
    """A function decorated with :func:`state_computation_multi` and ``state=``: called like the function."""

    multi: ClassVar[bool] = True

    def __init__(self, name: str, function: Callable[[In, State], Returned], state: Callable[[], State]) -> None:
        super().__init__("state_computation_multi", name, function, state)


class BuilderStateComputation(Decorated[Callable[[In, State], Returned]], Generic[In, State, Returned]):
    """A function whose state :class:`ApplicationBuilder` names. It returns its output and whether the state changed.

    Args:
        decorator: The decorator's name.
        name: The step's name.
        function: The user's function.
        multi: Whether it returns any number of outputs.
    """

    def __init__(self, decorator: str, name: str, function: Callable[[In, State], Returned], *, multi: bool) -> None:
        super().__init__(decorator, function, "data", "state")
        self.decorator = decorator
        self.name = name
        self.multi = multi
        if is_generator(function):
            raise WallarooParameterError(
                f"@wallaroo.{decorator}: {shown_name(function)} yields, and has no result (output, state_changed)",
                hint="return the pair, or use @wallaroo.state_computation_multi with state=, which may yield",
            )

    def __call__(self, data: In, state: State, /) -> Returned:
        """Call the function."""
        return self.function(data, state)


def check_state_name(where: str, name: str) -> None:
    """Raise an error if a name for state is reserved.

    Raises:
        WallarooParameterError: It begins with a reserved word.
    """
    for reserved in _RESERVED:
        if name.startswith(reserved):
            raise WallarooParameterError(
                f"{where} {name!r} begins with the reserved word {reserved!r}", hint="give the state another name"
            )


def check_state_class(where: str, state: Any) -> None:
    """Raise an error unless ``state`` can be called without arguments to make a key's state.

    Raises:
        WallarooParameterError: It is not a class or function, or needs arguments.
    """
    origin = get_origin(state)
    shown = shown_type(state) if origin is None else repr(state)
    if type(state).__module__ == "typing" and getattr(origin, "__module__", None) in _OF_ANNOTATIONS:
        # As typing.List[int]; list[int] can be called.
        raise WallarooParameterError(
            f"{where} is {shown}, which is for annotations and makes no state", hint="give a class, such as list"
        )
    if any(kind is state or kind is origin for kind in _IMMUTABLE):
        raise WallarooParameterError(
            f"{where} is {shown}, and a step cannot change such a state in place",
            hint="give a class with an attribute for what changes, such as: class Total: count = 0",
        )
    if not callable(state):
        raise WallarooParameterError(
            f"{where} is {shown_type(state)}, not a class", hint="give the class of the state, not an object of it"
        )
    name = shown_name(state)
    define_as = f"__init__(self) in class {name}" if isinstance(state, type) else f"{name}()"
    check_arity(f"{where}: {name}", state, define_as, ())


def _refuse_generator(decorator: str, function: Any) -> None:
    if is_generator(function):
        raise WallarooParameterError(
            f"@wallaroo.{decorator}: {shown_name(function)} yields, and its output would be the generator itself",
            hint=f"return the output, or use @wallaroo.{decorator}_multi",
        )


def check_pool(where: str, step: Any, pool: Any) -> None:
    """Raise an error unless ``pool`` names a pool and the step may run in one.

    Raises:
        WallarooParameterError: ``pool`` is not a valid name, or the step has state.
    """
    if pool is None:
        return
    if not isinstance(pool, str) or not pool:
        raise WallarooParameterError(
            f"{where}: pool is {shown_type(pool) if not isinstance(pool, str) else 'an empty str'}, not a pool's name",
            hint='give the name that --pool NAME=PYTHON or wallaroo.toml defines, as pool="legacy"',
        )
    if getattr(step, "needs_key", False):
        raise WallarooParameterError(
            f"{where}: pool={pool!r} is given to a step with state, and state lives in the main pool",
            hint="move what needs another interpreter into a step without state, and give the pool to that",
        )
