"""A folder over HTTP on loopback, which misbehaves where told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class FolderServer:
    """The server and what it was asked for.

    Attributes:
        answers: end of a path -> what its next requests are answered with: a status, or the share of the body that is
            sent before the connection breaks. ``None`` in the list stands for all further requests.
        requests: paths in order.
    """

    def __init__(self, folder: Path) -> None:
        self.answers: dict[str, list[int | float | None]] = {}
        self.requests: list[str] = []
        owner = self

        class Handler(SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, format: str, *arguments: Any) -> None:
                del format, arguments

            def do_GET(self) -> None:
                owner.requests.append(self.path)
                answer = owner.next_answer(self.path)
                if isinstance(answer, int):
                    self.send_error(answer)
                elif isinstance(answer, float):
                    content = Path(self.translate_path(self.path)).read_bytes()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[: int(answer * len(content))])
                    self.close_connection = True
                else:
                    super().do_GET()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def next_answer(self, path: str) -> int | float | None:
        for end, waiting in self.answers.items():
            if path.endswith(end) and waiting:
                return waiting[0] if len(waiting) > 1 and waiting[1] is None else waiting.pop(0)
        return None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serve_folder(folder: Path) -> Iterator[FolderServer]:
    server = FolderServer(folder)
    try:
        yield server
    finally:
        server.close()
