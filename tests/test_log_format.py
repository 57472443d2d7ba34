"""The log of a run that was killed is as ``spec/log.md`` lays down: a reader after that page alone reads it."""

import itertools
import signal
import sys
import time
import zlib
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import log_reader
from tests.harness.orchestrator import PATIENCE, Orchestrator, read_dead_letters
from tests.harness.places import APPS
from tests.log_reader import LogFormatError, Record

NUMBERS, LINES = 20_000, 200_000
SQUARES, WINDOWS = 0, 1
FIELDS = ("journaled", "routed", "written", "letters", "delivered", "kept")
POLL = 0.05


class Killed(NamedTuple):
    """What a killed run has left."""

    state: object
    source: Path
    sinks: list
    letters: list
    records: "list[Record]"


def lines():
    """Lines of which some raise, and some come too late for their window."""
    for number in range(LINES):
        moment = max(0, number - 300) if number % 501 == 500 else number
        yield f"{moment} k{number % 7} {'bad' if number % 1000 == 5 else 'good'}\n"


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Killed:
    folder = tmp_path_factory.mktemp("killed")
    state, source, letters = folder / "state", folder / "in.txt", folder / "letters"
    sinks = [folder / "squares", folder / "windows"]
    source.write_text("".join(lines()))
    options = ["--state", state, "--dead-letters", letters, "--pool", f"other={sys.executable}"]
    with Orchestrator(APPS / "logged.py", NUMBERS, source, *sinks, options=options) as run:
        run.ready()
        deadline = time.monotonic() + PATIENCE
        while not has_all(log_reader.read_records(state)):
            assert run.process.poll() is None, run.log()
            assert time.monotonic() < deadline, run.log()
            time.sleep(POLL)
        run.process.kill()
        assert run.wait() == -signal.SIGKILL, "the stream is too short"
    return Killed(state, source, sinks, read_dead_letters(letters), list(log_reader.read_records(state)))


def has_all(records):
    """Whether both sinks have delivered, a letter is kept, and the other fields have occurred too."""
    missing = {*FIELDS, SQUARES, WINDOWS, "timers", "late"}
    for record in records:
        missing -= {field for field in FIELDS if getattr(record, field)}
        missing -= {sink for sink, _ in record.delivered}
        missing -= {field for field in ("timers", "late") if getattr(record.timing, field)}
    return not missing


def test_format_names_the_application_and_its_steps(killed):
    found = log_reader.read_format(killed.state)
    assert found["application"] == "logged"
    assert '"check"' in found["topology"]


def test_records_have_no_gaps_and_only_zeros_are_behind_them(killed):
    assert [record.lsn for record in killed.records] == list(range(1, len(killed.records) + 1))
    for segment in log_reader.read_segments(killed.state):
        assert segment.payloads
        behind = segment.path.read_bytes()[segment.end :]
        # A write may have been under way: then a record is torn. It is the only one.
        header = behind[:24]
        assert not any(behind) or header[8:16] == (segment.payloads[-1][0] + 1).to_bytes(8, "little")


def test_durable_rises_with_the_records(killed):
    durable = [durable for segment in log_reader.read_segments(killed.state) for _, durable, _ in segment.payloads]
    assert durable == sorted(durable)
    assert durable[-1] > 0


def test_every_kind_of_record_is_there(killed):
    assert {record.consumed.kind for record in killed.records} == {"Frames", "Groups", "Values", "Generated"}
    consumed = [group for record in killed.records for group in record.consumed.groups or ()]
    assert {group.codec for group in consumed} == {0, log_reader.TIMER}
    assert all(not group.values for group in consumed if group.codec == 0)
    assert has_all(killed.records)


def test_positions_and_delivered_bytes_rise(killed):
    positions = [record.consumed.position for record in killed.records if record.consumed.kind == "Frames"]
    assert positions == sorted(positions, key=lambda position: position.offset)
    for sink in (SQUARES, WINDOWS):
        delivered = [count for record in killed.records for which, count in record.delivered if which == sink]
        assert delivered == sorted(delivered)
        assert delivered[-1] <= killed.sinks[sink].stat().st_size


def test_positions_name_the_file(killed):
    content, found = killed.source.read_bytes(), killed.source.stat()
    positions = [record.consumed.position for record in killed.records if record.consumed.kind == "Frames"]
    for position in positions:
        assert (position.device, position.inode) == (found.st_dev, found.st_ino)
        assert position.head >= min(position.offset, 4096)
        assert position.checksum == zlib.crc32(content[: position.head])
        assert content[position.offset - 1 : position.offset] == b"\n"


@pytest.mark.parametrize("sink", [SQUARES, WINDOWS])
def test_a_file_has_a_prefix_of_what_records_say(killed, sink):
    """Nothing is in a file before its record is durable, and everything is there in the order of the records."""
    written = [written for record in killed.records for written in record.written if written.sink == sink]
    messages = b"".join(itertools.chain.from_iterable(each.messages for each in written))
    content = killed.sinks[sink].read_bytes()
    assert content
    assert messages.startswith(content)


def test_dead_letters_are_a_prefix_of_what_records_say(killed):
    recorded = [
        (f"{record.lsn}.{index}", letter.exception, letter.message)
        for record in killed.records
        for index, letter in enumerate(record.letters)
    ]
    found = [(letter["id"], letter["exception"], letter["message"]) for letter in killed.letters]
    assert found
    assert recorded[: len(found)] == found
    kept = [record.kept for record in killed.records if record.kept is not None]
    assert kept == sorted(kept)


def test_consumed_groups_are_those_that_were_routed(killed):
    """Each stage consumes the groups of a key in the order in which earlier records routed them."""
    waiting: dict = {}
    for record in killed.records:
        for group in record.consumed.groups or ():
            if group.codec != log_reader.TIMER:
                assert waiting[record.stage, group.key].pop(0) == group.count
        for routed in record.routed:
            for stage, _ in routed.to:
                for group in routed.groups:
                    waiting.setdefault((stage, group.key), []).append(group.count)


def test_the_vectors_of_the_specification(tmp_path):
    header = bytes.fromhex("77616c6c61726f6f020000004a66277e2900000000000000efcdab8967452301")
    record = bytes.fromhex("05000000592a99222a00000000000000280000000000000068656c6c6f")
    # The header's first lsn is 41: record 42 alone is not the next one.
    path = tmp_path / f"{41:020}.log"
    assert log_reader.read_segment(header + record, path).payloads == []
    assert log_reader.record_at(header + record, len(header), header[24:]) == (42, 40, b"hello")
    with pytest.raises(LogFormatError, match="no header"):
        log_reader.read_segment(header[:-1] + b"\0", path)


def test_the_record_of_the_specification():
    payload = bytes.fromhex(
        "9d050601cf18ebd202cbe7d38681a647726f757073c40894a278300100c40094019090ce000480d39091920092c408783020"
        "3d3e20310a91089093c000909090c0"
    )
    found = log_reader.decode_record(payload)
    assert (found.lsn, found.batch, found.stage) == (5, 6, 1)
    assert found.consumed.groups == [log_reader.Group("x0", 1, 0, b"", None)]
    assert found.journaled == log_reader.Journaled(1, [], [], 295_123)
    assert found.written == [log_reader.Written(0, [b"x0 => 1\n"])]


def test_other_forms_are_refused(killed):
    """A reader that takes everything would show nothing."""
    (segment, *_) = log_reader.read_segments(killed.state)
    payload = segment.payloads[0][2]
    assert payload[0] == 0x9D, "an array of 13 elements"
    with pytest.raises(LogFormatError):
        log_reader.decode_record(b"\x9e" + payload[1:] + b"\xc0")
    with pytest.raises(LogFormatError):
        log_reader.decode_record(b"\x9d\xa1a" + payload[2:])
