"""The traceback of a user's exception, without this package's own frames, at a cost that is bounded.

The standard library's ``traceback`` reads and parses the source of every frame, which takes too long for a stream of
messages that fail, and for a recursion a thousand frames deep. It also calls methods of the exception, which may be the
user's. Here each line of code is formatted once, frames in the middle of a long stack are left out, and an exception's
fields are read through the descriptors of ``BaseException``, so nothing the user's class defines is called.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import Any

import wallaroo

_SDK = os.path.dirname(os.path.abspath(wallaroo.__file__)) + os.sep
_WORKER = os.path.join(_SDK, "worker") + os.sep
_HIDDEN = (_SDK, "<frozen importlib", "<frozen runpy")

_FIRST_FRAMES, _LAST_FRAMES = 10, 20
_MOST_EXCEPTIONS, _MOST_IN_ALL = 10, 100
"""In one chain or group, and in all; the rest are left out."""
_DEEPEST_GROUP = 10
_MOST_NOTES = 20
_LONGEST_TEXT = 10_000
"""Characters of what an exception says; it may be as long as the message that it is about."""
_LONGEST_SHOWN = 4_000
"""The same in a traceback, which is cut too and is to show where it happened."""
_MOST_LINES_KEPT = 10_000

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"

_Line = tuple[CodeType, int]
_lines: dict[_Line, str] = {}
"""The text of each line of code that was in a traceback."""

_Group: Any = getattr(builtins, "BaseExceptionGroup", None)  # Since Python 3.11.


def is_kind_of(error: BaseException, kinds: Any) -> bool:
    """``isinstance``, but by the type alone: ``__class__`` may be a property of the user's."""
    return issubclass(type(error), kinds)


def trace_of(error: BaseException) -> TracebackType | None:
    """Return ``error.__traceback__``."""
    return _field(error, "__traceback__")  # type: ignore[no-any-return]


def cause_of(error: BaseException) -> BaseException | None:
    """Return ``error.__cause__``."""
    return _field(error, "__cause__")  # type: ignore[no-any-return]


def _field(error: BaseException, name: str) -> Any:
    return vars(BaseException)[name].__get__(error)


def class_name(kind: type) -> str:
    """Return the name of an exception's class with its module, as Python's own tracebacks show it."""
    name = exact(vars(type)["__qualname__"].__get__(kind))
    module = vars(type)["__module__"].__get__(kind)
    return name if module == "builtins" or not isinstance(module, str) else f"{exact(module)}.{name}"


def exact(text: str, longest: int = _LONGEST_TEXT) -> str:
    """Return ``text`` as a plain ``str`` that can be sent. It is cut first: the rest of a long one costs nothing."""
    start = str.__getitem__(text, slice(longest))
    whole = str.encode(start, "utf-8", "backslashreplace").decode("utf-8")
    return whole if str.__len__(text) <= longest else whole + "…"


def text_of(error: BaseException, longest: int = _LONGEST_TEXT) -> str:
    """Return ``str(error)``, cut, whatever its ``__str__`` does."""
    try:
        return exact(str(error), longest)
    except BaseException as broken:  # noqa: BLE001
        return f"<its __str__ raised {class_name(type(broken))}>"


def only_in_worker(trace: TracebackType | None) -> bool:
    """Whether neither user code nor a step was running: the error is about what one returned."""
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_WORKER):
            return False
        trace = trace.tb_next
    return True


def format_traceback(error: BaseException) -> str:
    """Return the traceback of ``error`` and of what it came from."""
    return "".join(_chain(error, set()))


def _chain(error: BaseException, seen: set[int], depth: int = 0) -> Iterator[str]:
    """Format ``error`` after the exceptions that it came from.

    Args:
        error: The last of them.
        seen: The ids of those that are formatted.
        depth: In how many groups it is.
    """
    links: list[tuple[BaseException, str]] = [(error, "")]
    while len(links) < _MOST_EXCEPTIONS:
        last, _ = links[-1]
        seen.add(id(last))
        cause, context = cause_of(last), _field(last, "__context__")
        if cause is not None and id(cause) not in seen:
            links.append((cause, _CAUSE))
        elif cause is None and context is not None and id(context) not in seen and not _is_context_hidden(last):
            links.append((context, _CONTEXT))
        else:
            break
    for link, between in reversed(links):
        yield from _one(link, seen, depth)
        yield between


def _is_context_hidden(error: BaseException) -> bool:
    return bool(_field(error, "__suppress_context__"))


def _one(error: BaseException, seen: set[int], depth: int) -> Iterator[str]:
    yield "Traceback (most recent call last):\n"
    yield from _frames(trace_of(error))
    yield _named(error)
    yield from (f"{note}\n" for note in _notes(error))
    if _Group is not None and is_kind_of(error, _Group):
        yield from _members(error, seen, depth)


def _named(error: BaseException) -> str:
    if is_kind_of(error, SyntaxError):
        import traceback  # Imported here because it is slow, and a syntax error is rare. It shows where the error is.

        try:
            return "".join(exact(line, _LONGEST_SHOWN) for line in traceback.format_exception_only(type(error), error))
        except BaseException:  # noqa: BLE001 - the user's fields
            pass
    message = text_of(error, _LONGEST_SHOWN)
    name = class_name(type(error))
    return f"{name}: {message}\n" if message else f"{name}\n"


def _members(group: BaseException, seen: set[int], depth: int) -> Iterator[str]:
    members = vars(_Group)["exceptions"].__get__(group)
    shown = members[:_MOST_EXCEPTIONS] if depth < _DEEPEST_GROUP and len(seen) < _MOST_IN_ALL else ()
    for number, member in enumerate(shown, 1):
        yield f"  +---------------- {number} ----------------\n"
        if id(member) not in seen:
            yield "".join(f"  | {line}\n" for line in "".join(_chain(member, seen, depth + 1)).splitlines())
    if len(members) > len(shown):
        yield f"  +---- [{len(members) - len(shown)} exceptions left out]\n"


def _notes(error: BaseException) -> list[str]:
    notes = object.__getattribute__(error, "__dict__").get("__notes__")
    if type(notes) is not list:
        return []
    return [exact(note, _LONGEST_SHOWN // _MOST_NOTES * 4) for note in notes[:_MOST_NOTES] if isinstance(note, str)]


def _frames(trace: TracebackType | None) -> Iterator[str]:
    """Format the frames of a stack that are not this package's; those in the middle of a long one are left out."""
    frames = []
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_HIDDEN):
            frames.append(trace)
        trace = trace.tb_next
    left_out = len(frames) - _FIRST_FRAMES - _LAST_FRAMES
    if left_out <= 0:
        yield from map(_line_of, frames)
        return
    yield from map(_line_of, frames[:_FIRST_FRAMES])
    yield f"  [{left_out} frames left out]\n"
    yield from map(_line_of, frames[-_LAST_FRAMES:])


def _line_of(trace: TracebackType) -> str:
    code, number = trace.tb_frame.f_code, trace.tb_lineno
    text = _lines.get((code, number))
    if text is None:
        if len(_lines) >= _MOST_LINES_KEPT:
            _lines.clear()
        text = _lines[code, number] = _format(code, number, trace.tb_frame.f_globals)
    return text


def _format(code: CodeType, number: int, module: dict[str, Any]) -> str:
    import linecache  # Imported here because most workers never need it.

    source = linecache.getline(code.co_filename, number, module).strip()
    shown = f'  File "{code.co_filename}", line {number}, in {code.co_name}\n'
    return f"{shown}    {source}\n" if source else shown
