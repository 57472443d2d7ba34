"""Recognising a decoder's length prefix."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wallaroo._io.framing import framing_of, recognise


def length(header, width, offset=0, order="big", signed=False, adjust=0):
    return {
        "kind": "length",
        "header": header,
        "width": width,
        "offset": offset,
        "order": order,
        "signed": signed,
        "adjust": adjust,
    }


@pytest.mark.parametrize(
    ("header", "payload_length", "expected"),
    [
        (4, lambda bs: struct.unpack(">I", bs)[0], length(4, 4)),
        (4, lambda bs: struct.unpack("<i", bs)[0], length(4, 4, order="little", signed=True)),
        (2, lambda bs: struct.unpack(">H", bs)[0] - 2, length(2, 2, adjust=-2)),
        (1, lambda bs: bs[0], length(1, 1)),
        (8, lambda bs: struct.unpack(">xxIH", bs)[0], length(8, 4, offset=2)),
        (12, lambda bs: int.from_bytes(bs[5:8], "little") + 12, length(12, 3, offset=5, order="little", adjust=12)),
        (8, lambda bs: struct.unpack(">Q", bs)[0], length(8, 8)),
    ],
)
def test_a_length_prefix_is_recognised(header, payload_length, expected):
    assert recognise(payload_length, header) == expected


@given(data=st.data())
def test_any_length_prefix_is_recognised(data):
    header = data.draw(st.integers(1, 16))
    width = data.draw(st.integers(1, min(8, header)))
    offset = data.draw(st.integers(0, header - width))
    order = data.draw(st.sampled_from(["big", "little"])) if width > 1 else "big"
    signed = data.draw(st.booleans())
    adjust = data.draw(st.integers(-64, 64))

    def payload_length(bs):
        return int.from_bytes(bs[offset : offset + width], order, signed=signed) + adjust

    assert recognise(payload_length, header) == length(header, width, offset, order, signed, adjust)


def refuse(bs):
    raise ValueError(bs)


@pytest.mark.parametrize(
    ("header", "payload_length"),
    [
        (4, refuse),
        (4, lambda bs: struct.unpack(">I", bs)[0] & 0x7FFFFFFF),  # A flag in the high bit.
        (4, lambda bs: 2 * struct.unpack(">I", bs)[0]),  # In words, not bytes.
        (2, lambda bs: 96),  # Records of one size.
        (0, lambda bs: 96),
        (4, lambda bs: float(struct.unpack(">I", bs)[0])),
        (5, lambda bs: int(bs) if bs.isdigit() else 0),  # Digits.
        (65, lambda bs: bs[0]),
        (1, lambda bs: bs[0] + bs[0] // 200),
    ],
)
def test_what_is_no_length_prefix_is_left_to_the_decoder(header, payload_length):
    assert recognise(payload_length, header) is None
    decoder = type(
        "Decoder", (), {"header_length": lambda self: header, "payload_length": lambda self, bs: payload_length(bs)}
    )()
    assert framing_of("test", decoder) == {"kind": "decoder", "header": header}


@pytest.mark.parametrize("delimiter", [b"\r\n", lambda self: b"\r\n"])
def test_a_delimiter_is_an_attribute_or_a_method(delimiter):
    decoder = type("Decoder", (), {"delimiter": delimiter})()
    assert framing_of("test", decoder) == {"kind": "delimiter", "delimiter": b"\r\n"}
