"""Word count: text arrives over TCP, and every word leaves with the number of times it has been seen.

    wallaroo-orch run word_count.py --in 127.0.0.1:7010 --out 127.0.0.1:7002

A message is a big-endian 32-bit length followed by that many bytes of UTF-8 text. The counts are split into 27 state
partitions, one for each letter a word may start with and one, "!", for everything else.
"""

import string
import struct

import wallaroo


def application_setup(args: list[str]) -> wallaroo.Application:
    in_host, in_port = wallaroo.tcp_parse_input_addrs(args)[0]
    out_host, out_port = wallaroo.tcp_parse_output_addrs(args)[0]

    word_partitions = list(string.ascii_lowercase)
    word_partitions.append("!")

    ab = wallaroo.ApplicationBuilder("Word Count Application")
    ab.new_pipeline("Split and Count", wallaroo.TCPSourceConfig(in_host, in_port, Decoder()))
    ab.to_parallel(Split)
    ab.to_state_partition(CountWord(), WordTotalsBuilder(), "word totals", WordPartitionFunction(), word_partitions)
    ab.to_sink(wallaroo.TCPSinkConfig(out_host, out_port, Encoder()))
    return ab.build()


class Decoder:
    def header_length(self) -> int:
        return 4

    def payload_length(self, bs: bytes) -> int:
        return int(struct.unpack(">I", bs)[0])

    def decode(self, bs: bytes) -> str:
        return bs.decode("utf-8")


class Split:
    def name(self) -> str:
        return "split into words"

    def compute_multi(self, data: str) -> list[str]:
        punctuation = " !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

        words: list[str] = []

        for line in data.split("\n"):
            clean_line = line.lower().strip(punctuation)
            for word in clean_line.split(" "):
                clean_word = word.strip(punctuation)
                words.append(clean_word)

        return words


class CountWord:
    def name(self) -> str:
        return "Count Word"

    def compute(self, word: str, word_totals: "WordTotals") -> "tuple[WordCount, bool]":
        word_totals.update(word)
        return (word_totals.get_count(word), True)


class WordTotals:
    def __init__(self) -> None:
        self.word_totals: dict[str, int] = {}

    def update(self, word: str) -> None:
        if word in self.word_totals:
            self.word_totals[word] = self.word_totals[word] + 1
        else:
            self.word_totals[word] = 1

    def get_count(self, word: str) -> "WordCount":
        return WordCount(word, self.word_totals[word])


class WordTotalsBuilder:
    def build(self) -> WordTotals:
        return WordTotals()


class WordPartitionFunction:
    def partition(self, data: str) -> str:
        # Split yields the empty word for a blank line, two spaces in a row, or a single dash. It has no first letter.
        if data and "a" <= data[0] <= "z":
            return data[0]
        return "!"


class WordCount:
    def __init__(self, word: str, count: int) -> None:
        self.word = word
        self.count = count


class Encoder:
    def encode(self, data: WordCount) -> str:
        return data.word + " => " + str(data.count) + "\n"
