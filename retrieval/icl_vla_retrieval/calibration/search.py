"""Where may the camera be? A search over all views of the robot's motion, without any start.

A pixel that becomes foreground just when a posed robot would cover it speaks for that pose. The
score is the correlation over all frames and cells of a score grid between what is predicted and
what is seen, both without their mean over time: what does not move says nothing, so neither does
what lies about or the robot's own base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .body import Body
from .pictures import Pictures
from .pinhole import Pinhole

_VIEWS = 3000  # tried at first
_STARTS = 10  # of them, apart in direction, improved
_CLIMB = 150  # steps each
_CELLS = 28  # of the grid across the picture
_ZOOMS = (0.5, 2.5)  # focal lengths, in widths of the picture
_POINTS = 350  # on the robot's surface


@dataclass(frozen=True)
class _View:
    """A camera as seen from the middle of the motion.

    Attributes:
        R: ``R_camera_base`` ``(3, 3)``.
        middle: ``(2,)`` pixel in which the middle of the motion is seen.
        distance: To it [m].
        focal: [px].
    """

    R: Array
    middle: Array
    distance: float
    focal: float


class MotionScore:
    """How well a camera explains which pixels change when.

    Args:
        pictures: A few dozen frames.
        body: The robot in their postures.
        rng: Picks points on the robot's surface.
    """

    def __init__(self, pictures: Pictures, body: Body, rng: np.random.Generator) -> None:
        import cv2

        h, w = pictures.size
        self.cell = max(w // _CELLS, 1)  # [px]
        self.grid = (-(-h // self.cell), -(-w // self.cell))
        self.episode = pictures.episode
        foreground = pictures.foreground(pictures.common_background())
        size = (self.grid[1], self.grid[0])
        small = [cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in foreground]
        cells = np.stack(small).reshape(len(pictures), -1).astype(np.float32)
        seen = self._centred(cells)
        self.seen = seen / np.float32(max(float(np.linalg.norm(seen)), 1e-9))
        self.points = body.surface(_POINTS, rng)
        self.start = np.arange(len(pictures))[:, None] * (self.grid[0] * self.grid[1])

    def __call__(self, camera: Pinhole) -> float:
        """-1 to 1."""
        pixels, z = camera.project(self.points)
        column, row = np.moveaxis(np.floor((pixels + 0.5) / self.cell), -1, 0)
        ok = (z > 0.05) & (column >= 0) & (column < self.grid[1])
        ok &= (row >= 0) & (row < self.grid[0])
        covered = np.zeros(self.seen.shape, np.float32)
        cells = (self.start + row * self.grid[1] + column)[ok].astype(np.int64)
        covered.reshape(-1)[cells] = 1.0
        covered = self._centred(covered)
        return float(np.sum(covered * self.seen) / max(float(np.linalg.norm(covered)), 1e-9))

    def _centred(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Without the mean over each demonstration's frames."""
        for e in np.unique(self.episode):
            x[self.episode == e] -= x[self.episode == e].mean(axis=0)
        return x


def search(
    pictures: Pictures,
    body: Body,
    rng: np.random.Generator,
    known: Pinhole | None = None,
    *,
    keep: int,
) -> list[tuple[float, Pinhole]]:
    """The best few cameras with their scores, best first; none where nothing ever changes.

    Args:
        pictures: A few dozen frames.
        body: The robot in their postures.
        rng: The search is random.
        known: A camera with the known focal length and principal point; else the latter is the
            picture's middle, and the focal length is looked for.
        keep: How many.
    """
    h, w = pictures.size
    focal, centre, aspect = None, np.array([(w - 1) / 2, (h - 1) / 2]), 1.0
    if known is not None:
        focal, centre, aspect = known.focal, known.centre, known.aspect
    score = MotionScore(pictures, body, rng)
    middle = score.points.mean(axis=(0, 1))
    if not score.seen.any():
        return []
    activity = np.abs(score.seen).sum(axis=0).reshape(score.grid)
    rows, columns = np.mgrid[: score.grid[0], : score.grid[1]]
    busiest = score.cell * np.array([np.sum(columns * activity), np.sum(rows * activity)])
    busiest = busiest / activity.sum() + score.cell / 2

    def camera(view: _View) -> Pinhole:
        flat = (view.middle - centre) / (view.focal * np.array([1.0, aspect]))
        place = view.distance * np.array([*flat, 1.0]) - view.R @ middle
        return Pinhole(se3.pose(view.R, place), view.focal, centre, aspect)

    size = float(np.linalg.norm(score.points - middle, axis=-1).mean())
    views = _all_views(rng, busiest, w, size, focal)
    starts: list[_View] = []
    for v in sorted(views, key=lambda v: -score(camera(v))):  # the best of each direction
        if all(np.linalg.norm(se3.log3(v.R @ o.R.T)) > 0.25 for o in starts):
            starts.append(v)
        if len(starts) == _STARTS:
            break

    def climb(starts: Sequence[_View], steps: int) -> list[tuple[float, _View]]:
        free = focal is None
        found = [_climb(lambda v: score(camera(v)), v, rng, w, steps, free) for v in starts]
        return sorted(found, key=lambda x: -x[0])[:keep]

    found = climb([v for _, v in climb(starts, _CLIMB)], 2 * _CLIMB)
    return [(s, camera(v)) for s, v in found]


def _all_views(
    rng: np.random.Generator, busiest: Array, width: int, size: float, focal: float | None
) -> list[_View]:
    """Directions over the sphere; for each some distances and places in the picture."""
    views = []
    for _ in range(_VIEWS):
        azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(-0.3, 1.0)
        back = np.array([np.cos(azimuth), np.sin(azimuth), 0.0]) * np.sqrt(1 - height**2)
        back[2] = height
        right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
        R = np.stack([right, -np.cross(back, right), -back])
        # most cameras stand upright; some are turned
        roll = rng.normal(0, 0.15) + (rng.choice([0.5, 1.0, 1.5]) * np.pi * (rng.random() < 0.25))
        R = se3.exp3(np.array([0.0, 0.0, roll])) @ R
        f = focal if focal is not None else width * float(np.exp(rng.uniform(-0.4, 0.6)))
        extent = width * np.exp(rng.uniform(np.log(0.06), np.log(0.5)))  # of the motion [px]
        place = busiest + rng.normal(0, 0.12 * width, 2)
        views.append(_View(R, place, f * size / extent, f))
    return views


def _climb(
    score: Callable[[_View], float],
    start: _View,
    rng: np.random.Generator,
    width: int,
    steps: int,
    zoom: bool,
) -> tuple[float, _View]:
    """A (1+1) evolution strategy with the one-fifth rule (Rechenberg 1973)."""
    best, best_score, sigma = start, score(start), 1.0
    for _ in range(steps):
        x = sigma * rng.standard_normal(7)
        trial = _View(
            se3.exp3(0.12 * x[:3]) @ best.R,
            best.middle + 0.03 * width * x[3:5],
            best.distance * float(np.exp(0.12 * x[5])),
            best.focal * float(np.exp(0.08 * x[6])) if zoom else best.focal,
        )
        if not _ZOOMS[0] <= trial.focal / width <= _ZOOMS[1] and zoom:
            continue
        value = score(trial)
        if value > best_score:
            best, best_score, sigma = trial, value, min(sigma * 1.5, 1.5)
        else:
            sigma = max(sigma * 0.9, 0.03)
    return best_score, best
