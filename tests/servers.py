"""Servers for the tests of object stores, on the loopback and a free port: S3's protocol by moto, in a process of its
own; HTTP with ranges, in a thread, which writes down what it was asked for."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

BUCKET = "scenes"
VARIABLES = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}


class S3:
    """A running S3 server with one bucket, and a client that is none of ours to look into it."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log
        self.environment = VARIABLES | {"AWS_ENDPOINT_URL": url}
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}),
        )
        self.client.create_bucket(Bucket=BUCKET)

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Every object below a prefix, by its name from there on."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
        names = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {name[len(prefix) + 1 :]: self.read(name) for name in names}

    def read(self, name: str) -> bytes:
        """One object."""
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return data

    def requests(self) -> list[str]:
        """What was asked for since the server began: METHOD /bucket/key."""
        words = re.findall(r'"\S*?(GET|PUT|HEAD|POST|DELETE) (\S+) HTTP', self._log.read_text())
        return [f"{method} {path}" for method, path in words]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """moto's S3 in a process of its own, stopped in the end."""
    port, log = free_port(), folder / "moto.log"
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=file, env=os.environ | {"NO_COLOR": "1"})
    try:
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield S3(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(20)


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class _Ranges(BaseHTTPRequestHandler):
    """GET with one range and HEAD, of the files of a folder."""

    def __init__(self, folder: Path, log: list[tuple[str, str, int]], *words: Any) -> None:
        self._folder, self._log = folder, log
        super().__init__(*words)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_words: Any) -> None:
        """Nothing on stderr."""

    def _answer(self, body: bool) -> None:
        path = self._folder / self.path.lstrip("/")
        if not path.is_file():
            self._log.append((self.command, self.path, 404))
            self.send_error(404)
            return
        data = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, last = 0, len(data) - 1
        if asked:
            first, last = int(asked[1]), min(last, int(asked[2] or last))
        part = data[first : last + 1]
        self._log.append((self.command, self.path, len(part) if body else 0))
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if body:
            self.wfile.write(part)


@contextmanager
def range_server(folder: Path) -> Iterator[tuple[str, list[tuple[str, str, int]]]]:
    """The files of a folder over HTTP: the address, and what was asked for as (method, path, bytes sent)."""
    log: list[tuple[str, str, int]] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ranges, folder, log))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", log
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
