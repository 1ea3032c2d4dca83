"""An upstream by script: it keeps what it was sent, and answers as one test wants it to."""

import json
import os
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

# What the gateway asks once whenever it starts; no test is about it.
WHO_AM_I = "/api/gitpod.v1.IdentityService/GetAuthenticatedIdentity"
# As the gateway's configuration has it.
ORGANIZATION = {"organizationId": "0198c0de-0000-7000-8000-00000000acce"}

# What a test does not wait for: a silent upstream ends with its test.
NEVER = 60


@dataclass
class Request:
    path: str
    query: dict
    headers: dict
    body: dict


class Upstream(ThreadingHTTPServer):
    """It has its port from the start, and refuses connections until `open`."""

    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self.server_bind()
        self.base_url = f"http://127.0.0.1:{self.server_port}/api"
        self.answer = answer
        self.requests = []
        self.ended = threading.Event()
        self.serving = None

    def open(self):
        self.server_activate()
        self.serving = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.serving.start()
        return self

    def close(self):
        self.ended.set()
        if self.serving:
            self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # Who does not like an answer hangs up; the tests look at what the caller saw.


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        url = urlsplit(self.path)
        if url.path == WHO_AM_I:
            return answers(ORGANIZATION)(self)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append(Request(url.path, parse_qs(url.query), headers, body))
        self.server.answer(self)

    def reply(self, status, content_type, body, headers=(), length=None):
        self.send_response(status)
        for name, value in [("content-type", content_type), ("content-length", str(length or len(body))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def answers(value):
    """200 with this value."""
    return lambda handler: handler.reply(200, "application/json", json.dumps(value).encode())


def refuses(status, code, *headers):
    """An error as Connect writes it."""
    body = json.dumps({"code": code, "message": "as the script says"}).encode()
    return lambda handler: handler.reply(status, "application/json", body, headers)


def resets(handler):
    """The connection ends with RST after the whole request has come."""
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(handler.connection.detach())


def is_down(handler):
    """What a load balancer says when there is nobody behind it."""
    handler.reply(503, "text/html", b"<html><body><h1>503 Service Unavailable</h1></body></html>")


def is_cut_off(handler):
    """200, and half of what was announced."""
    handler.close_connection = True
    body = b'{"prebuild": {"id": "'
    handler.reply(200, "application/json", body, length=2 * len(body))


def is_silent(handler):
    handler.close_connection = True
    handler.server.ended.wait(NEVER)
