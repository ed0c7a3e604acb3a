"""Colour as H.264 and depth as lossless FFV1, in memory and back."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError

# two pictures a group, as LeRobot writes: training reads single frames; no B-frames: decoding order
# is display order, so that the first frame is at 0 s in every reader
H264: Mapping[str, str] = {"preset": "veryfast", "crf": "18", "g": "2", "bf": "0", "threads": "1"}
FFV1: Mapping[str, str] = {"level": "3", "threads": "1"}
FARTHEST = 65535  # [mm] that 16 bits hold
LARGEST = 2**26  # pixels of a frame: what claims more is damaged, and would fill the memory
# what PyAV raises on damaged files, besides its own
_DAMAGE = (av.FFmpegError, OSError, IndexError, ValueError, ArithmeticError, AttributeError)


def encode_rgb(frames: NDArray[np.uint8], fps: float) -> bytes:
    """``(T, H, W, 3)`` to an mp4 file (H.264, yuv420p); H and W must be even."""
    return _encode(frames, fps, "libx264", "rgb24", "yuv420p", "mp4", H264)


def encode_depth(depth: NDArray[np.floating], fps: float) -> bytes:
    """``(T, H, W)`` [m] to a Matroska file of whole millimetres (FFV1, 16 bit).

    What is not finite, not positive or farther than 65.535 m becomes 0: no return.
    """
    with np.errstate(invalid="ignore"):
        mm = np.round(np.asarray(depth, dtype=np.float32) * 1000.0)
    mm = np.where((mm > 0) & (mm <= FARTHEST), mm, 0).astype(np.uint16)
    return _encode(mm, fps, "ffv1", "gray16le", "gray16le", "matroska", FFV1)


def decode_depth(source: Path) -> NDArray[np.float32]:
    """Inverse of :func:`encode_depth`, to the millimetre: ``(T, H, W)`` float32 [m]."""
    try:
        with av.open(str(source)) as container:
            mm = np.stack([f.to_ndarray() for f in container.decode(video=0)])
    except _DAMAGE as error:
        raise _unreadable(source, error) from error
    return mm.astype(np.float32) / np.float32(1000.0)


def decode_rgb(source: Path, *, start: float, count: int, fps: float) -> NDArray[np.uint8]:
    """Frames ``start + i / fps`` for ``i < count`` of a video file.

    Args:
        source: Any container and codec that FFmpeg knows.
        start: Time of the first frame in the file [s].
        count: How many frames, T.
        fps: Frames per second.

    Returns:
        ``(T, H, W, 3)`` uint8.

    Raises:
        DatasetError: The file is missing or damaged, or has too few frames.
    """
    found: dict[int, NDArray[np.uint8]] = {}
    try:
        with av.open(str(source)) as container:
            stream = _stream(container, source)
            if start > 0 and stream.time_base is not None:
                container.seek(int(start / stream.time_base), stream=stream)  # the key frame before
            for frame in container.decode(stream):
                i = round((float(frame.time or 0.0) - start) * fps)
                if i >= count:
                    break
                if i >= 0 and i not in found:
                    found[i] = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    except _DAMAGE as error:
        raise _unreadable(source, error) from error
    if len(found) != count:
        raise DatasetError(
            "a video has fewer frames than its episode",
            where=source,
            value=f"{len(found)} frames from {start:.3f} s on, {count} expected",
            remedy="fetch or record this dataset again",
        )
    return _stacked([found[i] for i in range(count)], source)


def decode_frames(source: Path, wanted: Sequence[int]) -> NDArray[np.uint8]:
    """Frames of a video by their number in order of display; rising.

    Raises:
        DatasetError: The file is missing or damaged, or has too few frames.
    """
    wanted_ = set(wanted)
    found = []
    total = 0
    try:
        with av.open(str(source)) as container:
            for i, frame in enumerate(container.decode(_stream(container, source))):
                total = i + 1
                if i in wanted_:
                    found.append(np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8))
                if len(found) == len(wanted_):
                    break
    except _DAMAGE as error:
        raise _unreadable(source, error) from error
    if len(found) != len(wanted_):
        raise DatasetError(
            "a video has fewer frames than its episode",
            where=source,
            value=f"{total} frames",
            valid=[f"{max(wanted) + 1} frames"],
            remedy="fetch or record this dataset again",
        )
    return _stacked(found, source)


def _stream(container: Any, source: Path) -> Any:
    """The video in a container, unless its frames could not be true."""
    stream = container.streams.video[0]
    if stream.width * stream.height > LARGEST:
        raise _unreadable(source, ValueError(f"frames of {stream.width} x {stream.height}"))
    return stream


def _stacked(frames: Sequence[NDArray[np.uint8]], source: Path) -> NDArray[np.uint8]:
    if len({f.shape for f in frames}) > 1:
        raise _unreadable(source, ValueError("the size changes in mid-film"))
    return np.stack(frames)


def _encode(
    frames: NDArray,
    fps: float,
    codec: str,
    source: str,
    stored: str,
    container: str,
    options: Mapping[str, str],
) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        rate = Fraction(fps).limit_denominator(1001)
        stream = output.add_stream(codec, rate=rate, options=dict(options))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], stored
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format=source)))
        output.mux(stream.encode())
    return buffer.getvalue()


def _unreadable(source: Path, error: Exception) -> DatasetError:
    missing = not source.exists()
    return DatasetError(
        "a video file is missing" if missing else "a video file cannot be decoded",
        where=source,
        value=None if missing else str(error),
        remedy="fetch or record this dataset again",
    )
