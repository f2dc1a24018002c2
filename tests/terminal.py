"""A terminal server (RFC 2217) made of pyserial's own parts."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import serial
from serial.rfc2217 import PortManager


class Port(serial.Serial):  # type: ignore[misc]
    """A pty has no modem lines, but the server asks for them."""

    cts = dsr = ri = cd = property(lambda self: True)

    def _update_dtr_state(self) -> None:
        pass

    _update_rts_state = _update_dtr_state


@contextmanager
def terminal_server(pty: str) -> Iterator[str]:
    """Serves that pty: its rfc2217:// address."""

    class Connection:
        def __init__(self, socket: socket.socket) -> None:
            self.socket, self.turn = socket, threading.Lock()

        def write(self, data: bytes) -> None:
            with self.turn:
                self.socket.sendall(data)

    class Served(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with Port(pty, timeout=0.05) as port:
                connection = Connection(self.request)
                manager = PortManager(port, connection)
                gone = threading.Event()

                def back() -> None:
                    while not gone.is_set():
                        if data := port.read(port.in_waiting or 1):
                            connection.write(b"".join(manager.escape(data)))

                reader = threading.Thread(target=back)
                reader.start()
                try:
                    while data := self.request.recv(1000):
                        port.write(b"".join(manager.filter(data)))
                finally:
                    gone.set()
                    reader.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    with Server(("127.0.0.1", 0), Served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"rfc2217://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
