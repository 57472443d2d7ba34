"""Windows of the days of a time zone."""

from __future__ import annotations

import operator
from collections import Counter
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wallaroo
import wallaroo.testing
from verbs import literal, to_stdout
from wallaroo import sliding, tumbling

DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
PARIS = ZoneInfo("Europe/Paris")


def windows_of(windows, seconds, **options):
    """The windows of messages that are seconds since the epoch."""
    source = wallaroo.StdinSourceConfig(literal, event_time=lambda second: second * 1_000_000_000)
    counted = wallaroo.source("seconds", source).window(windows).aggregate(wallaroo.count())
    found = []
    outcome = wallaroo.testing.run(to_stdout(counted.inspect(found.append)), list(map(str, seconds)), **options)
    assert outcome.dead_letters == []
    return found


def second(*local, zone=PARIS, fold=0):
    return int(datetime(*local, tzinfo=zone, fold=fold).timestamp())


def test_a_day_is_as_long_as_the_clocks_say():
    before, long, after = second(2023, 10, 28, 23), second(2023, 10, 29, 23, 59), second(2023, 10, 30)
    found = windows_of(tumbling(DAY, timezone="Europe/Paris"), [before, long, after])
    assert [(w.start.isoformat(), w.end.isoformat(), w.value) for w in found] == [
        ("2023-10-28T00:00:00+02:00", "2023-10-29T00:00:00+02:00", 1),
        ("2023-10-29T00:00:00+02:00", "2023-10-30T00:00:00+01:00", 1),
        ("2023-10-30T00:00:00+01:00", "2023-10-31T00:00:00+01:00", 1),
    ]
    assert [(w.end.timestamp() - w.start.timestamp()) / 3600 for w in found] == [24, 25, 24]
    (short,) = windows_of(tumbling(DAY, timezone=PARIS), [second(2024, 3, 31, 3)])
    assert short.end.timestamp() - short.start.timestamp() == 23 * 3600


# Clocks change by day, at midnight, by half an hour; and one zone without changes.
ZONES = ["Europe/Paris", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]
CHANGES = [second(2018, 3, 25), second(2018, 10, 28), second(2018, 2, 18), second(2018, 11, 4), second(2018, 4, 1)]
TIMES = st.builds(operator.add, st.sampled_from(CHANGES), st.integers(-100_000, 200_000))


@given(st.lists(TIMES, max_size=20).map(sorted), st.sampled_from(ZONES), st.sampled_from([1, 3, 50]), st.booleans())
def test_each_message_is_in_the_window_of_its_date(seconds, zone, batch, restarts):
    found = windows_of(tumbling(DAY, timezone=zone), seconds, batch=batch, restarts=restarts)
    dates = Counter(datetime.fromtimestamp(at, ZoneInfo(zone)).date() for at in seconds)
    assert [(w.start.date(), w.value) for w in found] == sorted(dates.items())


@given(st.lists(TIMES, max_size=20).map(sorted), st.sampled_from(ZONES), st.integers(-30, 30), st.integers(1, 3))
def test_windows_that_overlap_and_are_moved_hold_what_is_within_their_bounds(seconds, zone, offset, days):
    windows = sliding(days * DAY, DAY, offset=timedelta(hours=offset), timezone=zone)
    found = windows_of(windows, seconds, batch=7)
    for window in found:
        # Of times with one zone Python compares what the clocks show.
        start, end = window.start.timestamp(), window.end.timestamp()
        assert window.value == sum(start <= at < end for at in seconds)
        assert abs(end - start - days * 86_400) <= 3600
    assert sum(window.value for window in found) == days * len(seconds)


def test_late_messages():
    first, next_day = second(2023, 10, 29, 12), second(2023, 10, 30, 0, 30)
    windows = tumbling(DAY, timezone=PARIS, delay=timedelta(hours=1))
    assert [w.value for w in windows_of(windows, [first, next_day, first])] == [2, 1]
    assert [w.value for w in windows_of(windows, [first, next_day + 1_800, first])] == [1, 1]


def test_it_is_the_offset_of_each_window():
    (window,) = windows_of(tumbling(DAY, offset=timedelta(hours=6), timezone=PARIS), [second(2024, 3, 31, 3)])
    assert (window.start, window.end) == (
        datetime(2024, 3, 30, 6, tzinfo=PARIS),
        datetime(2024, 3, 31, 6, tzinfo=PARIS),
    )


def test_times_before_1970_and_zones_of_all_kinds():
    fixed = timezone(timedelta(hours=-5))
    (window,) = windows_of(tumbling(DAY, timezone=fixed), [second(1969, 7, 20, 23, zone=fixed)])
    assert window.start == datetime(1969, 7, 20, tzinfo=fixed)
    assert window.start.tzinfo is fixed
    (week,) = windows_of(tumbling(7 * DAY, offset=4 * DAY, timezone="UTC"), [second(2024, 5, 1)])
    assert week.start.strftime("%a %F") == "Mon 2024-04-29"
    assert window.start < EPOCH


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tumbling(timedelta(hours=1), timezone="UTC"), "a time zone is for windows of whole days"),
        (lambda: sliding(DAY, timedelta(hours=1), timezone="UTC"), "a time zone is for windows of whole days"),
        (lambda: tumbling(DAY, timezone="Europe/Pariss"), "timezone='Europe/Pariss'): there is no such time zone"),
        (lambda: tumbling(DAY, timezone="../x"), "there is no such time zone"),
        (lambda: tumbling(DAY, timezone=1), "there is no such time zone"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(wallaroo.WallarooParameterError) as refused:
        make()
    assert message in str(refused.value)
