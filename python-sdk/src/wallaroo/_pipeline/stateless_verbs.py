"""The verbs of a pipeline that need no state: they make steps of functions."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from datetime import timedelta
from operator import truth
from typing import TYPE_CHECKING, Any, Callable, TypeVar

from wallaroo._pipeline.branches import Branches, branch_names
from wallaroo._pipeline.stream import BY_NOTHING, Stream, T_co
from wallaroo._pipeline.topology import (
    AsyncNode,
    BatchNode,
    BranchNode,
    ComputationNode,
    FilterNode,
    InspectNode,
    SplitNode,
)
from wallaroo._steps.callables import callable_of, name_of, refuse_generator
from wallaroo._steps.computations import Step, check_pool
from wallaroo._steps.concurrency import concurrency_of
from wallaroo._steps.errors import ErrorPolicy, OnError, error_policy
from wallaroo._steps.filling import fill_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from wallaroo._pipeline.pipeline import Pipeline
    from wallaroo._steps.durations import Duration

U = TypeVar("U")

_BACKOFF = timedelta(milliseconds=100)

_YIELDS = "return the result, or use flat_map for a function that yields"


class StatelessVerbs(Stream[T_co]):
    """Those without state."""

    __slots__ = ()

    def map(
        self,
        f: Callable[[T_co], U | None],
        *,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, U | None] = "dead-letter",
        retries: int = 0,
    ) -> Pipeline[U]:
        """Replace each message by what a function makes of it.

        Args:
            f: Any callable of one argument, the message. ``None`` for no output.
            name: The step's name, in messages, logs and metrics. Without it, the function's name, or ``map`` for a
                lambda; numbered where another step has it.
            pool: As for :meth:`to`.
            on_error: What to do with a message for which the function raises: ``"dead-letter"``; ``"skip"``, it is
                dropped; ``"stop"``, the run ends with exit code 1; or a function of the message and the exception,
                whose result stands for that of ``f``.
            retries: How often ``f`` is called again first, at once.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where, call, named, errors = self._verb("map", f, name, pool, on_error, retries)
        refuse_generator(where, f, _YIELDS)
        return self._step(lambda inputs: ComputationNode(named, inputs, call, False, pool, errors=errors))  # type: ignore[no-any-return]

    def flat_map(
        self,
        f: Callable[[T_co], Iterable[U | None] | None],
        *,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, Iterable[U | None] | None] = "dead-letter",
        retries: int = 0,
    ) -> Pipeline[U]:
        """Replace each message by any number of others.

        Args:
            f: Any callable of one argument, the message. It returns a list or another iterable, or yields; ``None`` for
                no output, also in place of an output. A ``str``, ``bytes`` or ``dict`` is refused: the message becomes
                a dead letter.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.
            on_error: As for :meth:`map`.
            retries: As for :meth:`map`.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        _, call, named, errors = self._verb("flat_map", f, name, pool, on_error, retries)
        return self._step(lambda inputs: ComputationNode(named, inputs, call, True, pool, errors=errors))  # type: ignore[no-any-return]

    def map_batch(
        self,
        f: Callable[[list[T_co]], Iterable[U | None]],
        *,
        max_batch: int | None = None,
        max_wait: Duration | None = None,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, U | None] = "dead-letter",
        retries: int = 0,
    ) -> Pipeline[U]:
        """Replace many messages at once, for code that is faster with many than with one, such as models.

        Args:
            f: Any callable of one argument, a list of messages. It returns as many outputs, each in the place of its
                message, ``None`` where there is none; see :func:`computation_batch`.
            max_batch: Messages in one call, at most.
            max_wait: How long a message waits for others, at most: nanoseconds, or a ``timedelta``. Without it a call
                gets what is there.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.
            on_error: As for :meth:`map`, once halves of a batch have led to a single message.
            retries: The same.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where, call, named, errors = self._verb("map_batch", f, name, pool, on_error, retries, "batch")
        fill = fill_of(where, max_batch, max_wait)
        return self._step(  # type: ignore[no-any-return]
            lambda inputs: BatchNode(named, inputs, call, pool, "map_batch", max_batch, fill, errors=errors)
        )

    def map_async(
        self,
        f: Callable[[T_co], Awaitable[U | None]],
        *,
        concurrency: int = 50,
        timeout: Duration | None = None,
        retries: int = 0,
        backoff: Duration = _BACKOFF,
        ordered: bool = True,
        on_error: OnError[T_co, U | None] = "dead-letter",
        name: str | None = None,
        pool: str | None = None,
    ) -> Pipeline[U]:
        """Replace each message by what an async function returns, for code that waits: for a service, a database.

        A worker has one event loop as long as it lives, so a client of yours, such as a session of ``aiohttp`` or
        ``httpx``, can be made at the first call and kept. It waits for many calls at once.

        Args:
            f: An ``async def`` of one argument, the message, or any callable that returns an awaitable. ``None`` for no
                output.
            concurrency: Calls that are under way at once in a worker, at most.
            timeout: How long one attempt may take: nanoseconds, or a ``timedelta``. Then it is cancelled, and fails
                with ``TimeoutError``. Without it, ``--step-timeout`` ends the worker of a call that hangs.
            retries: How often ``f`` is called again for a message for which it raises an ``Exception``.
            backoff: The pause before the first retry. Each further pause is twice as long, up to 30 seconds, and all
                are shortened at random by up to a half.
            ordered: Whether outputs have the order of their messages. If not, those of one batch come in the order in
                which their calls ended, and messages of one key may overtake each other.
            on_error: As for :meth:`map`, once all attempts have failed.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            >>> import asyncio, wallaroo, wallaroo.testing
            >>> async def shout(word: str) -> str:
            ...     await asyncio.sleep(0.01)
            ...     return word.upper()
            >>> words = wallaroo.source("words", wallaroo.stdin(wallaroo.lines()))
            >>> app = wallaroo.application("shout", words.map_async(shout).sink(wallaroo.stdout(wallaroo.lines())))
            >>> wallaroo.testing.run(app, ["to", "be"]).lines
            ['TO', 'BE']
        """
        where, call, named, errors = self._verb("map_async", f, name, pool, on_error, retries)
        made = concurrency_of(where, concurrency, timeout, backoff, ordered)
        keyed = pool is None and self._placed_by != BY_NOTHING
        return self._step(lambda inputs: AsyncNode(named, inputs, call, made, keyed, pool, errors=errors))  # type: ignore[no-any-return]

    def filter(
        self,
        f: Callable[[T_co], object],
        *,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, object] = "dead-letter",
        retries: int = 0,
    ) -> Self:
        """Keep the messages for which a function returns something true.

        Args:
            f: Any callable of one argument, the message.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.
            on_error: As for :meth:`map`.
            retries: As for :meth:`map`.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where, call, named, errors = self._verb("filter", f, name, pool, on_error, retries)
        refuse_generator(where, f, "return whether the message is kept, or use flat_map for a function that yields")
        return self._step(lambda inputs: FilterNode(named, inputs, call, pool, errors=errors))  # type: ignore[no-any-return]

    def inspect(
        self,
        f: Callable[[T_co], object] = print,
        *,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, object] = "dead-letter",
        retries: int = 0,
    ) -> Self:
        """Show each message to a function, and pass it on. By default it is printed, which is in the log of the run.

        Args:
            f: Any callable of one argument, the message. What it returns is ignored.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.
            on_error: As for :meth:`map`; a function says whether the message is passed on.
            retries: As for :meth:`map`.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where, call, named, errors = self._verb("inspect", f, name, pool, on_error, retries)
        refuse_generator(where, f, "end it without yield: what inspect calls returns nothing")
        return self._step(lambda inputs: InspectNode(named, inputs, call, pool, errors=errors))  # type: ignore[no-any-return]

    def branch(
        self,
        f: Callable[[T_co], object],
        *,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, object] = "dead-letter",
        retries: int = 0,
    ) -> tuple[Self, Self]:
        """Divide the messages in two. Each is in one branch, and the function is called once for it.

        Args:
            f: Any callable of one argument, the message.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.
            on_error: As for :meth:`map`.
            retries: As for :meth:`map`.

        Returns:
            The messages for which ``f`` returned something true, and the others. A branch that does not lead to a sink
            is left out, and its messages are dropped.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where, call, named, errors = self._verb("branch", f, name, pool, on_error, retries)
        refuse_generator(where, f, "return whether the message belongs to the first branch")
        split = self._step(lambda inputs: SplitNode(named, inputs, call, truth, pool, errors=errors))
        return _branch(split, f"{named}: true", True, pool), _branch(split, f"{named}: false", False, pool)

    def split(
        self,
        f: Callable[[T_co], str],
        names: Sequence[str],
        *,
        name: str | None = None,
        pool: str | None = None,
        on_error: OnError[T_co, str] = "dead-letter",
        retries: int = 0,
    ) -> Branches[Self]:
        """Divide the messages among named branches. Each is in one branch, and the function is called once for it.

        Args:
            f: Any callable of one argument, the message. It returns the name of the branch. A message for which it
                returns another name becomes a dead letter.
            names: The names of the branches, each once.
            name: As for :meth:`map`.
            pool: As for :meth:`to`.
            on_error: As for :meth:`map`.
            retries: As for :meth:`map`.

        Returns:
            The branches, in the order of ``names``; each also by its name, as ``branches["orders"]``. A branch that
            does not lead to a sink is left out, and its messages are dropped.

        Raises:
            WallarooParameterError: An argument is unusable, or the pipeline has ended.

        Example:
            See :class:`Pipeline`.
        """
        where, call, named, errors = self._verb("split", f, name, pool, on_error, retries)
        refuse_generator(where, f, "return the name of a branch")
        known = branch_names(where, names)
        split = self._step(lambda inputs: SplitNode(named, inputs, call, known.__getitem__, pool, errors=errors))
        return Branches(where, {each: _branch(split, f"{named}: {each}", each, pool) for each in known})

    def _verb(
        self, verb: str, f: Any, name: Any, pool: Any, on_error: Any, retries: Any, parameter: str = "message"
    ) -> tuple[str, Callable[[Any], Any], str, ErrorPolicy | None]:
        """Return where an error is, what the step calls, its name, and what is done where it raises."""
        where = self._open_at(verb, f)
        call = callable_of(where, verb, f, parameter)
        check_pool(where, call, pool)
        # A decorated function brings its own.
        errors = error_policy(where, on_error, retries) or (f.errors if isinstance(f, Step) else None)
        return where, call, name_of(where, verb, f, name), errors


def _branch(split: Any, name: str, choice: Any, pool: str | None) -> Any:
    return split._step(lambda inputs: BranchNode(name, inputs, choice, pool))
