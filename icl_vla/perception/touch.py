"""What a robot fills: where its links are, nothing else is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

_STEP = 0.004  # [m] of a link at a time
_TOUCHED = 0.01  # of a surface's points: fewer may be mistaken
_TALL = 0.01  # [m]: what is less lies flat, and a hand passes over it


@dataclass(frozen=True)
class Body:
    """A robot at one look.

    Attributes:
        hulls: Of its links.
        links: Link -> its pose ``(4, 4)`` in the base frame.
    """

    hulls: LinkHulls
    links: Mapping[str, Array]

    def pushes(self, surface: Array, before: Body) -> Array:
        """How far a thing has been pushed across the table by what the robot did since.

        What is in the way of a link goes with it. Hidden things are followed by that.

        Args:
            surface: ``(P, 3)`` points of the thing as it lay before [m].
            before: The robot then.

        Returns:
            ``(3,)`` [m], with nothing upwards.
        """
        pushed = np.zeros(3)
        if np.ptp(surface[:, 2]) < _TALL:
            return pushed
        near = {
            link: (before.links[link], now)
            for link, now in self.links.items()
            if link in self.hulls.hulls and self._may_touch(link, surface, before.links[link])
        }
        farthest = max((self._reach(link, before) for link in near), default=0.0)
        steps = max(int(np.ceil(farthest / _STEP)), 1)
        for i in range(steps):
            for link, (begin, end) in near.items():
                then, now = (_between(begin, end, (i + k) / steps) for k in (0, 1))
                points = surface + pushed
                inside = self.hulls.mask(points, {link: now}, margin=0.0)
                if inside.mean() < _TOUCHED:
                    continue
                carried = se3.act(now @ se3.inverse(then), points[inside]) - points[inside]
                pushed[:2] += carried.mean(axis=0)[:2]
        return pushed

    def _may_touch(self, link: str, surface: Array, then: Array) -> bool:
        """Whether a ball about a link, on its way, meets one about a surface."""
        middle, radius = self._ball(link)
        a, b = se3.act(then, middle[None])[0], se3.act(self.links[link], middle[None])[0]
        about = surface.mean(axis=0)
        size = float(np.linalg.norm(surface - about, axis=1).max())
        way = b - a
        along = np.clip((about - a) @ way / max(float(way @ way), 1e-12), 0.0, 1.0)
        # what is pushed goes with the link, and so stays within the same reach
        return bool(np.linalg.norm(a + along * way - about) < radius + size)

    def _reach(self, link: str, before: Body) -> float:
        """How far a link has gone since, its middle or its turned rim [m]."""
        middle, radius = self._ball(link)
        T, then = self.links[link], before.links[link]
        turn = float(np.linalg.norm(se3.log3(T[:3, :3] @ then[:3, :3].T)))
        gone = se3.act(T, middle[None]) - se3.act(then, middle[None])
        return float(np.linalg.norm(gone)) + radius * turn

    def _ball(self, link: str) -> tuple[Array, float]:
        """Middle ``(3,)`` in the link's frame and radius [m] of a ball about its hulls."""
        corners = np.concatenate([np.stack(h.box) for h in self.hulls.hulls[link]])
        low, high = corners.min(axis=0), corners.max(axis=0)
        return 0.5 * (low + high), 0.5 * float(np.linalg.norm(high - low))


def body_of(
    observation: Observation, model: RobotModel | None, hulls: LinkHulls | None
) -> Body | None:
    """The robot at an observation; None where its shape or posture is not known."""
    if model is None or hulls is None or observation.q is None:
        return None
    return Body(hulls, model.link_poses(observation.q))


def _between(a: Array, b: Array, share: float) -> Array:
    """A pose ``(4, 4)`` on the way from one to another."""
    turn = se3.log3(b[:3, :3] @ a[:3, :3].T)
    place = (1 - share) * a[:3, 3] + share * b[:3, 3]
    return se3.pose(se3.exp3(share * turn) @ a[:3, :3], place)
