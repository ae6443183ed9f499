"""A proxy before an MLflow server that lets through only requests with the right bearer token."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "t0ken-that-nobody-may-see"  # noqa: S105 - nobody's
_NOT_PASSED_ON = ("connection", "transfer-encoding", "content-length", "host", "keep-alive")


class TokenProxy:
    """The proxy, on a port of its own.

    Args:
        port: The port of the server.
    """

    def __init__(self, port):
        self._port, self._proxy, self.port = port, None, 0
        self.start()
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self):
        """Starts it, unless it runs."""
        if self._proxy is None:
            self._proxy = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self._port))
            self.port = self._proxy.server_address[1]
            threading.Thread(target=self._proxy.serve_forever, daemon=True).start()

    def kill(self):
        """Ends it: connections are refused."""
        if self._proxy is not None:
            self._proxy.shutdown()
            self._proxy.server_close()
            self._proxy = None


def _handler(port):
    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                self._answer(401, {}, b"who are you?")
                return
            server = http.client.HTTPConnection("127.0.0.1", port)
            kept = {key: value for key, value in self.headers.items() if key.lower() not in _NOT_PASSED_ON}
            server.request(self.command, self.path, body, kept)
            answer = server.getresponse()
            self._answer(answer.status, dict(answer.getheaders()), answer.read())
            server.close()

        def _answer(self, status, headers, body):
            self.send_response(status)
            for key, value in headers.items():
                if key.lower() not in _NOT_PASSED_ON:
                    self.send_header(key, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - http.server's names

        def log_message(self, *_):
            pass

    return Handler
