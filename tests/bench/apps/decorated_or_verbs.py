"""The same with decorated steps and with verbs, as the first argument says: counts of words, and their lengths."""

from __future__ import annotations

import wallaroo


@wallaroo.decoder(delimiter=b"\n")
def decode(bs):
    return bs.decode()


@wallaroo.encoder
def encode(text):
    return text


def lower(line):
    return line.lower()


def split(line):
    return line.split(" ")


def is_word(word):
    return word != ""


def look(word):
    pass


def key(word):
    return word


def is_frequent(counted):
    return counted[1] > 1


def show(counted):
    return f"{counted[0]} => {counted[1]}\n"


class Total:
    def __init__(self):
        self.count = 0


def decorated(lines):
    @wallaroo.computation(name="is_word")
    def only_words(word):
        return word if word != "" else None

    @wallaroo.computation(name="look")
    def looked_at(word):
        look(word)
        return word

    @wallaroo.state_computation(name="count", state=Total)
    def count(word, total):
        total.count += 1
        return word, total.count

    @wallaroo.computation(name="is_frequent")
    def only_frequent(counted):
        return counted if counted[1] > 1 else None

    words = lines.to(wallaroo.computation(name="lower")(lower)).to(wallaroo.computation_multi(name="split")(split))
    counts = words.to(only_words).to(looked_at).key_by(wallaroo.key_extractor(key)).to(count)
    return counts.to(only_frequent).to(wallaroo.computation(name="show")(show))


def verbs(lines):
    words = lines.map(lower).flat_map(split).filter(is_word).inspect(look)
    return words.key_by(key).count().filter(is_frequent).map(show)


def application_setup(args):
    lines = wallaroo.source("lines", wallaroo.StdinSourceConfig(decode))
    made = {"decorated": decorated, "verbs": verbs}[args[0]](lines)
    return wallaroo.build_application(args[0], made.to_sink(wallaroo.StdoutSinkConfig(encode)))
