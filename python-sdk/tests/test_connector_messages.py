"""Frames of connectors, their event times, and the configs that an application gives them to."""

import datetime
import struct
import warnings

import pytest

import wallaroo
import wallaroo.testing
from wallaroo import WallarooParameterError, experimental
from wallaroo._io.framing import framing_of
from wallaroo.experimental._messages import FRAMING, event_time_of

UTC = datetime.timezone.utc
NOON = datetime.datetime(2026, 5, 1, 12, tzinfo=UTC)
NOON_MS = 1_777_636_800_000
YEAR_2001 = 978_307_200_000


@experimental.stream_message_encoder
def encode(data):
    return data


@experimental.stream_message_decoder
def decode(bs):
    return bs.decode()


def frame(payload, milliseconds=0):
    return struct.pack("<Iq", len(payload) + 8, milliseconds) + payload


def test_a_frame_is_length_time_and_message():
    assert encode.encode(b"tea") == b"\x0b\0\0\0" + b"\0" * 8 + b"tea"
    assert encode.encode(b"tea", NOON) == b"\x0b\0\0\0" + NOON_MS.to_bytes(8, "little") + b"tea"


@pytest.mark.parametrize("payload", ["größe", "größe".encode(), bytearray("größe".encode()), memoryview(b"gr")])
def test_what_an_encoder_may_return(payload):
    sent = payload.encode() if isinstance(payload, str) else bytes(payload)
    assert encode.encode(payload) == frame(sent)


def test_none_is_not_sent():
    assert encode.encode(None) is None


class Seconds:
    def __index__(self):
        return NOON_MS


@pytest.mark.parametrize(
    "event_time",
    [
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(datetime.timezone(datetime.timedelta(hours=-5))),
        NOON_MS / 1000,
        NOON_MS,
        Seconds(),
    ],
)
def test_the_forms_of_an_event_time(event_time):
    assert encode.encode(b"", event_time) == frame(b"", NOON_MS)


@pytest.mark.parametrize("none", [0, None, 0.0])
def test_no_event_time(none):
    assert encode.encode(b"", none) == frame(b"")
    assert event_time_of(bytes(8)) is None


def test_a_time_is_read_in_nanoseconds():
    assert event_time_of(struct.pack("<q", -1) + b"tea") == -1_000_000


@pytest.mark.parametrize("event_time", ["12:00", True, object()])
def test_what_is_no_time(event_time):
    with pytest.raises(TypeError, match="give a datetime, or since the Unix epoch seconds as a float or milliseconds"):
        encode.encode(b"", event_time)


@pytest.mark.parametrize("event_time", [NOON_MS * 1_000, NOON_MS * 1_000_000, -(2**63), float("inf"), float("nan")])
def test_a_time_that_cannot_be_sent(event_time):
    with pytest.raises(ValueError, match="event_time"):
        encode.encode(b"", event_time)


def test_seconds_for_milliseconds_are_warned_of():
    with pytest.warns(UserWarning, match="event_time 1777636800 is before 1980: an int is milliseconds"):
        encode.encode(b"", NOON_MS // 1000)


def test_the_greatest_time_is_one_that_windows_take():
    longest = experimental._times._END - 1
    assert event_time_of(encode.encode(b"", longest)[4:]) < 2**62


@pytest.mark.parametrize("payload", [3, [1], object()])
def test_what_an_encoder_may_not_return(payload):
    expected = f"encode returned {type(payload).__name__}; a function with stream_message_encoder returns bytes"
    with pytest.raises(TypeError, match=expected):
        encode.encode(payload)


def test_the_functions_can_still_be_called():
    assert encode(b"tea") == b"tea"
    assert decode(b"tea") == "tea"


def test_the_orchestrator_cuts_the_frames_itself():
    assert framing_of("test", decode) == FRAMING


@pytest.mark.parametrize("size", range(8))
def test_a_frame_without_a_time(size):
    with pytest.raises(ValueError, match=f"a frame of {size} bytes has no event time"):
        decode.decode(bytes(size))


@pytest.mark.parametrize("decorator", [experimental.stream_message_encoder, experimental.stream_message_decoder])
def test_a_function_with_other_arguments(decorator):
    with pytest.raises(WallarooParameterError, match="cannot be called with 1 argument"):
        decorator(lambda: b"")


# Configs


class Framed:
    """Frames of its own, on both sides."""

    def header_length(self):
        return 2

    def payload_length(self, bs):
        return int.from_bytes(bs, "big")

    def encode(self, data, event_time=0):
        return len(data).to_bytes(2, "big") + data

    def decode(self, bs):
        return bs.decode()


def source(*args, **options):
    return experimental.SourceConnectorConfig(*args, **options)


def sink(*args, **options):
    return experimental.SinkConnectorConfig(*args, **options)


def test_what_the_orchestrator_is_told():
    feed = source("feed", encoder=encode, decoder=decode, port="7100")
    assert feed.describe() == {"kind": "tcp", "host": "127.0.0.1", "port": 7100}
    assert feed.framing == FRAMING
    results = sink("results", encoder=encode, decoder=decode, port=7200, host="::1")
    assert results.describe() == {"kind": "tcp", "host": "::1", "port": 7200}


def test_own_frames():
    feed, results = source("feed", Framed, Framed(), 7100), sink("results", Framed(), Framed, 7200)
    assert feed.framing["header"] == 2
    assert not feed.has_event_times
    assert results.encode(b"tea") == b"\0\3tea"


@wallaroo.encoder
def plain(data):
    return data


@wallaroo.decoder(header_length=4, length_fmt=">I")
def big_endian(bs):
    return bs


class OneArgument(Framed):
    def encode(self, data):
        return data


REFUSED = {
    "an encoder of other sinks": (
        lambda: source("feed", plain, decode, 7100),
        "SourceConnectorConfig('feed') encoder: plain is decorated with @wallaroo.encoder, which writes no length and"
        " time\nhint: decorate it with @wallaroo.experimental.stream_message_encoder",
    ),
    "the same at a sink": (
        lambda: sink("results", plain, decode, 7200),
        "SinkConnectorConfig('results') encoder: plain is decorated with @wallaroo.encoder, which writes no length and"
        " time\nhint: decorate it with @wallaroo.experimental.stream_message_encoder",
    ),
    "a decoder of other frames": (
        lambda: source("feed", encode, big_endian, 7100),
        "SourceConnectorConfig('feed'): big_endian does not read what encode writes: four bytes of length,"
        " little-endian, eight of event time, and the message\n"
        "hint: decorate big_endian with @wallaroo.experimental.stream_message_decoder",
    ),
    "the same at a sink, by a class": (
        lambda: sink("results", encode, Framed, 7200),
        "SinkConnectorConfig('results'): Framed does not read what encode writes: four bytes of length,"
        " little-endian, eight of event time, and the message\n"
        "hint: decorate Framed with @wallaroo.experimental.stream_message_decoder",
    ),
    "a function that is not decorated": (
        lambda: source("feed", lambda data: data, decode, 7100),
        "SourceConnectorConfig('feed') encoder: <lambda> is a plain function\n"
        "hint: put @wallaroo.experimental.stream_message_encoder above it, or give a class",
    ),
    "an encoder that takes no time": (
        lambda: source("feed", OneArgument, Framed, 7100),
        "SourceConnectorConfig('feed') encoder: OneArgument.encode(data) cannot be called with 2 arguments"
        " (data, event_time)\nhint: define it as encode(self, data, event_time)",
    ),
    "no name": (
        lambda: source("", encode, decode, 7100),
        "SourceConnectorConfig: name must be a non-empty str of printable characters, got ''\n"
        "hint: give it a name people know",
    ),
    "no port": (
        lambda: sink("results", encode, decode, "http"),
        "SinkConnectorConfig('results'): port must be a number from 0 to 65535, got 'http'\n"
        "hint: give the port as an int or as its digits",
    ),
    "a port that the system chooses": (
        lambda: source("feed", encode, decode, "0"),
        "SourceConnectorConfig('feed'): port is 0, and the script could not know which one the system chose\n"
        "hint: give a number above 0",
    ),
    "a limit without times": (
        lambda: source("feed", encode, decode, 7100, event_time=None, max_ahead=wallaroo.hours(1)),
        "SourceConnectorConfig('feed'): max_ahead limits event times, and there are none\nhint: give event_time too",
    ),
    "two sources on one port": (
        lambda: wallaroo.build_application(
            "two",
            *(
                wallaroo.source(name, source(name, encode, decode, 7100)).to_sink(wallaroo.StdoutSinkConfig(plain))
                for name in ("a", "b")
            ),
        ),
        "source('b'): pipeline 'a' reads from tcp 127.0.0.1 7100 already\nhint: give each source its own address",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(WallarooParameterError) as refused:
        make()
    assert str(refused.value) == message


# Event times in windows


def application(**options):
    feed = wallaroo.source("feed", source("feed", encode, decode, 7100, **options))
    windows = feed.key_by(lambda value: "all").window(wallaroo.tumbling(wallaroo.seconds(10)))
    lists = windows.aggregate(wallaroo.collect_list())
    shown = lists.map(lambda window: f"{window.start:%d %H:%M:%S} {' '.join(window.value)} {window.closed_by}")
    return wallaroo.build_application("connected", shown.to_sink(sink("results", encode, decode, 7200)))


def given(*messages):
    """The frames of messages at so many seconds after noon, without their length."""
    return [encode.encode(text, NOON_MS + 1000 * second)[4:] for text, second in messages]


def results(outcome):
    assert list(outcome.outputs) == ["results"]
    return [decode.decode(message[4:]) for message in outcome.messages]


@pytest.mark.parametrize("batch", [1, 2, 10])
def test_windows_go_by_the_times_of_the_frames(batch):
    messages = given(("a", 0), ("b", 9), ("c", 12), ("late", 3), ("d", 21))
    outcome = wallaroo.testing.run(application(), messages, batch=batch)
    assert results(outcome) == ["01 12:00:00 a b time", "01 12:00:10 c time", "01 12:00:20 d drain"]
    assert outcome.late == 1
    assert outcome.dead_letters == []


def test_a_message_without_a_time_happens_when_it_arrives():
    before = datetime.datetime.now(UTC)
    outcome = wallaroo.testing.run(application(), [encode.encode("now")[4:], encode.encode("late", YEAR_2001)[4:]])
    after = datetime.datetime.now(UTC)
    (shown,) = results(outcome)
    windows = {f"{at - datetime.timedelta(seconds=at.second % 10):%d %H:%M:%S}" for at in (before, after)}
    assert shown in {f"{window} now drain" for window in windows}
    assert outcome.late == 1


def test_a_function_of_the_message_comes_before_the_frame():
    app = application(event_time=lambda text: NOON if text == "a" else NOON + datetime.timedelta(seconds=10))
    assert results(wallaroo.testing.run(app, given(("a", 50), ("b", 50)))) == [
        "01 12:00:00 a time",
        "01 12:00:10 b drain",
    ]


def test_arrival_may_be_asked_for():
    app = application(event_time=None)
    assert not app.nodes[0].describe()["event_time"]
    # The clock of a test begins in 1970.
    assert results(wallaroo.testing.run(app, given(("a", 0), ("b", 50)))) == ["01 00:00:00 a b drain"]


def test_a_time_in_the_future_is_a_dead_letter():
    far = encode.encode("far", datetime.datetime.now(UTC) + datetime.timedelta(days=2))[4:]
    outcome = wallaroo.testing.run(application(), [*given(("a", 0)), far, *given(("b", 1))])
    assert results(outcome) == ["01 12:00:00 a b drain"]
    (letter,) = outcome.dead_letters
    assert (letter.step, letter.value) == ("feed", "far")
    assert "max_ahead" in letter.message
    assert results(wallaroo.testing.run(application(max_ahead=None), [far]))


def test_a_frame_that_cannot_be_read_is_a_dead_letter():
    outcome = wallaroo.testing.run(application(), [b"short", *given(("a", 0))])
    assert results(outcome) == ["01 12:00:00 a drain"]
    (letter,) = outcome.dead_letters
    assert letter.message.startswith("a frame of 5 bytes has no event time")


def test_no_warning_without_a_reason():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results(wallaroo.testing.run(application(), given(("a", 0))))


def test_the_builder_takes_connectors():
    ab = wallaroo.ApplicationBuilder("old")
    ab.new_pipeline("feed", source("feed", encode, decode, 7100)).to_sink(sink("results", encode, decode, 7200))
    assert results(wallaroo.testing.run(ab.build(), given(("tea", 0)))) == ["tea"]
