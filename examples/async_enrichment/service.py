"""The service: ``python service.py HOST:PORT [N]``. It takes 50 ms for an answer, and refuses one request in N (10)."""

from __future__ import annotations

import asyncio
import json
import sys

COUNTRIES = {"ada": "England", "eve": "Wales", "tom": "England"}
TAKES = 0.05


class Service:
    """Answers ``GET /ada`` with the country of Ada."""

    def __init__(self, refuses: int) -> None:
        self._refuses = refuses
        self._requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self._requests += 1
                refused = self._requests % self._refuses == 0
                await asyncio.sleep(TAKES)
                country = COUNTRIES.get(head.decode().split()[1][1:])
                status = "503 Busy" if refused else "200 OK" if country else "404 Unknown"
                body = json.dumps({"country": country}).encode()
                writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def main(place: str, refuses: str = "10") -> None:
    host, _, port = place.rpartition(":")
    server = await asyncio.start_server(Service(int(refuses)).serve, host, int(port))
    print("port", server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
