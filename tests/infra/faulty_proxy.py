"""A real TCP proxy before a server on this machine, whose faults the test switches on: cut, hold, lose, delay, refuse."""

import contextlib
import select
import socket
import struct
import threading
import time

CHUNK_BYTES = 16384
CONTINUE = b"HTTP/1.1 100"


class FaultyProxy:
    """Listens on a free port (`url`) and passes everything on to `target_port` until told otherwise.

    Counts are of bytes since the fault was armed, over all connections; a cut connection is reset on both sides.
    """

    def __init__(self, target_port: int):
        self.target_port = target_port
        self.delay_s = 0.0  # before each chunk towards the server
        self.held = threading.Event()  # an upload has been stopped by hold_upload
        self._released = threading.Event()
        self._released.set()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._up_bytes = self._down_bytes = 0
        self._cut_up = self._cut_down = self._hold = (0, 0)  # after how many bytes, how many times yet
        self._lose = 0
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def downloaded_bytes(self) -> int:
        return self._down_bytes

    def cut_upload(self, after_bytes: int, times: int = 1) -> None:
        """Reset the connection when the client has sent so much."""
        self._up_bytes, self._cut_up = 0, (after_bytes, times)

    def cut_download(self, after_bytes: int, times: int = 1) -> None:
        """Reset the connection when the server has answered so much."""
        self._down_bytes, self._cut_down = 0, (after_bytes, times)

    def hold_upload(self, after_bytes: int) -> None:
        """Pass nothing more on when the client has sent so much, until `release`; `held` tells when."""
        self.held.clear()
        self._released.clear()
        self._up_bytes, self._hold = 0, (after_bytes, 1)

    def release(self) -> None:
        self._released.set()

    def lose_response(self, times: int = 1) -> None:
        """Let the whole request through, then reset the connection instead of passing the answer on."""
        self._lose = times

    def refuse(self) -> None:
        """Listen no more and reset what is open."""
        if self._listener:
            listener, self._listener = self._listener, None
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept, which keeps the port open otherwise
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # its own thread then closes it

    def accept(self) -> None:
        """Listen (again) on the same port."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port, self._listener = listener.getsockname()[1], listener
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def close(self) -> None:
        self.release()
        self.refuse()

    def __enter__(self) -> "FaultyProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target_port), timeout=10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        with self._lock:
            self._connections |= {client, server}
        with contextlib.suppress(OSError, ValueError):
            while self._step(client, server):
                pass
        _reset(client)
        _reset(server)
        with self._lock:
            self._connections -= {client, server}

    def _step(self, client: socket.socket, server: socket.socket) -> bool:
        """Move one chunk; False when the connection is over."""
        ready, _, _ = select.select([client, server], [], [])
        for source in ready:
            data = source.recv(CHUNK_BYTES)
            if not data or (self._cuts_up(data) if source is client else self._cuts_down(data)):
                return False
            (server if source is client else client).sendall(data)
        return True

    def _cuts_up(self, data: bytes) -> bool:
        time.sleep(self.delay_s)
        with self._lock:
            self._up_bytes += len(data)
            if self._hold[1] and self._up_bytes > self._hold[0]:
                self._hold = (0, 0)
                self.held.set()
            elif self._cut_up[1] and self._up_bytes > self._cut_up[0]:
                self._cut_up, self._up_bytes = (self._cut_up[0], self._cut_up[1] - 1), 0
                return True
        if self.held.is_set():
            self._released.wait()
        return False

    def _cuts_down(self, data: bytes) -> bool:
        with self._lock:
            self._down_bytes += len(data)
            if self._lose and not data.startswith(CONTINUE):
                self._lose -= 1
                return True
            if self._cut_down[1] and self._down_bytes > self._cut_down[0]:
                self._cut_down, self._down_bytes = (self._cut_down[0], self._cut_down[1] - 1), 0
                return True
        return False


def _reset(connection: socket.socket) -> None:
    """Close with RST: the other side sees an error, not an orderly end."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
