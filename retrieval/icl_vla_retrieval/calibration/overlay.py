"""The robot's outline as a calibration predicts it, drawn over what the camera saw."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel

from ..demonstration import Demonstration
from .body import Body
from .calibrate import Calibration
from .pictures import Pictures

_ROWS, _COLUMNS = 2, 3
_WIDTH = 460  # [px] of one picture
_GAP, _BAND = 10, 64  # [px] between pictures; of the caption
_PAPER, _INK, _FAINT, _LINE = (250, 249, 246), (34, 38, 44), (120, 124, 130), (226, 60, 110)


def overlay(
    demonstrations: Sequence[Demonstration], calibration: Calibration, model: RobotModel
) -> bytes:
    """PNG of six frames from all demonstrations with the robot's predicted outline."""
    import cv2
    from PIL import Image, ImageDraw, ImageFont

    count = _ROWS * _COLUMNS
    # one frame a demonstration, each at another time of it
    several = [demonstrations[i % len(demonstrations)] for i in range(count)]
    times = [round((0.15 + 0.7 * i / (count - 1)) * (len(d) - 1)) for i, d in enumerate(several)]
    pictures = Pictures.at(several, calibration.camera, times)
    body = Body(model, pictures.q)
    h, w = pictures.size
    scale = _WIDTH / w
    height = round(scale * h)
    tiles = []
    for t, rgb in enumerate(pictures.rgb):
        tile = cv2.resize(rgb, (_WIDTH, height), interpolation=cv2.INTER_CUBIC)
        mask = body.mask(t, calibration.pinhole.scaled(scale), (height, _WIDTH))
        tiles.append(_outlined(tile.astype(np.uint8), mask))
    sheet = Image.new(
        "RGB",
        (_COLUMNS * _WIDTH + (_COLUMNS + 1) * _GAP, _ROWS * (height + _GAP) + _GAP + _BAND),
        _PAPER,
    )
    for i, tile in enumerate(tiles):
        row, column = divmod(i, _COLUMNS)
        place = (_GAP + column * (_WIDTH + _GAP), _BAND + _GAP + row * (height + _GAP))
        sheet.paste(Image.fromarray(tile), place)
    draw = ImageDraw.Draw(sheet)
    c = calibration
    title = f"{model.embodiment.name} · camera {c.camera}"
    figures = (
        f"outline {c.reprojection:.2f} px off · position to {1e3 * c.position_error:.1f} mm,"
        f" direction to {np.degrees(c.angle_error):.2f}° · focal length {c.pinhole.focal:.0f} px"
        + "".join(f" · {doubt}" for doubt in c.doubts)
    )
    draw.text((_GAP + 2, 10), title, fill=_INK, font=ImageFont.load_default(22))
    draw.text((_GAP + 2, 42), figures, fill=_FAINT, font=ImageFont.load_default(15))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _outlined(tile: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with a mask's edge drawn and its inside tinted."""
    import cv2

    tinted = tile.astype(float)
    tinted[mask > 0] = 0.88 * tinted[mask > 0] + 0.12 * np.array(_LINE)
    out = np.ascontiguousarray(tinted.astype(np.uint8))
    rings, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return np.asarray(cv2.drawContours(out, rings, -1, _LINE, 2, cv2.LINE_AA), dtype=np.uint8)
