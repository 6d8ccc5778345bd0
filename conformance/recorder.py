"""Passes bytes between the gateway and itself, and writes down each request that goes by.

It changes nothing, frames nothing and waits for nothing: each piece is handed on as it came, so streams, aborts and
broken connections are what they would be without it. What it reads of the requests is a copy.
"""

import json
import socket
import threading


class Recorder:
    """Listens on a free loopback port; whatever connects reaches `target` there."""

    def __init__(self, target, path):
        self.target = target
        self.path = path
        path.touch()
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near):
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for side in (near, far):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_pass, args=(far, near, None), daemon=True).start()
        _pass(near, far, Requests(self._write))

    def _write(self, head, body):
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        for secret in ("authorization", "x-api-key", "x-goog-api-key", "api-key"):
            if secret in headers:
                headers[secret] = "present"
        line = json.dumps({"method": method, "target": target, "headers": headers, "body": body.decode("utf-8", "replace")})
        with self.lock, open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def _pass(one, other, tap):
    try:
        while data := one.recv(65536):
            if tap:
                tap.push(data)
            other.sendall(data)
    except OSError:
        pass
    for side in (one, other):
        try:
            side.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    one.close()


class Requests:
    """HTTP/1.1 requests with a content-length, out of pieces of any size."""

    def __init__(self, found):
        self.found = found
        self.rest = b""

    def push(self, data):
        self.rest += data
        while b"\r\n\r\n" in self.rest:
            head, after = self.rest.split(b"\r\n\r\n", 1)
            lengths = [line.split(b":", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            length = int(lengths[0]) if lengths else 0
            if len(after) < length:
                return
            self.found(head, after[:length])
            self.rest = after[length:]
