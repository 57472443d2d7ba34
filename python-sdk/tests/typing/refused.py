"""What type checkers refuse: `E:` names the code of the error on its line. Checked by `test_typing.py`, never run."""

from __future__ import annotations

import wallaroo


class Total:
    count = 0


class NeedsArgument:
    def __init__(self, number: int) -> None:
        self.number = number


@wallaroo.decoder(delimiter=b"\n")
def text(bs: bytes) -> str:
    return bs.decode()


@wallaroo.computation(name="length")
def length(data: str) -> int:
    return len(data)


@wallaroo.computation_multi(name="words")
def words(data: str) -> list[str]:
    return data.split()


@wallaroo.computation_multi(name="one")  # E: type-var
def one(data: str) -> int:
    return 1


@wallaroo.computation_batch(name="lengths")  # E: type-var
def lengths(batch: list[str]) -> int:
    return len(batch)


@wallaroo.state_computation(name="count", state=Total)
def count(data: str, total: Total) -> str:
    return data


@wallaroo.state_computation(name="for the builder")
def for_the_builder(data: str, total: Total) -> tuple[str, bool]:
    return data, True


@wallaroo.key_extractor
def by_number(data: int) -> int:
    return data


@wallaroo.encoder
def number(data: int) -> str:
    return str(data)


def plain(data: str) -> str:
    return data


class Sum(wallaroo.Aggregation[int, list[int], int]):
    pass


lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(text))

lines.to(length).to(length)  # E: arg-type
lines.to(length).to(words)  # E: arg-type
lines.to(length).to(count)  # E: arg-type
lines.to(plain)  # E: call-overload
lines.to(length, pool=3)  # E: call-overload
lines.to(for_the_builder)  # E: call-overload
lines.to(wallaroo.count_windows(5).over(Sum))  # E: arg-type
lines.to(wallaroo.count_windows(5))  # E: call-overload
lines.key_by(by_number)  # E: arg-type
lines.key_by(float)  # E: type-var
lines.to_sink(wallaroo.StdoutSinkConfig(number))  # E: arg-type
lines.to_sink(number)  # E: arg-type
lines.merge(text)  # E: arg-type
length(3)  # E: arg-type
count("a", "b")  # E: arg-type
wallaroo.source("lines", text)  # E: arg-type
wallaroo.StdinSourceConfig(number)  # E: arg-type
wallaroo.StdoutSinkConfig(text)  # E: arg-type
wallaroo.build_application("app", lines.to)  # E: arg-type
wallaroo.TCPSourceConfig("127.0.0.1", 7010.0, text)  # E: call-overload


@wallaroo.computation  # E: arg-type
def no_name(data: str) -> str:
    return data


@wallaroo.computation(name="two")  # E: arg-type
def two(data: str, more: str) -> str:
    return data


@wallaroo.state_computation(name="another state", state=Total)  # E: arg-type
def another_state(data: str, total: dict[str, int]) -> str:
    return data


@wallaroo.state_computation(name="an argument", state=NeedsArgument)  # E: arg-type
def needs_argument(data: str, state: NeedsArgument) -> str:
    return data


@wallaroo.state_computation(name="no pair")  # E: arg-type
def no_pair(data: str, total: Total) -> str:
    return data


@wallaroo.key_extractor  # E: type-var
def no_key(data: str) -> float:
    return 1.5


@wallaroo.encoder  # E: type-var
def no_message(data: int) -> int:
    return data


@wallaroo.decoder(delimiter=b"\n")  # E: arg-type
def no_bytes(bs: int) -> str:
    return str(bs)
