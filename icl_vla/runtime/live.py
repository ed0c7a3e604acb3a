"""What the cameras see now, as a page for a browser on this machine."""

from __future__ import annotations

import io
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from icl_vla_embodiments import Observation

_PAGE = b"""<!doctype html><meta charset="utf-8"><title>icl-vla: live</title>
<body style="margin:0;background:#22262c;display:grid;place-items:center;height:100vh">
<img src="/stream" style="max-width:100vw;max-height:100vh;min-height:60vh;image-rendering:auto">
"""
_PAUSE = 0.05  # [s] between looks for a new picture


class LivePage:
    """A page at :attr:`address` that shows the newest picture; a context manager.

    Only this machine can open it. Pictures go out as multipart JPEG, which every browser plays.
    """

    def __enter__(self) -> LivePage:
        page = self
        self._jpeg = b""
        self._open = True

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/stream":
                    page._stream(self)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(_PAGE)

            def log_message(self, format: str, *args: object) -> None:
                """The terminal belongs to the operator."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open = False
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def show(self, observation: Observation) -> None:
        """Show all cameras side by side."""
        views = [image.rgb for image in observation.cameras.values() if image.rgb is not None]
        if views:
            buffer = io.BytesIO()
            Image.fromarray(_side_by_side(views)).save(buffer, "JPEG", quality=80)
            self._jpeg = buffer.getvalue()

    def _stream(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        handler.end_headers()
        sent = b""
        while self._open:
            jpeg = self._jpeg
            if jpeg is sent:
                time.sleep(_PAUSE)
                continue
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                handler.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:  # the browser left
                return
            sent = jpeg


def _side_by_side(views: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height = max(v.shape[0] for v in views)
    padded = [np.pad(v, ((0, height - v.shape[0]), (0, 0), (0, 0))) for v in views]
    return np.concatenate(padded, axis=1)
