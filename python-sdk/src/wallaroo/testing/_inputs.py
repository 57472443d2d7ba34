"""Checks what a test gives to an application: what no source could bring is an error of the test."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable, Union

from wallaroo._io.codecs import Codec
from wallaroo._io.connectors import ConnectorSourceConfig
from wallaroo._io.sources import SourceConfig
from wallaroo._pipeline.topology import SourceNode
from wallaroo._steps.objects import shown_type

Message = Any
"""A frame's payload as ``str`` or bytes, or a message that the source's codec takes."""
Inputs = Union[Mapping[str, Union[Iterable[Message], int]], Iterable[Message]]

_BYTES = (bytes, bytearray, memoryview)


def inputs_by_source(inputs: Any) -> Iterator[tuple[str | None, Any]]:
    """Return what each source is given: messages, or a number of messages to make. ``None`` stands for the only source.

    Raises:
        TypeError: ``inputs`` is neither messages nor a mapping of them.
    """
    if isinstance(inputs, Mapping):
        for source in inputs:
            if not isinstance(source, str):
                raise TypeError(f"inputs: a source is named by a str, got {source!r}")
        yield from inputs.items()
    elif isinstance(inputs, int):
        raise TypeError(
            f"inputs is {inputs!r}: how many messages a generator makes is given by its name, as {{name: 3}}"
        )
    else:
        messages = list(_messages("inputs", inputs))
        if messages:
            yield None, messages


def frames_of(node: SourceNode, messages: Any) -> list[bytes]:
    """Return the payloads of ``messages``, as the decoder of ``node`` is given them.

    Raises:
        TypeError: ``messages`` is text and no list of messages, or holds what is neither ``str`` nor bytes nor what
            the source's codec takes.
        ValueError: A message holds the delimiter, and so would arrive as several, or the codec refuses it.
    """
    where = f"source {node.name!r}"
    delimiter = (node.source.framing or {}).get("delimiter")
    payload = _payload(where, node.source)
    frames = [payload(number, message) for number, message in enumerate(_messages(where, messages))]
    if delimiter is not None:
        for number, frame in enumerate(frames):
            if (frame + delimiter).find(delimiter) < len(frame):
                raise ValueError(
                    f"{where}: message {number} holds the delimiter {delimiter!r}, which ends a message:"
                    f" leave it out, and give each message on its own"
                )
    return frames


def whole_number(what: str, number: Any, least: int) -> int:
    """Return ``number``. Raise an error unless it is an ``int`` of at least ``least``.

    Raises:
        TypeError: It is no ``int``.
        ValueError: It is too low.
    """
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{what} must be an int, got {number!r}")
    if number < least:
        raise ValueError(f"{what} must be {least} or more, got {number}")
    return number


def words(args: Any) -> list[str]:
    """Return the words for ``application_setup``.

    Raises:
        TypeError: They are no list of ``str``.
    """
    if isinstance(args, str) or not all(isinstance(word, str) for word in args):
        raise TypeError(f"args must be a list of str, got {args!r}")
    return list(args)


def _messages(where: str, messages: Any) -> Iterator[Any]:
    if isinstance(messages, (str, *_BYTES)):
        raise TypeError(f"{where}: a single {type(messages).__name__} is given; give a list of messages")
    try:
        return iter(messages)
    except TypeError:
        raise TypeError(f"{where}: what is given is {shown_type(messages)}; give a list of messages") from None


def _payload(where: str, source: SourceConfig[Any]) -> Callable[[int, Any], bytes]:
    """Return a function from a message and its number to its frame's payload."""
    if isinstance(source, ConnectorSourceConfig) and source.codec is None:
        to_payload = source.to_payload
        return lambda _, message: to_payload(message)
    codec = source.decoder if isinstance(source.decoder, Codec) else None

    def payload(number: int, message: Any) -> bytes:
        if not isinstance(message, (str, *_BYTES)):
            if codec is None:
                raise TypeError(f"{where}: message {number} is {shown_type(message)}; a message is str or bytes")
            try:
                message = codec.to_payload(message)
            except (TypeError, ValueError) as error:
                raise type(error)(
                    f"{where}: message {number}: {error}; give what {codec} writes, or a frame as str or bytes"
                ) from None
        return message.encode("utf-8") if isinstance(message, str) else bytes(message)

    return payload
