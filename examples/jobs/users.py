"""An HTTP service to try ``enrichment.py`` with: ``python users.py 8080``."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COUNTRIES = {"ada": "England", "eve": "Wales"}


class Users(BaseHTTPRequestHandler):
    """Answers ``GET /ada`` with what is known of Ada."""

    def do_GET(self) -> None:
        country = COUNTRIES.get(self.path[1:])
        body = json.dumps({"country": country}).encode()
        self.send_response(200 if country else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


def serve(port: int) -> ThreadingHTTPServer:
    return ThreadingHTTPServer(("127.0.0.1", port), Users)


if __name__ == "__main__":
    serve(int(sys.argv[1])).serve_forever()
