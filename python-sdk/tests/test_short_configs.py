"""``stdin``, ``stdout``, ``file`` and ``tcp``, on either side, and the event times that they take."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import csv_lines, file, json_lines, lines, stdin, stdout, tcp

UTC = dt.timezone.utc
SECOND = 1_000_000_000
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=UTC)


@wallaroo.decoder(delimiter=b";")
def decode(bs):
    return bs.decode()


@wallaroo.encoder
def encode(data):
    return f"{data};"


class Lines:
    """Decodes and encodes, as the classes of generation 1 do."""

    delimiter = b"\n"

    def decode(self, bs):
        return bs.decode()

    def encode(self, data):
        return data + "\n"


class Headed:
    """Only Python can tell a length."""

    def header_length(self):
        return 1

    def payload_length(self, bs):
        return 2 * bs[0]

    def decode(self, bs):
        return bs


class Endless:
    def decode(self, bs):
        return bs


def ends_of(source, sink):
    """How an application that passes messages through describes its source and its sink."""
    pipeline = wallaroo.source("in", source).to_sink(sink)
    first, last = wallaroo.build_application("app", pipeline).describe()["nodes"]
    return first["source"], last["sink"]


def test_a_source_may_follow():
    for source in (file("a.txt", lines(), follow=True), file("a.txt", decode, follow=True)):
        assert ends_of(source, stdout(lines()))[0] == {"kind": "file", "path": "a.txt", "follow": True}


def test_a_sink_may_append():
    for sink in (file("a.txt", lines(), append=True), file("a.txt", encode, append=True)):
        assert ends_of(stdin(lines()), sink)[1] == {"kind": "file", "path": "a.txt", "append": True}
        assert sink.shown_name == "file a.txt"


@pytest.mark.parametrize("codec", [lines(), Lines, Lines()])
def test_files_and_addresses_stand_on_either_side(codec):
    assert ends_of(file("a.txt", codec), file(Path("b.txt"), codec)) == (
        {"kind": "file", "path": "a.txt"},
        {"kind": "file", "path": "b.txt"},
    )
    assert ends_of(tcp("127.0.0.1:7010", codec), tcp("[::1]:7002", codec)) == (
        {"kind": "tcp", "host": "127.0.0.1", "port": 7010},
        {"kind": "tcp", "host": "::1", "port": 7002},
    )
    assert ends_of(stdin(codec), stdout(codec)) == ({"kind": "stdin"}, {"kind": "stdout"})


def test_what_only_decodes_is_a_source_and_what_only_encodes_a_sink():
    assert ends_of(file("a.txt", decode), file("b.txt", encode))[1] == {"kind": "file", "path": "b.txt"}
    assert ends_of(tcp("h:1", decode), tcp("h:2", encode))[0] == {"kind": "tcp", "host": "h", "port": 1}
    assert ends_of(stdin(decode), stdout(encode)) == ({"kind": "stdin"}, {"kind": "stdout"})


def test_addresses_as_the_parsers_return_them():
    args = ["--in", "127.0.0.1:7010", "--out", "sink@[::1]:7002"]
    (source,), (sink,) = wallaroo.tcp_parse_input_addrs(args), wallaroo.tcp_parse_output_addrs(args)
    assert ends_of(tcp(source, lines()), tcp(sink, lines())) == (
        {"kind": "tcp", "host": "127.0.0.1", "port": 7010},
        {"kind": "tcp", "host": "::1", "port": 7002},
    )


def test_a_class_that_is_given_becomes_one_object():
    config = file("a.txt", Lines)
    assert config.decoder is config.encoder


def test_messages_go_through():
    rows = wallaroo.source("in", file("in.csv", csv_lines("item", "price"))).to_sink(file("out.jsonl", json_lines()))
    outcome = wallaroo.testing.run(wallaroo.build_application("app", rows), ["item,price", "tea,3"])
    assert outcome.outputs == {"file out.jsonl": [b'{"item":"tea","price":"3"}\n']}


def app_of(sink):
    return wallaroo.source("in", stdin(lines())).to_sink(sink)


MISUSE = {
    "a source as a sink": (
        lambda: app_of(stdin(lines())),
        "pipeline 'in', to_sink: the argument reads messages, and a sink writes them: it is stdin\n"
        "hint: give a codec, or an encoder, to wallaroo.stdout, wallaroo.file or wallaroo.tcp",
    ),
    "a file that is only read as a sink": (
        lambda: app_of(file("a", decode)),
        "pipeline 'in', to_sink: the argument reads messages, and a sink writes them: it is file a\n"
        "hint: give a codec, or an encoder, to wallaroo.stdout, wallaroo.file or wallaroo.tcp",
    ),
    "a sink as a source": (
        lambda: wallaroo.source("in", stdout(lines())),
        "source('in'): the argument writes messages, and a source reads them: it is stdout\n"
        "hint: give a codec, or a decoder, to wallaroo.stdin, wallaroo.file or wallaroo.tcp",
    ),
    "an address that is only written to as a source": (
        lambda: wallaroo.source("in", tcp("h:1", encode)),
        "source('in'): the argument writes messages, and a source reads them: it is tcp h:1\n"
        "hint: give a codec, or a decoder, to wallaroo.stdin, wallaroo.file or wallaroo.tcp",
    ),
    "event times of a sink": (
        lambda: file("a", encode, event_time=float),
        "file: event_time is for sources, and encode has no method decode\nhint: leave event_time out of a sink",
    ),
    "a decoder that appends": (
        lambda: file("a", decode, append=True),
        "file: append is for sinks, and decode has no method encode\nhint: leave append out of a source",
    ),
    "columns of a file that is appended to": (
        lambda: file(__file__, csv_lines(header=True), append=True),
        "file: append is for sinks, and csv_lines(header=True) has no method encode\n"
        "hint: leave append out of a source",
    ),
    "a source that appends": (
        lambda: wallaroo.source("in", file("a", lines(), append=True)),
        "source('in'): append is for sinks, and this is a source: file a\nhint: leave append out of a source",
    ),
    "append that is no bool": (
        lambda: file("a", lines(), append="yes"),
        "file: append must be a bool, got 'yes'\nhint: append=True, or leave it out",
    ),
    "an encoder that follows": (
        lambda: file("a", encode, follow=True),
        "file: follow is for sources, and encode has no method decode\nhint: leave follow out of a sink",
    ),
    "a sink that follows": (
        lambda: wallaroo.source("in", stdin(lines())).to_sink(file("a", lines(), follow=True)),
        "pipeline 'in', to_sink: follow is for sources, and this is a sink: file a\nhint: leave follow out of a sink",
    ),
    "follow that is no bool": (
        lambda: file("a", lines(), follow=1),
        "file: follow must be a bool, got 1\nhint: follow=True, or leave it out",
    ),
    "a followed file that only the decoder can cut": (
        lambda: file("a", Headed, follow=True),
        "file: Headed has a header that only it can read, and a file is followed in messages that end with a "
        "delimiter or begin with their length\nhint: give it a delimiter, as lines() has",
    ),
    "no codec": (
        lambda: file("a", object()),
        "file: codec: object has no method decode or encode\nhint: give a codec, such as wallaroo.lines()",
    ),
    "a plain function": (
        lambda: tcp("h:1", lambda bs: bs),
        "tcp: codec: <lambda> is a plain function\n"
        "hint: put @wallaroo.decoder(...) or @wallaroo.encoder above it, or give a class",
    ),
    "an encoder that reads": (
        lambda: stdin(encode),
        "stdin: codec: encode has no method decode, and a source reads\nhint: give a codec, such as wallaroo.lines()",
    ),
    "a decoder that writes": (
        lambda: stdout(decode),
        "stdout: codec: decode has no method encode, and a sink writes\nhint: give a codec, such as wallaroo.lines()",
    ),
    "a source that does not say where messages end": (
        lambda: stdin(Endless),
        "stdin decoder: Endless has no method header_length\nhint: define header_length(self) in class Endless",
    ),
    "a codec that was not called": (
        lambda: stdin(lines),
        "stdin: codec: lines is a function that returns a codec\nhint: call it: lines(...)",
    ),
    "and one of a config": (
        lambda: wallaroo.FileSinkConfig("a", json_lines),
        "FileSinkConfig encoder: json_lines is a function that returns a codec\nhint: call it: json_lines(...)",
    ),
    "codec and path in the wrong order": (
        lambda: file(lines(), "a"),
        "file: codec: the argument is of type str, whose methods are not those of a step\n"
        "hint: give a class of your own, or a function with the decorator for its place",
    ),
    "no port": (
        lambda: tcp("localhost", lines()),
        'tcp: \'localhost\' is not an address\nhint: give "HOST:PORT", for example "127.0.0.1:7010"',
    ),
    "a port alone": (
        lambda: tcp(7010, lines()),
        'tcp: address must be a str, got 7010\nhint: give "HOST:PORT", for example "127.0.0.1:7010"',
    ),
    "a port that is none": (
        lambda: tcp("h:http", lines()),
        "tcp: 'h:http': port must be a number from 0 to 65535, got 'http'\n"
        "hint: give the port as an int or as its digits",
    ),
    "event times that are none": (
        lambda: stdin(lines(), event_time=5),
        "stdin event_time is of type int, not a function\n"
        "hint: give a function from a message to when it happened: a datetime, or seconds as a float",
    ),
    "max_ahead without event_time": (
        lambda: tcp("h:1", lines(), max_ahead=dt.timedelta(hours=1)),
        "tcp: max_ahead limits event times, and there is no event_time\nhint: give event_time too",
    ),
    "max_ahead of a sink": (
        lambda: file("a", encode, max_ahead=None),
        "file: max_ahead limits event times, and there is no event_time\nhint: give event_time too",
    ),
    "max_ahead in seconds": (
        lambda: stdin(lines(), event_time=float, max_ahead=3600),
        "stdin max_ahead=3600 is less than a millisecond: durations are in nanoseconds\n"
        "hint: for example max_ahead=timedelta(hours=1)",
    ),
    "max_ahead that is no duration": (
        lambda: file("a", lines(), event_time=float, max_ahead=0.5),
        "file max_ahead is a timedelta, a whole number of nanoseconds or None, not of type float\n"
        "hint: for example max_ahead=timedelta(hours=1)",
    ),
    "max_ahead that is negative": (
        lambda: tcp("h:1", lines(), event_time=float, max_ahead=dt.timedelta(seconds=-1)),
        "tcp max_ahead is a timedelta, a whole number of nanoseconds or None, not datetime.timedelta(days=-1,"
        " seconds=86399)\nhint: for example max_ahead=timedelta(hours=1)",
    ),
}


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_is_explained(case):
    call, complaint = MISUSE[case]
    with pytest.raises(wallaroo.WallarooParameterError) as raised:
        call()
    assert str(raised.value) == complaint


class Gather(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        accumulator.append(data)

    def output(self, key, accumulator):
        return "".join(accumulator)


def gathering(event_time, **options):
    """An application that gives what is in each window of ten seconds, by ``event_time``."""
    windows = wallaroo.range_windows(wallaroo.seconds(10)).over(Gather)
    pipeline = wallaroo.source("letters", file("in", lines(), event_time=event_time, **options)).to(windows)
    return wallaroo.build_application("app", pipeline.to_sink(stdout(lines())))


def windows_of(event_time, messages, **options):
    return wallaroo.testing.run(gathering(event_time, **options), messages)


@pytest.mark.parametrize(
    "event_time",
    [
        lambda data: NOON + dt.timedelta(seconds=7 * ord(data)),
        lambda data: (NOON + dt.timedelta(seconds=7 * ord(data))).astimezone(dt.timezone(dt.timedelta(hours=-3))),
        lambda data: NOON.timestamp() + 7 * ord(data),
        lambda data: wallaroo.nanoseconds((int(NOON.timestamp()) + 7 * ord(data)) * SECOND),
    ],
    ids=["a datetime", "of another zone", "seconds", "nanoseconds"],
)
def test_event_times_may_be_datetimes_seconds_or_nanoseconds(event_time):
    assert windows_of(event_time, list("ABCDE")).lines == ["A", "BC", "D", "E"]


@pytest.mark.parametrize(
    ("time", "complaint"),
    [
        (dt.datetime(2024, 5, 1), "a datetime without a time zone; say which"),
        (
            dt.date(2024, 5, 1),
            "date; return a datetime with a time zone, or since the Unix epoch seconds as a float or",
        ),
        ("2024-05-01", "str; return a datetime with a time zone"),
        (True, "bool; return a datetime with a time zone"),
        (None, "NoneType; return a datetime with a time zone"),
        (float("nan"), "nan, which is no time"),
        (float("inf"), "inf, which is no time"),
        (2.0**62, "4611686018427387904000000000, which is no time"),
        (2**63, "9223372036854775808, which is no time"),
    ],
)
def test_what_is_no_time_is_a_dead_letter(time, complaint):
    outcome = windows_of(lambda data: time, ["A"])
    assert outcome.lines == []
    (letter,) = outcome.dead_letters
    assert letter.message.startswith(f"event_time returned {complaint}")


def test_a_time_before_1980_is_warned_of_once():
    with pytest.warns(UserWarning, match="before 1980") as warned:
        outcome = windows_of(lambda data: 1_700_000_000, ["A", "B"])
    assert outcome.lines == ["AB"]
    (warning,) = warned
    assert str(warning.message) == (
        "event_time of source 'letters' returned 1700000000 nanoseconds, which is before 1980: an int is nanoseconds"
        " since the Unix epoch; return seconds as a float"
    )
    assert Path(warning.filename).name == Path(__file__).name


def stamped(message):
    """Return the time of a message such as ``A 7``: so many seconds after now."""
    return time.time() + int(message.split()[1])


HOUR, DAY = 3600, 86_400


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, DAY), ({"max_ahead": dt.timedelta(hours=1)}, HOUR), ({"max_ahead": wallaroo.hours(2)}, 2 * HOUR)],
    ids=["a day unless something is said", "a timedelta", "nanoseconds"],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_time_too_far_ahead_is_a_dead_letter_and_makes_no_other_message_late(options, limit, batch):
    app = gathering(stamped, **options)
    far = 3 * limit // 2
    outcome = wallaroo.testing.run(app, ["A 0", f"B {far}", "C 0", f"D {limit // 2}"], batch=batch)
    assert [character for character in "".join(outcome.lines) if character.isalpha()] == ["A", "C", "D"]
    assert outcome.late == 0
    (letter,) = outcome.dead_letters
    assert (letter.step, letter.value) == ("letters", f"B {far}")
    assert letter.message.startswith("event_time returned ")
    assert letter.message.endswith(
        f" after the message arrived, and max_ahead of the source is {dt.timedelta(seconds=limit)};"
        " give it more, or None, if the time is right"
    )


def test_without_max_ahead_one_time_makes_all_that_follow_late():
    outcome = windows_of(stamped, ["A 0", f"B {900 * DAY}", "C 0"], max_ahead=None)
    assert outcome.lines == ["A 0", f"B {900 * DAY}"]
    assert (outcome.late, outcome.dead_letters) == (1, [])


def test_time_that_passes_in_a_test_counts():
    app = wallaroo.testing.InProcess(gathering(stamped, max_ahead=wallaroo.hours(1)))
    app.send([f"A {2 * HOUR}"])
    app.advance(wallaroo.hours(2))
    app.send([f"B {2 * HOUR}"])
    app.end()
    assert app.outcome.lines == [f"B {2 * HOUR}"]
    assert len(app.outcome.dead_letters) == 1


def test_a_clock_that_was_set_while_the_run_goes_on(monkeypatch):
    """The orchestrator's clock goes on from what it was when the run began."""
    monkeypatch.setattr("wallaroo.testing._time.time_ns", lambda: 0)
    outcome = windows_of(stamped, ["A 0", f"B {2 * DAY}", "C 0"])
    assert [character for character in "".join(outcome.lines) if character.isalpha()] == ["A", "C"]
    assert len(outcome.dead_letters) == 1


def test_the_configs_of_old_have_no_limit():
    windows = wallaroo.range_windows(10).over(Gather)
    config = wallaroo.FileSourceConfig("in", Lines, event_time=lambda data: 2**61)
    pipeline = wallaroo.source("letters", config).to(windows).to_sink(stdout(lines()))
    assert wallaroo.testing.run(wallaroo.build_application("app", pipeline), ["A"]).lines == ["A"]


def test_the_configs_of_old_take_nanoseconds_alone_and_do_not_warn():
    windows = wallaroo.range_windows(10).over(Gather)
    config = wallaroo.FileSourceConfig("in", Lines, event_time=lambda data: 5 if data == "A" else 5.0)
    pipeline = wallaroo.source("letters", config).to(windows).to_sink(stdout(lines()))
    outcome = wallaroo.testing.run(wallaroo.build_application("app", pipeline), ["A", "B"])
    assert outcome.lines == ["A"]
    (letter,) = outcome.dead_letters
    assert letter.message == "event_time returned float; return nanoseconds since the Unix epoch as an int"
