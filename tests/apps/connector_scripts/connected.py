"""``connected.py FEED RESULTS [KIND]``: text from the source connector to the sink connector, at two ports.

KIND is ``plain``, the same text, or ``windowed``: the text of ten seconds of event time, in one message.
"""

import wallaroo
import wallaroo.experimental


def application_setup(args):
    feed, results, *kind = args
    config = wallaroo.experimental.SourceConnectorConfig("feed", encoder=encode, decoder=decode, port=feed)
    sink = wallaroo.experimental.SinkConnectorConfig("results", encoder=encode, decoder=decode, port=results)
    texts = wallaroo.source("texts", config)
    if kind == ["windowed"]:
        windows = texts.key_by(by_letter).to(wallaroo.range_windows(wallaroo.seconds(10)).over(Joined))
        return wallaroo.build_application("connected", windows.to_sink(sink))
    return wallaroo.build_application("connected", texts.to(same).to_sink(sink))


@wallaroo.key_extractor
def by_letter(text):
    return text[0]


@wallaroo.computation(name="same")
def same(text):
    return text


class Joined(wallaroo.Aggregation):
    def initial_accumulator(self):
        return []

    def update(self, text, texts):
        texts.append(text)

    def combine(self, one, other):
        return one + other

    def output(self, key, texts):
        return " ".join([f"{key}:", *texts])


@wallaroo.experimental.stream_message_encoder
def encode(text):
    return text.encode("utf-8")


@wallaroo.experimental.stream_message_decoder
def decode(bs):
    return bs.decode("utf-8")
