"""What a robot does to things: those that it holds go with it, others go ahead of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.types import Array

from .registration import box_of

_STEP = 0.008  # [m] of a link at a time
_TOUCHED = 0.01  # of a surface's points: fewer may be mistaken
_TALL = 0.01  # [m]: what is less lies flat, and a hand passes over it
_LEVEL = 0.005  # [m] by which heights that are seen are off
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


RESTS = np.eye(4)
"""Motion of what has not moved."""
NOTHING = Touch(RESTS, False)
"""The robot has not come near."""


class Block:
    """What a thing fills: upright, over the hull of what is seen of it.

    Args:
        surface: ``(P, 3)`` [m].
    """

    def __init__(self, surface: Array) -> None:
        self._lines = ConvexHull(surface[:, :2], qhull_options="QJ").equations  # (E, 3)
        self._low, self._high = box_of(surface)[:, 2]
        self._about = surface.mean(axis=0)
        self._radius = float(np.linalg.norm(surface - self._about, axis=1).max())

    def pushes(self, there: Array, step: Array, points: Array) -> Array:
        """How far it pushes points ``(P, 3)`` of another thing, as it takes a step: ``(3,)`` [m].

        Args:
            there: ``(4, 4)`` from where it lay to where it is after that step.
            step: ``(4, 4)`` in the base frame.
            points: Of the other thing.
        """
        none = np.zeros(3)
        apart = np.linalg.norm(points - se3.act(there, self._about[None]), axis=1)
        if apart.min() > self._radius:
            return none
        x, y, z = se3.act(se3.inverse(there), points).T
        depth = -(np.column_stack([x, y]) @ self._lines[:, :2].T + self._lines[:, 2])  # (P, E)
        inside = (depth > 0).all(axis=1) & (z > self._low - _LEVEL) & (z < self._high + _LEVEL)
        if inside.mean() < _TOUCHED:
            return none
        deepest = depth[inside].max(axis=0)
        out = int(np.argmin(deepest))
        normal = there[:3, :2] @ self._lines[out, :2]
        at = points[inside]
        goes = float((se3.act(step, at) - at).mean(axis=0) @ normal)
        return np.asarray(normal * float(np.clip(goes, 0.0, deepest[out])))


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

    def touches(self, surfaces: Array, moved: Mapping[int, Array] | None = None) -> list[Touch]:
        """What it has done to things, itself or with others that it has moved.

        Args:
            surfaces: ``(M, P, 3)`` as they lay before [m].
            moved: Of those that are known to have moved how, or not at all, ``(4, 4)`` in the base
                frame; None if nothing is known.
        """
        moved = moved or {}
        touches = [NOTHING] * len(surfaces)
        tall = [i for i, surface in enumerate(surfaces) if is_tall(surface)]
        near = {i: links for i in tall if i not in moved and (links := self._near(surfaces[i]))}
        ways = {i: T for i, T in moved.items() if i in tall and (T != RESTS).any()}
        for i, links in near.items():
            held = self._held(surfaces[i], links)
            if held is not None:
                ways[i], touches[i] = held, Touch(held, True)
        free = [i for i in tall if i not in moved and i not in ways]
        pushed = self._pushed(surfaces, {i: near[i] for i in free if i in near}, ways, free)
        for i, way in pushed.items():
            touches[i] = Touch(se3.pose(p=way), False)
        return touches

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

    def _pushed(
        self,
        surfaces: Array,
        near: Mapping[int, Sequence[int]],
        ways: Mapping[int, Array],
        free: Sequence[int],
    ) -> dict[int, Array]:
        """How far things have been pushed across the table: ``(3,)`` [m], nothing upwards.

        Args:
            surfaces: ``(M, P, 3)`` as they lay [m].
            near: Links that may touch a thing.
            ways: Motions ``(4, 4)`` of things that go as they do, whatever they meet.
            free: Things that may be pushed.
        """
        if not near and not ways:
            return {}
        pushed = {i: np.zeros(3) for i in free}
        links = {k: self._poses(k) for some in near.values() for k in some}
        blocks: dict[int, Block] = {}
        known = {i: _along(T, surfaces[i], self._steps) for i, T in ways.items()}
        for n in range(self._steps):
            steps = {i: T[n + 1] @ se3.inverse(T[n]) for i, T in known.items()}
            for i, some in near.items():
                step = self._step(surfaces[i] + pushed[i], {k: links[k][n : n + 2] for k in some})
                if step.any():
                    pushed[i] += step
                    steps[i] = se3.pose(p=step)
            movers = list(steps)
            for a in movers:  # grows
                if a not in blocks:
                    blocks[a] = Block(surfaces[a])
                there = known[a][n + 1] if a in known else se3.pose(p=pushed[a])
                for b in free:
                    if b in steps:
                        continue
                    step = blocks[a].pushes(there, steps[a], surfaces[b] + pushed[b])
                    if step.any():
                        pushed[b] += step
                        steps[b] = se3.pose(p=step)
                        movers.append(b)
        return pushed

    def _step(self, points: Array, links: Mapping[int, Array]) -> Array:
        """How far links push points ``(P, 3)`` from one pose to the next: ``(3,)`` [m]."""
        pushed = np.zeros(3)
        for k, (then, now) in links.items():
            inside = self._inside(points + pushed, k, now)
            if inside.mean() < _TOUCHED:
                continue
            at = (points + pushed)[inside]
            step = (se3.act(now @ se3.inverse(then), at) - at).mean(axis=0)[:2]
            away = (points + pushed).mean(axis=0) - at.mean(axis=0)
            if step @ away[:2] > 0:  # a link does not pull
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


def is_tall(surface: Array) -> bool:
    """Whether a surface ``(P, 3)`` does not lie flat, so that it can be pushed and pushes."""
    return bool(np.ptp(box_of(surface[:, 2:])) >= _TALL)


def _along(motion: Array, surface: Array, steps: int) -> Array:
    """Motions ``(steps + 1, 4, 4)`` of a surface ``(P, 3)`` on its way to the whole of one."""
    about = surface.mean(axis=0)
    whole = se3.pose(p=-about) @ motion @ se3.pose(p=about)
    share = np.linspace(0.0, 1.0, steps + 1)[:, None]
    T = se3.pose(se3.exp3(share * se3.log3(whole[:3, :3])), share * whole[:3, 3])
    return np.asarray(se3.pose(p=about) @ T @ se3.pose(p=-about))


def body_of(
    observation: Observation, model: Kinematics | None, hulls: LinkHulls | None
) -> Body | None:
    """The robot at an observation; None where its shape or posture is not known."""
    if model is None or hulls is None or not hulls.hulls or observation.q is None:
        return None
    return Body(hulls, model.link_poses(observation.q))
