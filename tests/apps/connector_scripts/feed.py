"""A script with a source connector: gives the lines of its input. A line may be TEXT, or TEXT and its event time."""

import sys
from datetime import datetime, timezone

import wallaroo.experimental

connector = wallaroo.experimental.SourceConnector(required_params=[], optional_params=["as"])
connector.connect()
for line in sys.stdin:
    text, *time = line.rstrip("\n").split("@")
    if not time:
        connector.write(text)
    elif getattr(connector.params, "as") == "datetime":
        connector.write(text, event_time=datetime.fromtimestamp(float(time[0]), timezone.utc))
    else:
        connector.write(text, int(float(time[0]) * 1000))
    print("written", text)
