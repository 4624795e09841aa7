"""HTTP as it comes from the line: kept alive, every header kept, nothing followed or repaired.

Apart, because two answers are compared byte for byte here, which clients with manners would make alike.
"""

import dataclasses
import http.client
import json as text_of
import socket
import threading
import urllib.parse

API = "/api/v1"
COUNTED = {"requests": 0}
_counting = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple
    body: bytes

    @property
    def json(self):
        try:
            return text_of.loads(self.body)
        except ValueError:
            return {}

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name), None)

    def of(self, *statuses):
        if self.status not in statuses:
            raise AssertionError(f"{self.status}, not {statuses}: {self.body.decode(errors='replace')[:600]}")
        return self


class Line:
    """One kept connection of one caller."""

    def __init__(self, url, proof=None):
        self.address = urllib.parse.urlsplit(url)
        self.proof = proof or {}
        self.connection = None

    def send(self, method, path, json=None, body=None, headers=None):
        """Sends, and reads the whole answer; of a stream only its head."""
        head = {"host": self.address.netloc, **self.proof, **(headers or {})}
        if json is not None:
            body = text_of.dumps(json).encode()
            head.setdefault("content-type", "application/json")
        if body is not None or method in ("POST", "PUT", "PATCH"):
            head["content-length"] = str(len(body or b""))
        with _counting:
            COUNTED["requests"] += 1
        for attempt in (1, 2):
            fresh = self.connection is None
            if fresh:
                self.connection = http.client.HTTPConnection(self.address.hostname, self.address.port, timeout=120)
                self.connection.connect()
                self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                return self._exchange(method, path, head, body)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                # The server ended a connection that was kept and idle; nothing else is tried twice.
                self.close()
                if fresh or attempt == 2:
                    raise

    def _exchange(self, method, path, head, body):
        self.connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in head.items():
            self.connection.putheader(name, value)
        self.connection.endheaders(body)
        raw = self.connection.getresponse()
        headers = tuple(raw.getheaders())
        if "text/event-stream" in (raw.getheader("content-type") or ""):
            # The server sees the end, gives the place back, and closes: only then there is one place more.
            self.connection.sock.shutdown(socket.SHUT_WR)
            try:
                while raw.read1(65536):
                    pass
            except (http.client.HTTPException, OSError):
                pass
            self.close()
            return Answer(raw.status, headers, b"")
        answer = Answer(raw.status, headers, raw.read())
        if raw.will_close:
            self.close()
        return answer

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def get(self, path):
        return self.send("GET", API + path)

    def post(self, path, json):
        return self.send("POST", API + path, json=json)

    def put(self, path, json):
        return self.send("PUT", API + path, json=json)

    def patch(self, path, json):
        return self.send("PATCH", API + path, json=json)

    def delete(self, path):
        return self.send("DELETE", API + path)

    def list(self, path):
        """All items, page by page."""
        items, cursor = [], ""
        while True:
            page = self.get(f"{path}{'&' if '?' in path else '?'}limit=200{cursor}").of(200).json
            items += page["items"]
            if not page.get("next"):
                return items
            cursor = "&cursor=" + urllib.parse.quote(page["next"])


def bearer(token):
    return {"authorization": f"Bearer {token}"}


def log_in(url, name, password):
    """The cookie of a new session, as a browser on our own page sends it."""
    answer = Line(url).post("/session", {"name": name, "password": password}).of(200)
    return {"cookie": answer.header("set-cookie").split(";")[0], "origin": url}


def token(url, name, password):
    """An access token of a user."""
    made = Line(url, log_in(url, name, password)).post("/tokens", {"name": "permissions"}).of(201)
    return bearer(made.json["token"])
