"""A hub on loopback that speaks the endpoints of a download, counts who asks for what, and fails to order.

Large files live on a second server, as the real hub's do: another origin, which must never see a token.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote, urlsplit


@dataclass
class File:
    """A file of a repository, and how badly it is served."""

    content: bytes
    large: bool = False
    ranges: bool = True
    """Whether the server knows ranges."""
    sized: bool = True
    """Whether the size is announced at all."""
    claimed_size: int | None = None
    """The size that is announced, if it is not the true one."""
    cuts: list[int] = field(default_factory=list)
    """After how many bytes to close the connection, for each of the next downloads."""
    failures: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers of the next answers."""
    pause: float = 0.0
    """Seconds between pieces of the body."""
    stalls: list[float] = field(default_factory=list)
    """Seconds before the body of each of the next downloads."""
    silence: float = 0.0
    """Seconds before any answer."""
    served: bytes | None = None
    """What is sent instead of the content."""
    etag_override: str | None = None

    @property
    def etag(self) -> str:
        if self.etag_override is not None:
            return self.etag_override
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def size(self) -> int:
        return len(self.content) if self.claimed_size is None else self.claimed_size


def large(content: bytes, **how: object) -> File:
    """A file that is kept on the second server."""
    return File(content, large=True, **how)


class Repository:
    """Commits, and the branches and tags that name them."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, File]] = {}
        self.refs: dict[str, str] = {}
        self.token: str | None = None
        """Who may see it; anybody if `None`."""
        self.gate: int | None = None
        """The status with which a gated repository turns away."""
        self.header_override: str | None = None

    def commit(self, files: dict[str, File | bytes], *refs: str) -> str:
        """Adds a commit, points `refs` at it (`main` if none is named), and returns its hash."""
        sha = hashlib.sha1(f"{id(self)}/{len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = {name: f if isinstance(f, File) else File(f) for name, f in files.items()}
        self.refs.update(dict.fromkeys(refs or ("main",), sha))
        return sha

    @property
    def main(self) -> str:
        return self.refs["main"]

    def file(self, name: str) -> File:
        return self.commits[self.main][name]


@dataclass(frozen=True)
class Request:
    """What was asked of which of the two servers."""

    server: str
    method: str
    path: str
    headers: dict[str, str]


class Hub:
    """The two servers, their repositories and their log."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.repos: dict[str, Repository] = {}
        self.moved: dict[str, str] = {}
        self.requests: list[Request] = []
        self.connections = 0
        self._servers = [self._serve("hub", tls), self._serve("cdn", None)]
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._servers[0].server_port}"
        self.cdn_url = f"http://127.0.0.1:{self._servers[1].server_port}"

    def add(self, name: str, files: dict[str, File | bytes]) -> Repository:
        repo = self.repos[name] = Repository()
        repo.commit(files)
        return repo

    def asked(self, method: str = "", part: str = "", server: str = "") -> list[Request]:
        """The requests of this kind so far."""
        return [
            r
            for r in self.requests
            if method in ("", r.method) and server in ("", r.server) and part in r.path
        ]

    def close(self) -> None:
        """Stops listening: from now on connections are refused."""
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def _serve(self, name: str, tls: ssl.SSLContext | None) -> ThreadingHTTPServer:
        hub = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def get_request(self) -> tuple[socket.socket, object]:
                connection, address = super().get_request()
                hub.connections += 1
                return (tls.wrap_socket(connection, server_side=True) if tls else connection), address

            def handle_error(self, request: object, client_address: object) -> None:
                """A client that hangs up is part of the tests."""

        class Handler(_Handler):
            server_name = name

        Handler.hub = hub
        server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub
    server_name: str

    def do_HEAD(self) -> None:
        self._handle()

    def do_GET(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: object) -> None:
        """The log is `Hub.requests`."""

    def _handle(self) -> None:
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.hub.requests.append(Request(self.server_name, self.command, self.path, headers))
        if self.server_name == "cdn":
            self._serve_blob()
        else:
            self._resolve()

    def _resolve(self) -> None:
        path = urlsplit(self.path).path.lstrip("/")
        name, _, rest = path.partition("/resolve/")
        revision, _, filename = rest.partition("/")
        revision, filename = unquote(revision), unquote(filename)
        if name in self.hub.moved:
            return self._answer(307, {"Location": f"/{self.hub.moved[name]}/resolve/{rest}"})
        repo = self.hub.repos.get(name)
        given = self.headers.get("Authorization")
        if given == "Bearer bad":
            return self._answer(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
        if repo is None or (repo.token and given != f"Bearer {repo.token}"):
            # The real hub does not tell strangers which repositories exist.
            return self._answer(404 if given else 401, {"X-Error-Code": "RepoNotFound"} if given else {})
        if repo.gate:
            message = "Access to model is restricted. Please log in."
            return self._answer(repo.gate, {"X-Error-Code": "GatedRepo", "X-Error-Message": message})
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            return self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        about = {"X-Repo-Commit": repo.header_override or commit}
        file = repo.commits[commit].get(filename)
        if file is None:
            return self._answer(404, {"X-Error-Code": "EntryNotFound", **about})
        time.sleep(file.silence)
        if file.failures:
            status, headers = file.failures.pop(0)
            return self._answer(status, headers)
        if not file.large:
            return self._send(file, {"ETag": f'"{file.etag}"', **about})
        location = f"{self.hub.cdn_url}/{name}/{commit}/{quote(filename)}?signature=abc%2F"
        linked = {"X-Linked-Etag": f'"{file.etag}"', "Location": location}
        if file.sized:
            linked["X-Linked-Size"] = str(file.size)
        return self._answer(302, {**about, **linked})

    def _serve_blob(self) -> None:
        path = unquote(urlsplit(self.path).path.lstrip("/"))
        for name, repo in self.hub.repos.items():
            for commit, files in repo.commits.items():
                prefix = f"{name}/{commit}/"
                if path.startswith(prefix):
                    return self._send(files[path.removeprefix(prefix)], {"ETag": '"something-else"'})
        return self._answer(403, {})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        body = b"" if self.command == "HEAD" else b"an explanation"
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send(self, file: File, headers: dict[str, str]) -> None:
        body = file.content if file.served is None else file.served
        start, status = 0, 200
        asked = self.headers.get("Range", "")
        if file.ranges and asked:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            if start >= len(body):
                return self._answer(416, {"Content-Range": f"bytes */{len(body)}"})
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        length = file.size if self.command == "HEAD" else len(body) - start
        if file.sized:
            self.send_header("Content-Length", str(length))
        elif self.command == "GET":
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.command == "HEAD":
            return None
        if file.stalls:
            time.sleep(file.stalls.pop(0))
        body = body[start:]
        cut = file.cuts.pop(0) if file.cuts else None
        pieces = body if cut is None else body[:cut]
        step = 1 << 14 if file.pause else len(pieces) or 1
        for at in range(0, len(pieces), step):
            time.sleep(file.pause)
            piece = pieces[at : at + step]
            self.wfile.write(piece if file.sized else b"%x\r\n%s\r\n" % (len(piece), piece))
        if cut is not None:
            self.close_connection = True
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif not file.sized:
            self.wfile.write(b"0\r\n\r\n")
        return None
