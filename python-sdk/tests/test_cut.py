"""Cutting frames by calling the decoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallaroo.worker._cutter import Cutter

CAP = 1_000


def flagged(header):
    """Return the length: the high bit is a flag."""
    return int.from_bytes(header, "big") & 0x7FFF


def frame(payload, flag=0):
    return (len(payload) | flag << 15).to_bytes(2, "big") + payload


@given(st.lists(st.tuples(st.binary(max_size=20), st.integers(0, 1)), max_size=8), st.data())
def test_frames_are_cut_wherever_the_bytes_end(payloads, data):
    stream = b"".join(frame(*payload) for payload in payloads)
    there = data.draw(st.integers(0, len(stream)))
    frames, consumed, need, error = Cutter(2, flagged, CAP).cut(stream[:there])
    assert error is None
    cut = [stream[start:end] for start, end in zip(frames[0::2], frames[1::2])]
    assert cut == [payload for payload, _ in payloads][: len(cut)]
    assert consumed == sum(len(payload) + 2 for payload in cut)
    assert consumed + need > there
    if len(cut) < len(payloads):
        left = stream[consumed:]
        assert need in (2, 2 + flagged(left[:2]))


def test_what_the_decoder_raises_is_an_error_after_the_good_frames():
    def strict(header):
        if header[0] != 1:
            raise ValueError(f"bad magic {header[0]}")
        return header[1]

    stream = b"\x01\x02ab" + b"\x09\x00" + b"\x01\x00"
    frames, consumed, _, error = Cutter(2, strict, CAP).cut(stream)
    assert (frames, consumed) == ([2, 4], 4)
    assert error[:2] == ["ValueError", "bad magic 9"]
    assert "bad magic" in error[2]


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (-1, "payload_length returned -1, which is negative"),
        (1_001, "a message of 1001 bytes is beyond the cap of 1000 bytes; raise it with --max-frame"),
        (1.0, "payload_length returned float, not int"),
        (True, "payload_length returned bool, not int"),
    ],
)
def test_a_length_that_cannot_be(length, message):
    assert Cutter(2, lambda header: length, CAP).cut(b"ab").error[1] == message


def test_nothing_without_end():
    assert Cutter(0, lambda header: 0, CAP).cut(b"ab").error[1] == "a message without header and payload has no end"


def test_records_of_one_size_need_no_header():
    assert Cutter(0, lambda header: 3, CAP).cut(b"abcdefgh") == ([0, 3, 3, 6], 6, 3, None)


def test_very_many_frames_are_cut_in_turns():
    cutter = Cutter(1, lambda header: 0, CAP)
    _, consumed, need, error = cutter.cut(bytes(70_000))
    assert (consumed, need, error) == (65_536, 1, None)
    assert len(cutter.cut(bytes(70_000 - consumed)).frames) == 2 * (70_000 - consumed)
