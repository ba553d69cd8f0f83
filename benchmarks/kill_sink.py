"""Where effects go when runs are killed: another process, which writes each one down, with fsync, before it says so.

It speaks JSON lines over a socket on loopback: `apply` writes an effect down (with `once`, a key it has seen before is
not applied again), `look` says whether a key was applied.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(json.dumps(self.server.obey(json.loads(line))).encode() + b"\n")  # type: ignore[attr-defined]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, log: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._file, self._lock, self._applied = log.open("ab", buffering=0), threading.Lock(), Counter[str]()

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked and say what came of it."""
        key = order["key"]
        with self._lock:
            if order["do"] == "look":
                return {"applied": self._applied[key]}
            if not (order["once"] and self._applied[key]):
                self._applied[key] += 1
                self._file.write(json.dumps({"case": order["case"], "key": key, "n": order["n"]}).encode() + b"\n")
                os.fsync(self._file.fileno())
            return {"applied": self._applied[key]}


class Sink:
    """The process, started and stopped."""

    def __init__(self, log: Path) -> None:
        self.log = log
        log.touch()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.kill_sink", str(log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def applied(self, case: str) -> Counter[str]:
        """Return how often each effect of a case was applied, by its key."""
        rows = [json.loads(line) for line in self.log.read_text().splitlines() if case in line]
        return Counter(row["key"] for row in rows if row["case"] == case)

    def close(self) -> None:
        """Stop it."""
        self._process.communicate()


class Line:
    """A connection to the sink."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._file = self._socket.makefile("rb")

    def send(self, **order: Any) -> None:
        """Ask, and do not wait for the answer."""
        self._socket.sendall(json.dumps(order).encode() + b"\n")

    def answer(self) -> int:
        """Return how often the key has been applied."""
        return int(json.loads(self._file.readline())["applied"])

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._socket.close()


def _end_with_parent() -> None:
    """End this process when whoever started it is gone: nothing is ever written to stdin."""
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with _Server(Path(sys.argv[1])) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
