"""An application described by its first argument, which writes to two files. Its messages are ``TIME KEY TEXT``.

The description is JSON: ``generation`` (2 or 3), ``sources`` (paths), ``stateless`` and ``keyed`` (steps by name; a
list makes windows), ``key`` (how messages are keyed; null: without a key). The output for a key, and its order, depends
only on the messages of that key, and, if values may be late, on those of its only source.
"""

import json

import wallaroo


def application_setup(args):
    shape, *sinks = args
    shape = json.loads(shape)
    return {2: second_generation, 3: third_generation}[shape["generation"]](
        shape, [wallaroo.FileSinkConfig(path, line) for path in sinks]
    )


def second_generation(shape, sinks):
    builder = wallaroo.ApplicationBuilder("Timed")
    for number, path in enumerate(shape["sources"]):
        builder.new_pipeline(f"source {number}", wallaroo.FileSourceConfig(path, message))
        for position, name in enumerate(shape["stateless"]):
            add = builder.to_parallel if position % 2 else builder.to
            add(STATELESS[name](f"{name} {number}.{position}"))
        for position, name in enumerate(shape["keyed"]):
            state_name = f"{name} {number}.{position}"
            if name in STATELESS:
                builder.to(STATELESS[name](state_name))
            elif shape["key"] == "all":
                builder.to_stateful(old_state_step(name, state_name), Seen, state_name)
            else:
                key = wallaroo.partition(KEYS[shape["key"]])
                builder.to_state_partition(old_state_step(name, state_name), Seen, state_name, key)
        builder.to_sinks([sinks[number]] if len(shape["sources"]) > 1 else sinks)
    return builder.build()


def third_generation(shape, sinks):
    pipelines = []
    for number, path in enumerate(shape["sources"]):
        pipeline = wallaroo.source(f"source {number}", wallaroo.FileSourceConfig(path, message, event_time=time))
        for position, name in enumerate(shape["stateless"]):
            pipeline = pipeline.to(STATELESS[name](f"{name} {number}.{position}"))
        pipelines.append(pipeline)
    merged = pipelines[0]
    for pipeline in pipelines[1:]:
        merged = merged.merge(pipeline)
    merged = keyed(merged, shape["key"])
    for position, name in enumerate(shape["keyed"]):
        unique = f"{name} {position}"
        if name == "key again":
            merged = keyed(merged, shape["key"])
        elif isinstance(name, list):
            merged = merged.to(windows(*name).over(Gather(f"{name[0]} {position}", len(pipelines) == 1)))
        elif name in STATELESS:
            merged = merged.to(STATELESS[name](unique))
        else:
            decorator, function = STATES[name]
            merged = merged.to(decorator(unique, state=Seen)(function))
    return wallaroo.build_application("Timed", merged.to_sinks(sinks))


def keyed(pipeline, key):
    if key is None:
        return pipeline
    return pipeline.collect() if key == "all" else pipeline.key_by(wallaroo.key_extractor(KEYS[key]))


KEYS = {
    "text": lambda data: data[1],
    "number": lambda data: ord(data[1]),
    "pair": lambda data: (data[1], ord(data[1]) % 2),
}


@wallaroo.decoder(delimiter=b"\n")
def message(bs):
    time, key, text = bs.decode().split(" ")
    return int(time), key, text


def time(data):
    return data[0]


@wallaroo.encoder
def line(data):
    return f"{data[1]} {data[2]}\n"


def upper(data):
    return (*data[:2], data[2].upper())


def some(data):
    return None if data[2].startswith("x") else data


def raises(data):
    if "q" in data[2]:
        raise ValueError(f"no q is wanted in {data}")
    return data


def parts(data):
    return [(*data[:2], part) for part in data[2].split("-")] + [None]


def together(batch):
    if any("y" in text for _, _, text in batch):
        raise KeyError("y")
    return [(*data[:2], f"{data[2]}.") if len(data[2]) % 3 else None for data in batch]


STATELESS = {
    "upper": lambda name: wallaroo.computation(name)(upper),
    "some": lambda name: wallaroo.computation(name)(some),
    "raises": lambda name: wallaroo.computation(name)(raises),
    "parts": lambda name: wallaroo.computation_multi(name)(parts),
    "together": lambda name: wallaroo.computation_batch(name)(together),
}


class Seen:
    def __init__(self):
        self.count = 0
        self.last = ""


def number(data, seen):
    seen.count += 1
    return (*data[:2], f"{data[2]}#{seen.count}")


def with_last(data, seen):
    if "b" in data[2]:
        raise LookupError(data[2])
    last, seen.last = seen.last, data[2]
    return [data, (*data[:2], f"{last}<{data[2]}")] if last else []


STATES = {
    "number": (wallaroo.state_computation, number),
    "with last": (wallaroo.state_computation_multi, with_last),
}


def old_state_step(name, unique):
    """Before generation 3 a state computation also returns whether it has changed the state."""
    decorator, function = STATES[name]
    return decorator(unique)(lambda data, state: (function(data, state), True))


class Gather(wallaroo.Aggregation):
    """The texts of a window, in the order in which they came if they have an order."""

    def __init__(self, name, in_order):
        self._name = name
        self._in_order = in_order

    def name(self):
        return self._name

    def initial_accumulator(self):
        return []

    def update(self, data, accumulator):
        if "a-" in data[2]:
            raise OverflowError(data[2])
        accumulator.append(data)

    def combine(self, left, right):
        return left + right

    def output(self, key, accumulator):
        if len(accumulator) == 7:
            raise ArithmeticError(f"7 values of key {key!r}")
        gathered = accumulator if self._in_order else sorted(accumulator)
        return gathered[0][0], gathered[0][1], "+".join(text for _, _, text in gathered)


def windows(kind, size, slide, delay, on_late):
    if kind == "count":
        return wallaroo.count_windows(size)
    if kind == "range":
        return wallaroo.range_windows(size, on_late=on_late).with_slide(min(slide, size)).with_delay(delay)
    return wallaroo.session_windows(size, on_late=on_late).with_delay(delay)
