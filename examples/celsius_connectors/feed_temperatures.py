"""Feeds the source connector with the temperatures of a file, one on each line."""

from __future__ import annotations

import wallaroo.experimental


def main() -> None:
    connector = wallaroo.experimental.SourceConnector(required_params=["file"])
    connector.connect()
    with open(connector.params.file, encoding="utf-8") as temperatures:
        for line in temperatures:
            connector.write(float(line))
    connector.close()


if __name__ == "__main__":
    main()
