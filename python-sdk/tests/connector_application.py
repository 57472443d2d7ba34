"""An application with connectors, and how the tests of scripts call them."""

import pytest

from wallaroo.experimental import ConnectorError

APPLICATION = """
import wallaroo
from wallaroo import experimental


@experimental.stream_message_encoder
def encode(data):
    return data


@experimental.stream_message_decoder
def decode(bs):
    if bs == b"refused":
        raise ValueError("refused")
    return bs.decode()


def application_setup(args):
    given.append(args)
    port = int(args[args.index("--in") + 1]) if "--in" in args else 7100
    feed = wallaroo.source("feed", experimental.SourceConnectorConfig("feed", encode, decode, port))
    out = experimental.SinkConnectorConfig("results", encode, decode, 7200, host="localhost")
    other = experimental.SinkConnectorConfig("other", encode, decode, 7201)
    return wallaroo.build_application("connected", feed.to_sinks([out, other]))


given = []
"""


def words(application, connector, *further):
    return ["--application-module", application, "--connector", connector, *map(str, further)]


def message_of(make):
    with pytest.raises(ConnectorError) as refused:
        make()
    assert isinstance(refused.value, RuntimeError)
    return str(refused.value)
