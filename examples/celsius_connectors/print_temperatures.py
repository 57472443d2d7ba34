"""Prints what the sink connector gives."""

from __future__ import annotations

import wallaroo.experimental


def main() -> None:
    connector = wallaroo.experimental.SinkConnector(optional_params=["unit"])
    connector.listen()
    unit = connector.params.unit or "°F"
    while True:
        print(connector.read(), unit, flush=True)


if __name__ == "__main__":
    main()
