"""A film of a run: the robot, its way and what pushes it, over a checkered ground."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from icl_vla_embodiments.types import Array

from ..evaluation.film import INK, PAPER, write_video
from .run import BASE, Rig
from .view import SIZE, Light, View

Picture = NDArray[np.uint8]
Color = tuple[int, int, int]

RATE = 20  # [Hz] in simulated time, played at the same pace
NEAR, FAR = 1.35, 1.75  # of the size of what is seen: distance to a fixed and to a moving robot
TILE = 0.5  # of the same
TILES = ((232, 230, 222), (186, 188, 184))
HAZE = (8.0, 22.0)  # of the same: where the tiles begin to fade, and where they are gone
SHADOW = 0.45  # of the light that a shadow takes
COARSE = 2  # pixels of the film for one of the ground's
FOLLOW = 2.0  # [1/s] by which the camera goes after the robot
TRAIL = 3.0  # [s] of the way behind a hand that is carried
LINGER = 0.6  # [s] that a push is shown
DUE: Color = (60, 110, 190)
REACHED: Color = (216, 96, 30)
PUSH: Color = (190, 30, 70)


class Film:
    """Watches a run from the start on; :func:`~.run.follow` calls it.

    Args:
        title: Below every picture.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._frames: list[Picture] = []
        self._trails: dict[str, list[Array]] = {}
        self._push: tuple[Array, Array] | None = None
        self._push_seen = -np.inf  # [s]

    def __call__(self, rig: Rig, t: float) -> None:
        """Take a picture where one is due."""
        if not self._frames:
            self._begin(rig)
        push = rig.push()
        if push is not None:
            self._push, self._push_seen = push, t
        if t * RATE + 1e-9 < len(self._frames):
            return
        if self._moves:
            self._target += min(1.0, FOLLOW / RATE) * (_middle(rig) - self._target)
        self._frames.append(self._captioned(self._picture(rig, t), rig, t))

    def write(self, path: Path) -> None:
        """H.264 at the pace of the simulation; the last picture stays for a second."""
        write_video(path, [*self._frames, *[self._frames[-1]] * RATE], RATE)

    def _begin(self, rig: Rig) -> None:
        self._moves = rig.robot.base != "fixed"
        low, high = _box(rig)
        self._floor = 0.0 if self._moves else min(0.0, float(low[2]))
        if not self._moves:
            low, high = (
                np.fmin(low, np.nanmin(rig.course, 0)),
                np.fmax(high, np.nanmax(rig.course, 0)),
            )
        self._size = float(np.linalg.norm(high - low))
        self._target = _middle(rig) if self._moves else 0.5 * (low + high)
        self._distance = (FAR if self._moves else NEAR) * self._size
        for body in range(rig.client.getNumBodies()):
            if body != rig.body:  # the ground is painted
                rig.client.changeVisualShape(body, -1, rgbaColor=[0, 0, 0, 0])

    def _picture(self, rig: Rig, t: float) -> Picture:
        view = View(self._target, self._distance)
        rgb, robot = view.render(rig.client, rig.body)
        picture = self._ground(view, rig)
        points = rig.points()
        for name, (_, reached) in points.items():
            trail = self._trails.setdefault(name, [])
            trail.append(reached)
            if BASE in points and name != BASE:  # the base's way is the one to see
                del trail[: -round(TRAIL * RATE)]
        if BASE in points:  # ways on the ground lie below the robot
            self._ways(picture, view, rig.course, points, (BASE,))
        picture[robot] = rgb[robot]
        if not robot.any():  # its meshes are missing
            for ends in _bones(rig):
                start, end = _pixels(view, ends)
                cv2.line(picture, start, end, INK, 5, cv2.LINE_AA)
        course = np.zeros((0, 3)) if BASE in points else rig.course
        self._ways(picture, view, course, points, tuple(n for n in points if n != BASE))
        if self._push is not None and t < self._push_seen + LINGER:
            place, force = self._push
            tail = place - force / np.linalg.norm(force) * 0.35 * self._size
            start, end = _pixels(view, np.array([tail, place]))
            cv2.arrowedLine(picture, start, end, PUSH, 6, cv2.LINE_AA, tipLength=0.2)
        return picture

    def _ground(self, view: View, rig: Rig) -> Picture:
        """Tiles with the robot's shadow, on the whole picture; they blur where they are small."""
        points, below = view.on_plane(self._floor, COARSE)
        away = np.linalg.norm(points[:, :2] - view.eye[:2], axis=1)
        height = view.eye[2] - self._floor
        along = np.abs(points[:, :2] - view.eye[:2]) / away[:, None]
        tile = TILE * self._size
        # of a pixel on the ground, in tiles: it grows along the line of sight most
        width = COARSE * view.pixel * away[:, None] * (along * away[:, None] / height + 1) / tile
        wave = 1 - 4 * np.abs((points[:, :2] / tile) % 1.0 - 0.5)  # zero at the tiles' edges
        sharp = np.clip(wave / np.maximum(2 * width, 1e-9), -1, 1) * np.clip(2 - 3 * width, 0, 1)
        mix = 0.5 + 0.5 * sharp.prod(axis=1)
        color = (1 - mix[:, None]) * np.array(TILES[1]) + mix[:, None] * np.array(TILES[0])
        light = Light(self._target, 1.2 * self._size)
        dark = light.at(gaussian_filter(light.render(rig.client, rig.body), 1.2), points)
        color *= 1 - SHADOW * dark[:, None]
        far = np.linalg.norm(points[:, :2] - self._target[:2], axis=1) / self._size
        haze = np.clip((far - HAZE[0]) / (HAZE[1] - HAZE[0]), 0, 1)[:, None]
        picture = np.full((*below.shape, 3), PAPER, dtype=np.uint8)
        picture[below] = (1 - haze) * color + haze * np.array(PAPER)
        return np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_LINEAR), np.uint8)

    def _ways(
        self,
        picture: Picture,
        view: View,
        course: Array,
        points: dict[str, tuple[Array, Array]],
        names: tuple[str, ...],
    ) -> None:
        """The whole way that is due, the way behind each part, and where both are now."""
        for line in np.split(course, np.flatnonzero(np.isnan(course[:, 0]))):
            whole = line[~np.isnan(line[:, 0])]
            if len(whole):
                cv2.polylines(picture, [_pixels(view, whole)], False, DUE, 2, cv2.LINE_AA)
        for name in names:
            due, reached = points[name]
            trail = _pixels(view, np.array(self._trails[name]))
            cv2.polylines(picture, [trail], False, REACHED, 3, cv2.LINE_AA)
            for point, color in ((due, DUE), (reached, REACHED)):
                centre = _pixels(view, point[None])[0]
                cv2.circle(picture, centre, 6, PAPER, -1, cv2.LINE_AA)
                cv2.circle(picture, centre, 4, color, -1, cv2.LINE_AA)

    def _captioned(self, picture: Picture, rig: Rig, t: float) -> Picture:
        height, width = picture.shape[:2]
        canvas = Image.new("RGB", (width, height + 48), PAPER)
        canvas.paste(Image.fromarray(picture), (0, 0))
        draw = ImageDraw.Draw(canvas)
        draw.text((12, height + 5), self._title, fill=INK, font=ImageFont.load_default(16))
        text = f"{t:.1f} s     off by " + ", ".join(_gap(n, *p) for n, p in rig.points().items())
        if self._push is not None and t < self._push_seen + LINGER:
            text += f"     push of {np.linalg.norm(self._push[1]):.0f} N"
        draw.text((12, height + 26), text, fill=(110, 115, 122), font=ImageFont.load_default(13))
        return np.asarray(canvas)


def _pixels(view: View, points: Array) -> NDArray[np.int32]:
    return np.round(view.project(points)).astype(np.int32)


def _gap(name: str, due: Array, reached: Array) -> str:
    axes = 2 if name == BASE else 3
    gap = 1e3 * float(np.linalg.norm((due - reached)[:axes]))
    return f"{gap:.1f} mm ({name.replace('_', ' ')})"


def _box(rig: Rig) -> tuple[Array, Array]:
    """Corners ``(3,)`` of the robot's bounding box."""
    links = range(-1, rig.client.getNumJoints(rig.body))
    boxes = np.array([rig.client.getAABB(rig.body, i) for i in links])
    return boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)


def _bones(rig: Rig) -> list[Array]:
    """``(2, 3)`` from each link's joint to its parent's, in the world."""
    joints = range(rig.client.getNumJoints(rig.body))
    base = rig.client.getBasePositionAndOrientation(rig.body)[0]
    places = {-1: base}
    places |= {i: rig.client.getLinkState(rig.body, i)[4] for i in joints}
    parents = [rig.client.getJointInfo(rig.body, i)[16] for i in joints]
    return [np.array([places[parent], places[i]]) for i, parent in enumerate(parents)]


def _middle(rig: Rig) -> Array:
    low, high = _box(rig)
    return np.asarray(0.5 * (low + high))
