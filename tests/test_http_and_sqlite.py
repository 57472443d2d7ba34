"""The connectors of the SDK: requests are answered once they are durable, and rows are written exactly once."""

import json
import signal
import socket
import sqlite3
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.harness.orchestrator import Orchestrator, read_dead_letters
from tests.harness.places import APPS

APP = APPS / "sqlite_and_http.py"
PATIENCE = 60


@pytest.fixture
def address():
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def post(address, orders, path="/orders"):
    """The status and the text of the answer."""
    body = orders if isinstance(orders, bytes) else "".join(f"{json.dumps(order)}\n" for order in orders).encode()
    request = urllib.request.Request(f"http://{address}{path}", data=body, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def post_until_taken(address, orders):
    """Sends orders again until they are taken, as a client has to."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if post(address, orders)[0] == 204:
                return
        except OSError:
            pass  # The server is away.
        assert time.monotonic() < deadline
        time.sleep(0.05)


def rows(path):
    with sqlite3.connect(path, timeout=60) as database:
        return database.execute("select id, customer, amount from orders order by rowid").fetchall()


def order(number):
    return {"id": number, "customer": f"c{number % 3}", "amount": number}


def row(number):
    return number, f"c{number % 3}", number


class Server(ThreadingHTTPServer):
    """Takes totals, except where it refuses them."""

    daemon_threads = True

    def __init__(self):
        self.bodies, self.keys, self.answers, self.refuses = [], [], [], False
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/totals"

    def totals(self):
        return [json.loads(line) for body in self.bodies for line in body.splitlines()]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        code = self.server.answers.pop(0) if self.server.answers else 200
        if code == 200 and b'"c1"' in body and self.server.refuses:
            code = 422
        if code == 200:
            self.server.bodies.append(body)
        self.send_response(code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = Server()
    yield server
    server.shutdown()
    server.server_close()


def test_a_request_is_answered_once_it_is_durable(tmp_path, address):
    path = tmp_path / "shop.db"
    with Orchestrator(APP, address, path, options=["--state", tmp_path / "state"]) as run:
        post_until_taken(address, [order(1), order(2)])
        assert post(address, [order(3)])[0] == 204
        assert post(address, b"\n\n")[0] == 204
        assert post(address, b"{}", path="/other") == (404, "messages are taken at /orders\n")
        assert post(address, b"x" * 100_001)[0] == 413
        run.signal(signal.SIGKILL)
        run.wait()
    # What was answered is in the log, whether it is in the table yet or not.
    with Orchestrator(APP, address, path, options=["--state", tmp_path / "state"]) as run:
        post_until_taken(address, [order(4)])
        run.stop()
    assert rows(path) == [row(number) for number in (1, 2, 3, 4)]


def test_what_the_table_does_not_take_is_a_dead_letter(tmp_path, address):
    path, letters = tmp_path / "shop.db", tmp_path / "letters.jsonl"
    with Orchestrator(APP, address, path, options=["--dead-letters", letters]) as run:
        post_until_taken(address, [order(1)])
        assert (
            post(address, [{"id": 2, "customer": None, "amount": 1}, order(3), {"id": 4, "customer": ["x"]}])[0] == 204
        )
        run.stop()
        assert run.summary()["dead_letters"] == 2
    assert rows(path) == [row(1), row(3)]
    found = read_dead_letters(letters)
    assert [letter["step"] for letter in found] == ["connector SqliteSink"] * 2
    assert "NOT NULL constraint failed: orders.customer" in found[0]["message"]
    assert found[0]["value"] == "{'id': 2, 'customer': None, 'amount': 1}"


def test_totals_are_posted_again_until_they_are_taken(tmp_path, address, server):
    server.answers = [500, 429, 503]
    with Orchestrator(APP, address, tmp_path / "shop.db", server.url) as run:
        post_until_taken(address, [order(number) for number in range(9)])
        run.stop()
    assert len(server.keys) >= 4
    # One after another, none twice.
    assert [[total for name, total in server.totals() if name == customer] for customer in ("c0", "c1", "c2")] == [
        [0, 3, 9],
        [1, 5, 12],
        [2, 7, 15],
    ]


def test_totals_that_are_refused_for_good_are_dead_letters(tmp_path, address, server):
    server.refuses = True
    letters = tmp_path / "letters.jsonl"
    with Orchestrator(APP, address, tmp_path / "shop.db", server.url, options=["--dead-letters", letters]) as run:
        post_until_taken(address, [order(number) for number in range(3)])
        run.stop()
    assert server.totals() == [["c0", 0], ["c2", 2]]
    (letter,) = read_dead_letters(letters)
    assert letter["message"] == f"{server.url} answered 422 Unprocessable Entity"
