"""Codecs of lines, CSV, bytes and messages after their length: what they read, write and refuse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing

FIELDS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n") | st.sampled_from('",\ufeff'))
TEXT = FIELDS.filter(lambda text: not text.startswith("\ufeff"))


def through(source_codec, sink_codec, frames):
    """What a sink writes of frames that go through an application without steps, and the dead letters' messages."""
    lines = wallaroo.source("in", wallaroo.stdin(source_codec)).to_sink(wallaroo.stdout(sink_codec))
    outcome = wallaroo.testing.run(wallaroo.build_application("app", lines), frames)
    return b"".join(outcome.messages), [f"{letter.exception}: {letter.message}" for letter in outcome.dead_letters]


def test_lines_end_as_on_any_system_and_begin_without_a_mark():
    codec = wallaroo.lines()
    given = (b"tea", b"tea\r", b"\xef\xbb\xbftea", b"\xef\xbb\xbftea\r", b"", b"\r", b"\xef\xbb\xbf", b" tea \r\r")
    assert list(map(codec.decode, given)) == ["tea", "tea", "tea", "tea", "", "", "", " tea \r"]


@given(TEXT)
def test_lines_come_back(text):
    for codec in (wallaroo.lines(), wallaroo.lines("utf-8-sig"), wallaroo.lines("gb18030")):
        written = codec.encode(text)
        frame, end, rest = (written.encode() if isinstance(written, str) else written).partition(codec.delimiter)
        assert (end, rest) == (b"\n", b"")
        assert codec.decode(frame) == text


def test_encodings_of_lines():
    codec = wallaroo.lines(encoding="latin-1")
    assert codec.decode(b"caf\xe9\r") == "café"
    assert codec.encode("café") == b"caf\xe9\n"
    assert wallaroo.lines("UTF8").encode("é") == "é\n"
    written, complaints = through(wallaroo.lines(), wallaroo.lines("latin-1"), ["é", "€"])
    assert written == b"\xe9\n"
    assert [complaint.partition(":")[0] for complaint in complaints] == ["UnicodeEncodeError"]


def test_long_lines_fail_or_are_skipped():
    frames = ["1234", "12345", "1234\r", "é12"]
    assert through(wallaroo.lines(max_length=4), wallaroo.lines(), frames) == (
        "1234\n1234\né12\n".encode(),
        ["ValueError: lines(max_length=4, on_long='fail'): a line of 5 bytes is longer than 4"],
    )
    skipping = wallaroo.lines(max_length=4, on_long="skip")
    assert through(skipping, wallaroo.lines(), frames) == ("1234\n1234\né12\n".encode(), [])


def test_csv_is_read_and_written():
    codec = wallaroo.csv_lines("item", "note")
    rows = {
        b"tea,": {"item": "tea", "note": ""},
        b'"tea, green","say ""hi"""\r': {"item": "tea, green", "note": 'say "hi"'},
        b'te"a,""': {"item": 'te"a', "note": ""},
        b"\xef\xbb\xbftea,x": {"item": "tea", "note": "x"},
        b"item,note": None,
        b"": None,
        b"\r": None,
    }
    assert {frame: codec.decode(frame) for frame in rows} == rows
    assert codec.encode({"note": 'say "hi"', "item": "tea, green"}) == '"tea, green","say ""hi"""\n'
    assert codec.encode({"item": None, "note": 2.5}) == ",2.5\n"
    assert wallaroo.csv_lines("a", "b", delimiter="\t", encoding="latin-1").encode({"a": "é", "b": ","}) == b"\xe9\t,\n"


@given(st.lists(FIELDS, min_size=1, max_size=4))
def test_csv_comes_back(fields):
    columns = [f"column {number}" for number in range(len(fields))]
    codec = wallaroo.csv_lines(*columns)
    row = dict(zip(columns, fields))
    assert codec.decode(codec.encode(row).encode().rstrip(b"\n")) == row


@pytest.mark.parametrize(
    ("frame", "complaint"),
    [
        ("tea", "csv_lines('item', 'price'): a line has 1 fields, and there are 2 columns"),
        ("tea,1,2", "csv_lines('item', 'price'): a line has 3 fields, and there are 2 columns"),
        (
            'tea,"1',
            "csv_lines('item', 'price'): field 2 has a quote that is not closed, or text after one; a field cannot "
            "hold a line break",
        ),
        (
            '"tea"s,1',
            "csv_lines('item', 'price'): field 1 has a quote that is not closed, or text after one; a field cannot "
            "hold a line break",
        ),
    ],
)
def test_a_line_that_is_no_row_is_a_dead_letter(frame, complaint):
    codec = wallaroo.csv_lines("item", "price")
    assert through(codec, codec, [frame]) == (b"", [f"ValueError: {complaint}"])


@pytest.mark.parametrize(
    ("codec", "message", "complaint"),
    [
        (wallaroo.lines(), 3, "TypeError: lines() writes str, and was given int"),
        (wallaroo.lines(), b"tea", "TypeError: lines() writes str, and was given bytes"),
        (
            wallaroo.lines("latin-1"),
            ["tea"],
            "TypeError: lines(encoding='latin-1') writes str, and was given list",
        ),
        (wallaroo.raw(), "tea", "TypeError: raw() writes bytes, and was given str"),
        (wallaroo.csv_lines("a"), ["tea"], "TypeError: csv_lines('a') writes a dict, and was given list"),
        (wallaroo.csv_lines("a", "b"), {"a": 1}, "ValueError: csv_lines('a', 'b'): the message has no 'b'"),
        (wallaroo.csv_lines("a"), {"a": 1, "b": 2}, "ValueError: csv_lines('a'): the message has more: 'b'"),
        (
            wallaroo.csv_lines("a"),
            {"a": "1\n2"},
            "ValueError: csv_lines('a'): a field holds a line break, and a message is one line: '1\\n2'",
        ),
        (
            wallaroo.length_prefixed(">B", wallaroo.lines()),
            "x" * 256,
            "ValueError: length_prefixed('>B', lines()): a message of 256 bytes is longer than a header '>B' can say; "
            'use a wider one, such as ">I"',
        ),
    ],
)
def test_what_a_codec_does_not_write(codec, message, complaint):
    @wallaroo.decoder(delimiter=b"\n")
    def decode(bs):
        return message

    assert through(decode, codec, ["x"]) == (b"", [complaint])


def test_messages_after_their_length():
    codec = wallaroo.length_prefixed(">H", wallaroo.lines())
    assert codec.encode("é\n") == b"\x00\x03\xc3\xa9\n"
    config = wallaroo.stdin(codec)
    assert config.framing == {
        "kind": "length",
        "header": 2,
        "width": 2,
        "offset": 0,
        "order": "big",
        "signed": False,
        "adjust": 0,
    }
    assert codec.decode(b"\xef\xbb\xbftea\r") == "\ufefftea\r", "nothing of a message belongs to a line end"
    limited = wallaroo.length_prefixed(">H", wallaroo.lines(max_length=4, on_long="skip"))
    assert [limited.decode(b"1234"), limited.decode(b"12345")] == ["1234", None]
    raw = wallaroo.length_prefixed("<I", wallaroo.raw())
    assert through(raw, raw, [b"\x00\n"]) == (b"\x02\x00\x00\x00\x00\n", [])
    assert through(raw, wallaroo.raw(), [b"\x00\n", b"", b"\xff"]) == (b"\x00\n\xff", [])
    rows = wallaroo.length_prefixed(">I", wallaroo.csv_lines("a", "b", encoding="latin-1"))
    assert rows.encode({"a": "é", "b": 2}) == b"\x00\x00\x00\x03\xe9,2"


def test_a_worker_calls_the_functions_of_a_codec_themselves():
    for codec in (wallaroo.lines(), wallaroo.json_lines(), wallaroo.csv_lines("a"), wallaroo.lines(max_length=5)):
        assert wallaroo.stdin(codec).decode is codec.decode
        assert wallaroo.stdout(codec).encode is codec.encode


def test_codecs_are_shown_by_how_they_were_made():
    assert repr(wallaroo.length_prefixed(">I", wallaroo.csv_lines("a"))) == "length_prefixed('>I', csv_lines('a'))"
    described = wallaroo.build_application(
        "app",
        wallaroo.source("in", wallaroo.stdin(wallaroo.lines())).to_sink(wallaroo.stdout(wallaroo.lines("cp1252"))),
    ).describe()
    assert [described["nodes"][0]["decoder"], described["nodes"][1]["encoder"]] == [
        "lines()",
        "lines(encoding='cp1252')",
    ]


def no_codec(bs):
    return bs


MISUSE = {
    "an encoding that is none": (
        lambda: wallaroo.lines("utf-9"),
        "lines(encoding='utf-9'): encoding 'utf-9' is not a text encoding that Python knows\n"
        'hint: for example "utf-8", "latin-1" or "cp1252"',
    ),
    "an encoding of bytes": (
        lambda: wallaroo.lines("base64"),
        "lines(encoding='base64'): encoding 'base64' is not a text encoding that Python knows\n"
        'hint: for example "utf-8", "latin-1" or "cp1252"',
    ),
    "an encoding that Python has for names alone": (
        lambda: wallaroo.lines("undefined"),
        "lines(encoding='undefined'): encoding 'undefined' is not a text encoding that Python knows\n"
        'hint: for example "utf-8", "latin-1" or "cp1252"',
    ),
    "an encoding that cannot be cut": (
        lambda: wallaroo.lines("utf-16"),
        "lines(encoding='utf-16'): a line end in utf-16 is not the byte 0x0A, by which lines are cut\n"
        "hint: convert the data to UTF-8 first",
    ),
    "another word for long lines": (
        lambda: wallaroo.lines(max_length=5, on_long="drop"),
        "lines(max_length=5, on_long='drop'): on_long must be \"fail\" or \"skip\", got 'drop'\n"
        'hint: "fail" makes a longer line a dead letter, "skip" leaves it out',
    ),
    "what is long is not said": (
        lambda: wallaroo.lines(on_long="skip"),
        "lines: on_long='skip' says what to do with long lines, and max_length is missing\n"
        "hint: give the greatest length of a line in bytes, as max_length=65536",
    ),
    "a length that is none": (
        lambda: wallaroo.lines(max_length=0),
        "lines: max_length must be an int above 0, got 0\nhint: give the greatest length of a line in bytes",
    ),
    "no column": (
        lambda: wallaroo.csv_lines(),
        'csv_lines: no column is named\nhint: give the names of the columns in order: csv_lines("time", "price")',
    ),
    "a list of columns": (
        lambda: wallaroo.csv_lines(["a", "b"]),
        "csv_lines: a column's name is of type list, not str\n"
        'hint: give each name on its own: csv_lines("time", "price"), or csv_lines(*names) for a list',
    ),
    "a column twice": (
        lambda: wallaroo.csv_lines("a", "a"),
        "csv_lines: column 'a' is named twice\nhint: give each column its own name",
    ),
    "a delimiter of two": (
        lambda: wallaroo.csv_lines("a", delimiter="||"),
        "csv_lines('a', delimiter='||'): delimiter must be one character, no quote and no line end, got '||'\n"
        r'hint: for example ";" or "\t"',
    ),
    "a header that is no format": (
        lambda: wallaroo.length_prefixed("four", wallaroo.raw()),
        "length_prefixed('four', raw()): length_fmt 'four' is no format of struct: bad char in struct format\n"
        'hint: for a big-endian integer of four bytes, ">I"',
    ),
    "a header of two integers": (
        lambda: wallaroo.length_prefixed(">HH", wallaroo.raw()),
        "length_prefixed('>HH', raw()): length_fmt '>HH' does not read one integer\n"
        'hint: for a big-endian integer of four bytes, ">I"',
    ),
    "two headers": (
        lambda: wallaroo.length_prefixed(">I", wallaroo.length_prefixed(">I", wallaroo.raw())),
        "length_prefixed: length_prefixed('>I', raw()) has a length before each message already\nhint: use it as it is",
    ),
    "a header before no codec": (
        lambda: wallaroo.length_prefixed(">I", no_codec),
        "length_prefixed: codec is the function no_codec, not a codec\n"
        'hint: write length_prefixed(">I", raw()) for bytes, length_prefixed(">I", lines()) for text',
    ),
    "a codec that was not called": (
        lambda: wallaroo.length_prefixed(">I", wallaroo.lines),
        "length_prefixed: codec: lines is a function that returns a codec\nhint: call it: lines(...)",
    ),
    "bytes that nothing cuts": (
        lambda: wallaroo.stdin(wallaroo.raw()),
        "raw() does not say where a message ends, so a source cannot use it alone\n"
        'hint: write length_prefixed(">I", raw()) if a length comes before each message, or lines() for lines',
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_explained(case):
    call, complaint = MISUSE[case]
    with pytest.raises(wallaroo.WallarooParameterError) as raised:
        call()
    assert str(raised.value) == complaint
