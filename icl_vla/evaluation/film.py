"""Pictures of a trial: a film for people, and small frames for contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from icl_vla_embodiments import ActionChunk, Observation, ReportedError, se3
from icl_vla_embodiments.types import Array

from ..policy.frames import thing_of
from ..sim.scene import CameraSpec
from ..sim.workcell import Workcell
from .workplace import Place

Picture = NDArray[np.uint8]

_RATE = 10  # [Hz] frames a film, in simulated time; played at twice the speed
_SPEED = 2
GOOD, BAD, INK, PAPER = (46, 125, 80), (190, 60, 50), (34, 38, 44), (250, 249, 246)


class Filmer:
    """Watches one trial.

    Keeps the policy camera's picture at every chunk (``frames.npz``: first, ..., last). With
    ``film`` it also renders a wider view at 10 Hz.
    """

    def __init__(self, folder: Path, *, film: bool = True) -> None:
        self.folder = folder
        self.film = film
        self._frames: list[Picture] = []
        self._seen: list[Picture] = []
        self._caption = ""
        self._leader: Array | None = None
        self._next = 0.0

    def begin(self, cell: Place, observation: Observation) -> None:
        """Start watching after a reset.

        Raises:
            ReportedError: Nobody can hang a camera into somebody else's environment.
        """
        if not isinstance(cell, Workcell):
            raise ReportedError(
                "somebody else's environment cannot be filmed", where=cell.task.name
            )
        self.cell = cell
        self._see(observation)

    def _see(self, observation: Observation) -> None:
        for image in observation.cameras.values():
            if image.rgb is not None:
                self._seen.append(image.rgb)
                return

    def hear(self, observation: Observation, chunk: ActionChunk) -> None:
        """Note what the policy saw, and what ruled its motion."""
        self._see(observation)
        shares = chunk.trace.get("frames")
        if isinstance(shares, dict) and shares:
            self._leader, share = leader(shares, chunk.trace["tokens"])
            phase = sum(n.weight * n.phase for n in chunk.neighbours)
            what = "the base" if self._leader is None else "the ringed thing"
            self._caption = f"phase {phase:.0%}   led by {what} ({share:.0%})"

    def look(self) -> None:
        """Take the film's next frame when it is due; called after every command."""
        driver = self.cell.driver
        if not self.film or driver.clock() + 1e-9 < self._next:
            return
        self._next = driver.clock() + 1 / _RATE
        view = film_camera(self.cell)
        picture = driver.world.image(view, noise=False).rgb
        assert picture is not None
        task = self.cell.task
        title = task.instruction if task else self.cell.embodiment.name
        if self._leader is not None:
            picture = ringed(picture, view, self._leader)
        self._frames.append(caption(picture, title, self._caption))

    def finish(self, success: bool) -> None:
        """Take the last pictures and write everything."""
        self._see(self.cell.driver.observe())
        self.cell.driver.after_command = None
        if not self._frames:  # nothing was commanded
            self.look()
        self.folder.mkdir(parents=True, exist_ok=True)
        chosen = np.linspace(0, len(self._seen) - 1, min(6, len(self._seen))).astype(int)
        np.savez_compressed(
            self.folder / "frames.npz",
            frames=np.stack([self._seen[i] for i in chosen]),
            success=success,
        )
        if self.film and self._frames:
            color = GOOD if success else BAD
            last = framed(self._frames[-1], color)
            write_video(self.folder / "film.mp4", [*self._frames, *[last] * _RATE], _RATE * _SPEED)


def film_camera(cell: Workcell) -> CameraSpec:
    """A view of robot and table from the side, for people."""
    cx, cy = cell.workspace.center
    span = max(cell.workspace.half)
    return CameraSpec(
        eye=(cx + 2.9 * span, cy + 2.6 * span, 2.9 * span),
        target=(cx - 0.8 * span, cy - 0.1 * span, 0.8 * span),
        width=400,
        height=300,
        fov=50.0,
    )


def leader(shares: dict[str, float], tokens: Array) -> tuple[Array | None, float]:
    """Where the thing is whose frames have the largest share in a motion, and that share.

    Args:
        shares: Frame name -> share.
        tokens: ``(M, 3)`` positions in the base frame.

    Returns:
        ``(3,)``, or None for the base or the hand itself.
    """
    merged: dict[int | None, float] = {}
    for name, share in shares.items():
        row = thing_of(name)
        merged[row] = merged.get(row, 0.0) + share
    row, share = max(merged.items(), key=lambda item: item[1])
    return (None if row is None else tokens[row]), share


def ringed(picture: Picture, camera: CameraSpec, point: Array) -> Picture:
    """A picture with a ring round a point of the world."""
    at = camera.intrinsics @ se3.act(se3.inverse(camera.T_world_camera), point[None])[0]
    x, y = at[:2] / at[2]
    canvas = Image.fromarray(picture)
    ImageDraw.Draw(canvas).ellipse((x - 17, y - 17, x + 17, y + 17), outline=INK, width=2)
    return np.asarray(canvas)


def caption(picture: Picture, title: str, line: str) -> Picture:
    """A picture with two lines of text below it."""
    height, width = picture.shape[:2]
    canvas = Image.new("RGB", (width, height + 44), PAPER)
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    draw.text((10, height + 5), title, fill=INK, font=ImageFont.load_default(14))
    draw.text((10, height + 24), line, fill=(110, 115, 122), font=ImageFont.load_default(12))
    return np.asarray(canvas)


def framed(picture: Picture, color: tuple[int, int, int], width: int = 6) -> Picture:
    """A picture with a coloured border."""
    out = picture.copy()
    out[:width], out[-width:], out[:, :width], out[:, -width:] = color, color, color, color
    return out


def write_video(path: Path, frames: Sequence[Picture], rate: int) -> None:
    """H.264 with even sizes, playable in browsers."""
    height, width = (n - n % 2 for n in frames[0].shape[:2])
    partial = path.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, rate)
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[:height, :width]), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    partial.replace(path)


def read_video(path: Path) -> list[Picture]:
    """All frames of a film."""
    with av.open(str(path)) as container:
        frames = container.decode(video=0)
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in frames]


def contact_sheet(
    title: str, trials: Sequence[tuple[str, bool, Path]], columns: int = 3
) -> Image.Image:
    """First and last look of many trials, framed green where the judge said yes.

    Args:
        title: Above the sheet.
        trials: Label, success and the folder that a :class:`Filmer` wrote.
        columns: Trials in a row.
    """
    cells = []
    for label, success, folder in trials:
        with np.load(folder / "frames.npz", allow_pickle=False) as stored:
            frames = stored["frames"]
        pick = np.linspace(0, len(frames) - 1, 4).astype(int)
        thumbs = [Image.fromarray(frames[i]).resize((120, 90)) for i in pick]
        cell = Image.new("RGB", (4 * 120 + 12, 90 + 30), PAPER)
        draw = ImageDraw.Draw(cell)
        draw.rectangle((0, 22, 4 * 120 + 7, 90 + 29), fill=GOOD if success else BAD)
        for i, thumb in enumerate(thumbs):
            cell.paste(thumb, (4 + 120 * i, 26))
        verdict = "success" if success else "failure"
        draw.text((2, 4), f"{label}   {verdict}", fill=INK, font=ImageFont.load_default(13))
        cells.append(cell)
    width, height = cells[0].size
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (width + 8) + 12, rows * (height + 8) + 52), PAPER)
    ImageDraw.Draw(sheet).text((12, 12), title, fill=INK, font=ImageFont.load_default(22))
    for i, cell in enumerate(cells):
        sheet.paste(cell, (12 + i % columns * (width + 8), 48 + i // columns * (height + 8)))
    return sheet
