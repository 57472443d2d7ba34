"""Counts clicks by the country that an HTTP service knows of a user: ``async_enrichment.py HOST:PORT``."""

from __future__ import annotations

import asyncio
import json

import wallaroo

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Click = dict[str, str]


class Countries:
    """A client of the service, as ``httpx.AsyncClient`` would be one. It keeps its connections."""

    def __init__(self, place: str) -> None:
        self._host, _, self._port = place.rpartition(":")
        self._idle: list[Connection] = []

    async def add_country(self, click: Click) -> Click:
        return {**click, "country": await self._country_of(click["user"]) or "unknown"}

    async def _country_of(self, user: str) -> str | None:
        connection = self._idle.pop() if self._idle else await asyncio.open_connection(self._host, int(self._port))
        try:
            answer = await self._ask(user, *connection)
        except BaseException:
            # Also at a timeout: the answer may still come, and must not be the next one's.
            connection[1].close()
            raise
        self._idle.append(connection)
        return answer

    def teardown(self) -> None:
        """Close the connections, when a worker is stopped."""
        if self._idle:
            asyncio.get_event_loop().run_until_complete(self._close())

    async def _close(self) -> None:
        for _, writer in self._idle:
            writer.close()
            await writer.wait_closed()

    async def _ask(self, user: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        writer.write(f"GET /{user} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        body = await reader.readexactly(int(head.partition("content-length:")[2].split()[0]))
        status = head.split()[1]
        if status not in ("200", "404"):
            raise ConnectionError(f"the service answered with {status}")
        country: str | None = json.loads(body)["country"]
        return country


def application_setup(args: list[str]) -> wallaroo.Application:
    (place,) = args
    clicks = wallaroo.source("clicks", wallaroo.stdin(wallaroo.json_lines()))
    enriched = clicks.map_async(
        Countries(place).add_country,
        concurrency=50,
        timeout=wallaroo.seconds(5),
        retries=3,
        backoff=wallaroo.milliseconds(50),
    )
    counts = enriched.key_by("country").count()
    return wallaroo.application("async enrichment", counts.sink(wallaroo.stdout(wallaroo.json_lines())))
