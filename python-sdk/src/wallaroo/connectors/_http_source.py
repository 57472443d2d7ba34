"""A source that is a web server: bodies of ``POST`` requests are messages, and are answered once they are durable."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from wallaroo._errors import WallarooParameterError
from wallaroo._io.addresses import check_host, check_port
from wallaroo._io.connectors import Source

_LARGEST = 1 << 20
_PENDING = 1000


class _Request:
    """Messages that came together, and whoever waits until all are durable."""

    def __init__(self, messages: list[bytes]) -> None:
        self.messages = messages
        self.is_durable = threading.Event()


class HttpSource(Source[bytes]):
    r"""Listen for ``POST`` requests. A request is answered with 204 once its messages are durable, never before.

    With ``--state`` that is when what came of them is in the log on the disk; without it, when the sinks were given it.
    The client of a request that is not answered so sends it again: a message may come twice then, and is never lost.

    Other answers: 404 for another path, 405 for another method, 411 without a length, 413 for a body that is too large;
    503 with ``Retry-After`` while ``max_pending`` requests wait, when ``patience`` has passed, and at the end of a run.
    There is no TLS: put a proxy in front of it.

    Args:
        address: ``"HOST:PORT"``.
        path: The path that is served.
        separator: Cuts a body into messages, for example ``b"\n"``; empty ones are left out. ``None``: a body is one
            message.
        max_body: Bytes of a body, at most.
        max_pending: Requests that may wait, at most.
        patience: How long a request waits until it is durable, in seconds.

    Raises:
        WallarooParameterError: The address or a limit is unusable.

    Example:
        >>> import wallaroo
        >>> from wallaroo.connectors import HttpSource
        >>> hooks = wallaroo.connector(HttpSource("127.0.0.1:8080", path="/orders"), wallaroo.json_lines())
        >>> wallaroo.source("orders", hooks)
        <Pipeline 'orders'>
    """

    def __init__(
        self,
        address: str,
        *,
        path: str = "/",
        separator: bytes | None = None,
        max_body: int = _LARGEST,
        max_pending: int = _PENDING,
        patience: float = 30.0,
    ) -> None:
        host, _, port = str(address).rpartition(":")
        self.host = check_host("HttpSource", host.strip("[]"))
        self.port = check_port("HttpSource", port)
        for name, limit in (("max_body", max_body), ("max_pending", max_pending), ("patience", patience)):
            if not isinstance(limit, (int, float)) or limit <= 0:
                raise WallarooParameterError(f"HttpSource: {name} must be more than 0, got {limit!r}")
        self.path, self.separator = path, separator
        self.max_body, self.max_pending, self.patience = max_body, max_pending, patience

    def open(self, partition: str, position: Any) -> None:
        """Listen."""
        # A position is a number of messages. Nobody is asked for one: who was not answered sends again.
        self._count = 0 if position is None else int(position)
        self._waiting: queue.Queue[_Request] = queue.Queue(self.max_pending)
        self._sent: deque[tuple[int, _Request]] = deque()
        self._is_open = True
        self._server = _Server((self.host, self.port), self)
        threading.Thread(target=self._server.serve_forever, name="http source", daemon=True).start()

    def read(self, limit: int, timeout: float) -> list[tuple[bytes, int]]:
        """Return the messages of requests that have come. Those of one request are never parted."""
        read: list[tuple[bytes, int]] = []
        deadline = time.monotonic() + timeout
        while len(read) < limit:
            try:
                request = self._waiting.get(timeout=max(0.0, deadline - time.monotonic()) if not read else 0)
            except queue.Empty:
                break
            for message in request.messages:
                self._count += 1
                read.append((message, self._count))
            self._sent.append((self._count, request))
        return read

    def acknowledge(self, position: Any) -> None:
        """Answer the requests whose messages are all durable."""
        while self._sent and self._sent[0][0] <= position:
            self._sent.popleft()[1].is_durable.set()

    def close(self) -> None:
        """Answer what waits, and stop listening."""
        self._is_open = False
        self._server.shutdown()
        self._server.server_close()

    def take(self, messages: list[bytes]) -> str | None:
        """Have messages read, and wait until they are durable. Return why they are not.

        Called by the server's threads.
        """
        if not messages:
            return None
        request = _Request(messages)
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            return f"{self.max_pending} requests wait"
        deadline = time.monotonic() + self.patience
        while not request.is_durable.wait(0.1):
            if not self._is_open:
                return "the run has ended"
            if time.monotonic() >= deadline:
                return f"it is not durable after {self.patience:g} s"
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], source: HttpSource) -> None:
        self.source = source
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        source = self.server.source
        length = self.headers.get("Content-Length", "")
        if self.path.partition("?")[0] != source.path:
            self._answer(404, f"messages are taken at {source.path}")
        elif not length.isdecimal():
            self._answer(411, "give a Content-Length")
        elif int(length) > source.max_body:
            self._answer(413, f"a body has at most {source.max_body} bytes")
        else:
            self._take(self.rfile.read(int(length)))

    def _take(self, body: bytes) -> None:
        separator = self.server.source.separator
        messages = [body] if separator is None else [part for part in body.split(separator) if part]
        refusal = self.server.source.take(messages)
        if refusal is None:
            self.send_response(204)
            self.end_headers()
        else:
            self._answer(503, f"{refusal}; send it again")

    def _answer(self, code: int, text: str) -> None:
        body = f"{text}\n".encode()
        self.send_response(code)
        if code == 503:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # What is left of a body that was not read would be taken for the next request.
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log no requests."""
