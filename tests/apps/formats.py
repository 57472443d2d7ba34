"""Reads rows of CSV from a file, and JSON after its length from TCP; writes both as lines of JSON to a file."""

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    rows = wallaroo.source("rows", wallaroo.file(args[0], wallaroo.csv_lines("item", "price")))
    messages = wallaroo.source(
        "messages", wallaroo.tcp("127.0.0.1:0", wallaroo.length_prefixed(">H", wallaroo.json_lines(dict)))
    )
    both = rows.merge(messages).key_by(item).to(count)
    return wallaroo.build_application("formats", both.to_sink(wallaroo.file(args[1], wallaroo.json_lines())))


@wallaroo.key_extractor
def item(message):
    return message["item"]


class Total:
    count = 0


@wallaroo.state_computation(name="count", state=Total)
def count(message, total):
    total.count += 1
    return {**message, "count": total.count}
