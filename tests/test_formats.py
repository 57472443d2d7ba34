"""Codecs with real sources and sinks: byte order marks, line ends, headers, and messages that cannot be read."""

import json

from tests.harness.clients import send
from tests.harness.orchestrator import Orchestrator, read_dead_letters
from tests.harness.places import APPS

FILE = b'\xef\xbb\xbfitem,price\r\ntea,3.20\r\n"tea",""\r\n\r\n"cup, blue",1\r\ntea\r\ntea,4'
MESSAGES = [b'{"item": "tea", "price": [1]}', b"[]", b'{"item": "\xe2\x82\xac"}', b"{"]


def test_files_and_connections_in_their_formats(tmp_path):
    (tmp_path / "in.csv").write_bytes(FILE)
    paths = [tmp_path / "in.csv", tmp_path / "out.jsonl"]
    letters = tmp_path / "letters.jsonl"
    with Orchestrator(APPS / "formats.py", *paths, workers=2, options=["--dead-letters", letters]) as run:
        send(run.address(), b"".join(len(message).to_bytes(2, "big") + message for message in MESSAGES))
        run.wait_for("dead letter", count=3)
        run.stop()
    written = [json.loads(line) for line in paths[1].read_text().splitlines()]
    assert sorted(row["count"] for row in written if row["item"] == "tea") == [1, 2, 3, 4]
    for row in written:
        del row["count"]
    expected = [
        {"item": "tea", "price": "3.20"},
        {"item": "tea", "price": ""},
        {"item": "cup, blue", "price": "1"},
        {"item": "tea", "price": "4"},
        {"item": "tea", "price": [1]},
        {"item": "€"},
    ]
    assert sorted(written, key=str) == sorted(expected, key=str)
    assert sorted(letter["message"] for letter in read_dead_letters(letters)) == [
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "csv_lines('item', 'price'): a line has 1 fields, and there are 2 columns",
        "json_lines(dict): expected dict, got []",
    ]
