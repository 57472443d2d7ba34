"""A sink that posts messages to a web server."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping

from wallaroo._errors import WallarooParameterError
from wallaroo._io.connectors import RejectedMessageError, Sink

_AGAIN_LATER = (408, 425, 429)
"""Answers of the 400s that may be others later."""


class HttpSink(Sink[bytes]):
    r"""Send messages to a web server, many in one ``POST`` request, each with ``separator`` behind it.

    An answer of the 200s says that all are taken. One of the 400s, other than 408, 425 and 429, says that the server
    will never take them: they are sent one by one then, and what is refused alone is a dead letter. After any other
    answer, or none, they are sent again, after a pause. So they come at least once. Each request has the header
    ``Idempotency-Key``: one that comes again in one piece has the same key, by which a server can tell.

    Args:
        url: Where they go: ``http://`` or ``https://``.
        separator: Written behind each message.
        headers: Of each request.
        timeout: How long an answer is waited for, in seconds.

    Raises:
        WallarooParameterError: The URL is none.

    Example:
        >>> import wallaroo
        >>> from wallaroo.connectors import HttpSink
        >>> counts = wallaroo.source("lines", wallaroo.stdin(wallaroo.lines())).key_by(str).count()
        >>> counts.to_sink(wallaroo.connector(HttpSink("http://127.0.0.1:9000/counts"), wallaroo.json_lines()))
        <Pipeline 'lines'>
    """

    def __init__(
        self, url: str, *, separator: bytes = b"\n", headers: Mapping[str, str] | None = None, timeout: float = 10.0
    ) -> None:
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise WallarooParameterError(
                f"HttpSink: url must begin with http:// or https://, got {url!r}",
                hint='for example "http://127.0.0.1:9000/counts"',
            )
        self.url, self.separator, self.timeout = url, separator, timeout
        self.headers = {"Content-Type": "application/x-ndjson", **(headers or {})}

    def open(self) -> None:
        """Get ready: each request has a connection of its own."""
        # The position of messages that are sent one by one, and how many of these were taken.
        self._parted: str | None = None
        self._taken = 0

    def write(self, position: str, messages: list[bytes]) -> None:
        """Send them."""
        if position != self._parted:
            try:
                self._post(position, messages)
            except _RefusedError as refusal:
                if len(messages) == 1:
                    raise RejectedMessageError(0, str(refusal)) from None
                self._parted, self._taken = position, 0
            else:
                return
        # Called again without one that was refused, it goes on behind those that were taken.
        for index in range(self._taken, len(messages)):
            try:
                self._post(f"{position}/{index}", [messages[index]])
            except _RefusedError as refusal:
                raise RejectedMessageError(index, str(refusal)) from None
            self._taken = index + 1

    def _post(self, key: str, messages: list[bytes]) -> None:
        body = b"".join(part for message in messages for part in (message, self.separator))
        request = urllib.request.Request(
            self.url, data=body, headers={**self.headers, "Idempotency-Key": key}, method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout):
                return
        except urllib.error.HTTPError as error:
            text = error.read(500).decode("utf-8", "replace").strip()
            answer = f"{self.url} answered {error.code} {error.reason}: {text}".rstrip(": ")
            if 400 <= error.code < 500 and error.code not in _AGAIN_LATER:
                raise _RefusedError(answer) from None
            raise ConnectionError(answer) from None


class _RefusedError(Exception):
    """The server will never take it."""
