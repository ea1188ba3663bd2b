"""A publisher of weight files on loopback, with every fault that a real one has been seen to have.

Imports netwright.weights.catalogue, to point its entries here.
"""

import hashlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from netwright.weights import catalogue
from netwright.weights.catalogue import File, Weights


@dataclass(frozen=True)
class Status:
    """Answers with this status and no file."""

    code: int
    retry_after: int | None = None


@dataclass(frozen=True)
class Reset:
    """Sends so many bytes, then resets the connection."""

    after: int


@dataclass(frozen=True)
class Truncate:
    """Announces the whole file, sends so many bytes, then closes in good order."""

    after: int


@dataclass(frozen=True)
class Stall:
    """Sends so many bytes, then nothing for so many seconds."""

    after: int
    seconds: float


@dataclass(frozen=True)
class Slow:
    """Sends the file in small pieces with a pause after each."""

    pause: float
    piece: int = 16384


@dataclass
class Served:
    content: bytes
    faults: list  # one for each request, first come first served; then the file is sent properly
    ranges: bool  # whether the server knows Range requests
    etag: str | None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    path: str
    start: int  # first byte asked for
    status: int
    if_range: str | None


class Publisher:
    """``with Publisher() as publisher: url = publisher.serve("name.pth", content)``."""

    def __init__(self):
        self.served: dict[str, Served] = {}
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), _handler_for(self))
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def serve(self, path: str, content: bytes, *faults, ranges: bool = True, etag: str | None = None) -> str:
        """Serve ``content`` at ``/path``, after one faulty answer for each fault. Gives the address."""
        tag = f'"{hashlib.md5(content).hexdigest()}"' if etag is None else etag
        self.served[f"/{path}"] = Served(content, list(faults), ranges, tag or None)
        return f"{self.address}/{path}"

    def serve_hub(self, repository: str, filename: str, content: bytes, commit: str = "c" * 40) -> None:
        """Serve a file the way Hugging Face does; for a client started with HF_ENDPOINT at this address."""
        headers = {"X-Repo-Commit": commit, "X-Linked-Size": str(len(content))}
        tag = f'"{hashlib.sha256(content).hexdigest()}"'
        for revision in ("main", commit):
            path = f"/{repository}/resolve/{revision}/{filename}"
            self.served[path] = Served(content, [], True, tag, headers | {"X-Linked-Etag": tag})

    def asked(self, path: str) -> list[Request]:
        """What has been asked for this path so far."""
        return [request for request in self.requests if request.path == f"/{path}"]


def repoint(weights: Weights, content: bytes, *urls: str, sha256: str | None = None) -> Weights:
    """The same weights, published at these addresses with this content (and so with its hash)."""
    digest = sha256 or hashlib.sha256(content).hexdigest()
    first = replace(weights.files[0], sha256=None, sha256_prefix=digest[:8], bytes=len(content), bytes_predicted=None)
    files: list[File] = []
    for url in urls:
        files.append(replace(first, url=url, role="mirror" if files else "publisher"))
    return replace(weights, files=tuple(files))


def install(monkeypatch, *changed: Weights) -> None:
    """Put changed entries into the catalogue, so that the public API reaches them by name."""
    by_name = {weights.name: weights for weights in changed}
    entries = tuple(by_name.get(weights.name, weights) for weights in catalogue.catalogue())
    monkeypatch.setattr(catalogue, "_all", lambda: entries)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # broken connections are this server's trade


def _handler_for(publisher: Publisher):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self._answer(head=True)

        def do_GET(self):
            self._answer(head=False)

        def log_message(self, *_):
            pass

        def _answer(self, head: bool):
            path = urlsplit(self.path).path  # a proxy is asked with the whole address
            served = publisher.served.get(path)
            fault = served.faults.pop(0) if served and served.faults and not head else None
            if served is None or isinstance(fault, Status):
                return self._refuse(path, fault or Status(404))
            size, start = len(served.content), self._start(served)
            status = 416 if start >= size else 206 if start else 200
            if not head:
                publisher.requests.append(Request(path, start, status, self.headers.get("If-Range")))
            self.send_response(status)
            for name, value in served.headers.items():
                self.send_header(name, value)
            if served.etag:
                self.send_header("ETag", served.etag)
            if status != 200:
                self.send_header(
                    "Content-Range", f"bytes {start}-{size - 1}/{size}" if status == 206 else f"bytes */{size}"
                )
            self.send_header("Content-Length", str(0 if status == 416 else size - start))
            self.end_headers()
            if not head and status != 416:
                self._send(served.content[start:], fault)

        def _start(self, served: Served) -> int:
            asked = self.headers.get("Range", "")
            if not served.ranges or not asked or self.headers.get("If-Range", served.etag) != served.etag:
                return 0
            return int(asked.removeprefix("bytes=").rstrip("-"))

        def _refuse(self, path: str, fault: Status):
            publisher.requests.append(Request(path, 0, fault.code, None))
            self.send_response(fault.code)
            if fault.retry_after is not None:
                self.send_header("Retry-After", str(fault.retry_after))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _send(self, body: bytes, fault):
            try:
                if isinstance(fault, Slow):
                    for at in range(0, len(body), fault.piece):
                        self.wfile.write(body[at : at + fault.piece])
                        time.sleep(fault.pause)
                    return
                self.wfile.write(body if fault is None else body[: fault.after])
                if fault is None:
                    return
                time.sleep(fault.seconds if isinstance(fault, Stall) else 0.1)  # what was sent arrives first
                if isinstance(fault, Reset):
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.connection.close()
                self.close_connection = True
            except OSError:
                self.close_connection = True  # the client has gone

    return Handler
