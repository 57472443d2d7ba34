"""The shared vectors of spec/vectors."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import msgpack
import pytest

from wallaroo._codec import protocol as protocol
from wallaroo._codec.keys import key_from_wire, key_problem
from wallaroo.worker._connection import Connection

VECTORS = Path(__file__).parents[2] / "spec" / "vectors"
SENT = {number: message for message, number in protocol._TYPES.items()}


def entries(name, **wanted):
    loaded = [
        entry
        for entry in json.loads((VECTORS / name).read_text())
        if all(entry[field] in values for field, values in wanted.items())
    ]
    return pytest.mark.parametrize("entry", loaded, ids=[entry["name"] for entry in loaded])


def revive(value):
    if isinstance(value, list):
        return [revive(item) for item in value]
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if set(value) == {"hex"} else {k: revive(v) for k, v in value.items()}
    return value


@entries("to_worker.json")
def test_what_a_worker_receives(entry):
    decoded = revive(entry["decoded"])
    message = protocol.decode(bytes.fromhex(entry["hex"]))
    assert [protocol._TYPES[type(message)], *message] == decoded
    if entry.get("canonical", True):
        assert protocol.encode(message).hex() == entry["hex"]


@entries("from_worker.json")
def test_what_a_worker_sends(entry):
    kind, *fields = revive(entry["decoded"])
    body = protocol.encode(SENT[kind](*fields))
    # Sinks' messages may be str or bin, so those are the bytes of an entry that is not the encoder's own too.
    assert msgpack.unpackb(body, strict_map_key=False) == [kind, *fields]
    if entry.get("canonical", True):
        assert body.hex() == entry["hex"]


# What comes from a worker is only sent by this side.
@entries("invalid.json", direction=("to_worker", "key"))
def test_what_must_be_refused(entry):
    data = bytes.fromhex(entry["hex"])
    if entry["direction"] == "key":
        assert not is_key(data)
        return
    with pytest.raises(protocol.ProtocolError) as caught:
        check_input(protocol.decode(data))
    assert isinstance(caught.value, protocol.VersionError) == (entry["error"] == "version")


def check_input(message):
    """Do what stages do, which know what kind of array their input is."""
    given = message.input if isinstance(message, protocol.Batch) else []
    if isinstance(given, list) and not protocol.is_frames(given) and not protocol.is_groups(given):
        raise protocol.ProtocolError("the input is neither frames nor groups")


def is_key(data):
    """Whether ``data`` is a key as this side writes it."""
    try:
        key = key_from_wire(msgpack.unpackb(data))
    except (ValueError, msgpack.UnpackException, RecursionError):
        return False
    return key_problem(key) is None and msgpack.packb(key) == data


@entries("keys.json")
def test_keys(entry):
    data = bytes.fromhex(entry["hex"])
    key = key_from_wire(msgpack.unpackb(data))
    assert key == key_from_wire(revive(entry["decoded"]))
    assert key is None or is_key(data)
    assert repr(key) == entry["display"]


ENDS = {"oversize": "beyond the cap", "empty_frame": "length 0", "closed_in_frame": "before the end of a frame"}


@entries("frames.json")
def test_frames(entry):
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    connection.limit(entry["max_body"])
    with theirs:
        theirs.sendall(bytes.fromhex(entry["hex"]))
    for body in entry["bodies"]:
        assert connection.receive().hex() == body
    if "error" in entry:
        with pytest.raises(protocol.ProtocolError, match=ENDS[entry["error"]]):
            connection.receive()
    else:
        assert connection.receive() is None
    connection.close()
