"""What a robot does to things: those that it holds go with it, others go ahead of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .registration import box_of

_STEP = 0.008  # [m] of a link at a time
_TOUCHED = 0.01  # of a surface's points: fewer may be mistaken
_TALL = 0.01  # [m]: what is less lies flat, and a hand passes over it
_NEAR = 0.01  # [m] from a link within which it may touch what is not seen whole
_OPPOSITE = 0.5  # cosine from which on two sides are opposite ones
_AS_ONE = 0.005  # [m] that two links may move apart


@dataclass(frozen=True)
class Body:
    """A robot at one look.

    Attributes:
        hulls: Of its links.
        links: Link -> its pose ``(4, 4)`` in the base frame.
    """

    hulls: LinkHulls
    links: Mapping[str, Array]


@dataclass(frozen=True)
class Touch:
    """What a robot has done to a thing between two looks.

    Attributes:
        motion: ``(4, 4)`` of the thing in the base frame, as far as that tells; the unit for none.
        held: Whether the robot held it, so that it can have gone no other way.
    """

    motion: Array
    held: bool


NOTHING = Touch(np.eye(4), False)
"""The robot has not come near."""


class Passage:
    """A robot on its way from one look to the next.

    Args:
        before: Where it set out.
        now: Where it is.
    """

    def __init__(self, before: Body, now: Body) -> None:
        self._hulls = now.hulls
        self._names = [link for link in now.links if link in now.hulls.hulls]
        self._then = np.stack([before.links[link] for link in self._names])  # (L, 4, 4)
        self._now = np.stack([now.links[link] for link in self._names])
        self._turns = se3.log3(self._now[:, :3, :3] @ np.swapaxes(self._then[:, :3, :3], 1, 2))
        # of a ball about each link its middle and radius
        balls = [now.hulls.ball(link) for link in self._names]
        middles = np.stack([middle for middle, _ in balls])[:, None]
        self._radii = np.array([radius for _, radius in balls])
        self._middle, there = se3.act(self._then, middles)[:, 0], se3.act(self._now, middles)[:, 0]
        self._way = there - self._middle
        gone = np.linalg.norm(self._way, axis=1) + self._radii * np.linalg.norm(self._turns, axis=1)
        self._steps = max(int(np.ceil(gone.max(initial=0.0) / _STEP)), 1)

    def touch(self, surface: Array) -> Touch:
        """What it has done to a thing whose surface ``(P, 3)`` lay there before [m]."""
        if np.ptp(box_of(surface[:, 2:])) < _TALL:
            return NOTHING
        near = self._near(surface)
        if not near:
            return NOTHING
        held = self._held(surface, near)
        if held is not None:
            return Touch(held, True)
        return Touch(se3.pose(p=self._pushed(surface, near)), False)

    def _near(self, surface: Array) -> list[int]:
        """Links whose balls, on their way, meet one about a surface."""
        about = surface.mean(axis=0)
        size = float(np.linalg.norm(surface - about, axis=1).max())
        off = about - self._middle
        squared = np.maximum((self._way**2).sum(axis=1), 1e-12)
        along = np.clip((off * self._way).sum(axis=1) / squared, 0.0, 1.0)
        # what is pushed goes with the link, and so stays within the same reach
        apart = np.linalg.norm(off - along[:, None] * self._way, axis=1)
        return np.flatnonzero(apart < self._radii + size + _NEAR).tolist()

    def _held(self, surface: Array, near: Sequence[int]) -> Array | None:
        """How links that touch a surface from two sides have moved, if they did so as one."""
        sides = []
        for k in near:
            on = self._inside(surface, k, self._then[k], _NEAR)
            if on.mean() >= _TOUCHED:
                at = surface[on].mean(axis=0)
                motion = self._now[k] @ se3.inverse(self._then[k])
                sides.append((on.sum(), at, (at - self._middle[k])[:2], motion))
        sides.sort(key=lambda side: -side[0])
        for n, (_, here, a, motion) in enumerate(sides):
            for _, there, b, other in sides[n + 1 :]:
                opposite = a @ b < -_OPPOSITE * np.linalg.norm(a) * np.linalg.norm(b)
                apart = (motion - other) @ np.append(0.5 * (here + there), 1.0)
                if opposite and np.linalg.norm(apart) < _AS_ONE:
                    return np.asarray(motion)
        return None

    def _pushed(self, surface: Array, near: Sequence[int]) -> Array:
        """How far links have pushed a thing across the table: ``(3,)`` [m], nothing upwards."""
        pushed = np.zeros(3)
        ways = {k: self._poses(k) for k in near}
        for i in range(self._steps):
            for k, poses in ways.items():
                points = surface + pushed
                inside = self._inside(points, k, poses[i + 1])
                if inside.mean() < _TOUCHED:
                    continue
                at = points[inside]
                step = (se3.act(poses[i + 1] @ se3.inverse(poses[i]), at) - at).mean(axis=0)[:2]
                if step @ (points.mean(axis=0) - at.mean(axis=0))[:2] > 0:  # a link does not pull
                    pushed[:2] += step
        return pushed

    def _inside(self, points: Array, k: int, T: Array, margin: float = 0.0) -> NDArray[np.bool_]:
        """Which points ``(P, 3)`` lie in link ``k`` or within ``margin`` of it, if it is at T."""
        return self._hulls.mask(points, {self._names[k]: T}, margin)

    def _poses(self, k: int) -> Array:
        """Poses ``(steps + 1, 4, 4)`` of link ``k`` on its way."""
        share = np.linspace(0.0, 1.0, self._steps + 1)[:, None]
        place = (1 - share) * self._then[k, :3, 3] + share * self._now[k, :3, 3]
        return se3.pose(se3.exp3(share * self._turns[k]) @ self._then[k, :3, :3], place)


def body_of(
    observation: Observation, model: RobotModel | None, hulls: LinkHulls | None
) -> Body | None:
    """The robot at an observation; None where its shape or posture is not known."""
    if model is None or hulls is None or not hulls.hulls or observation.q is None:
        return None
    return Body(hulls, model.link_poses(observation.q))
