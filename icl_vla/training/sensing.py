"""What the encoder would show of rolled-out scenes: tokens with their usual faults.

Middles of visible extents are off by millimetres, the hand and the arm hide what is behind them,
what is hidden stays where it was last seen, patterned things fall into parts, bits of shadow and
robot come and go, distractors look like what is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..perception.memory import STRIDE, TrackedTokens
from ..perception.tokens import CLOUD, SceneTokens
from ..policy.context import DemoContext
from .programs import Program
from .rollout import LONGEST, RATE, Rollout, World

_UNLIKE = 0.8  # chromaticity from which on two colours are clearly different
_GREY = np.array([1.13, 1.13, 1.16])  # chromaticity of shadows and metal


@dataclass(frozen=True)
class Sight:
    """How a task's scenes are seen, alike in all of them.

    Attributes:
        colors: ``(M, 3)`` of the program's things, 0 to 1.
        patterned: ``(M,)`` which fall into parts.
        camera: ``(3,)`` unit vector towards it.
        grasp: ``(3, 3)`` ``R_base_ee`` of a hand with yaw 0.
        middle: ``(3,)`` of the table's patch in the base frame [m].
    """

    colors: Array
    patterned: NDArray[np.bool_]
    camera: Array
    grasp: Array
    middle: Array

    @classmethod
    def draw(cls, program: Program, rng: np.random.Generator) -> Sight:
        """A random one; colours of a program's things differ."""
        M = len(program.things)
        azimuth, height = rng.uniform(-0.3, 1.2), rng.uniform(0.7, 1.1)
        camera = np.array([np.cos(height) * np.cos(azimuth), np.cos(height) * np.sin(azimuth)])
        grasp = se3.yaw(float(rng.uniform(-np.pi, np.pi))) @ np.diag([1.0, -1.0, -1.0])
        return cls(
            colors=_apart(rng, M),
            patterned=rng.random(M) < 0.15,
            camera=np.append(camera, np.sin(height)),
            grasp=grasp,
            middle=np.array([0.54, 0.0, 0.0]) + rng.normal(0, 0.05, 3),
        )


@dataclass(frozen=True)
class Seen:
    """Tokens of one scene over ``T`` frames.

    Attributes:
        positions: ``(T, M, 3)`` last known [m].
        visible: ``(T, M)`` whether a frame showed it.
        features: ``(M, F)``.
        clouds: ``(M, CLOUD, 3)`` when first seen.
    """

    positions: Array
    visible: NDArray[np.bool_]
    features: Array
    clouds: Array

    def tracked(self, t: int) -> TrackedTokens:
        """As :class:`SceneMemory` would hold them."""
        blank = np.zeros((len(self.features), 3))
        pixels = np.ones(len(self.features))
        now, first = (
            SceneTokens(p, self.features, blank, self.clouds, pixels)
            for p in (self.positions[t], self.positions[0])
        )
        return TrackedTokens(now, first, self.visible[t])


def see(rollout: Rollout, n: int, world: World, sight: Sight, rng: np.random.Generator) -> Seen:
    """Tokens of scene ``n``, in random order.

    A generator of the same seed shows the same of a scene that has gone on since.
    """
    T = int(min(rollout.length[n], len(rollout.hand)))
    things, hand = rollout.things[:T, n], rollout.hand[:T, n]
    sizes, held = rollout.sizes[n], rollout.held[:T, n]
    colors = _colors(sight, len(sizes), rng)
    tracks, shown, features, clouds = [], [], [], []
    for m in range(len(sizes)):
        if rng.random() < 0.03:
            continue  # never seen in this scene
        split = m < len(sight.patterned) and sight.patterned[m]
        for part in range(int(rng.integers(1, 4)) if split else 1):
            spread = 0.2 * sizes[m] if split else np.zeros(3)
            bias = rng.normal(0, 0.0025, 3) + rng.normal(0, 1, 3) * spread + [0, 0, 0.002]
            share = rng.uniform(0.3, 1.0) if split else 1.0
            track, visible = _track(things[:, m], held == m, hand, sizes[m], sight, bias, rng)
            tracks.append(track)
            shown.append(visible)
            color = colors[m] if part == 0 else np.full(3, 0.8)
            features.append(_feature(color, share * sizes[m], things[0, m, 3], rng))
            clouds.append(_cloud(things[0, m], share * sizes[m], m, world, sight, rng))
    for _ in range(int(rng.poisson(1.2)) if rng.random() < 0.6 else 0):
        track, visible = _shadow(T, world, rng)
        tracks.append(track)
        shown.append(visible)
        size = rng.uniform(0.01, 0.05, 3)
        features.append(np.append(_GREY + rng.normal(0, 0.03, 3), size[:2] / 0.2))
        clouds.append(track[0] + size * rng.uniform(-0.5, 0.5, (CLOUD, 3)))
    if not tracks:
        return Seen(
            np.zeros((T, 0, 3)), np.zeros((T, 0), bool), np.zeros((0, 5)), np.zeros((0, CLOUD, 3))
        )
    order = rng.permutation(len(tracks))
    return Seen(
        np.stack(tracks, axis=1)[:, order] + sight.middle,
        np.stack(shown, axis=1)[:, order],
        np.stack(features)[order],
        np.stack(clouds)[order] + sight.middle,
    )


def context(rollout: Rollout, n: int, seen: Seen, sight: Sight, episode: int) -> DemoContext:
    """Scene ``n`` as the policy reads a demonstration."""
    T = len(seen.positions)
    return DemoContext(
        episode=episode,
        times=np.arange(T) / RATE,
        tcp=poses(rollout.hand[:T, n], sight),
        opening=rollout.opening[:T, n],
        commands=poses(rollout.command[:T, n], sight),
        gripper=rollout.gripper[:T, n],
        tokens=seen.positions,
        first=seen.positions[0],
        features=seen.features,
        clouds=seen.clouds,
    )


def poses(hand: Array, sight: Sight) -> Array:
    """``T_base_ee`` ``(..., 4, 4)`` of places and yaws ``(..., 4)`` over the patch."""
    return se3.pose(se3.yaw(hand[..., 3]) @ sight.grasp, hand[..., :3] + sight.middle)


def _track(
    thing: Array,
    held: NDArray[np.bool_],
    hand: Array,
    size: Array,
    sight: Sight,
    bias: Array,
    rng: np.random.Generator,
) -> tuple[Array, NDArray[np.bool_]]:
    """Where a thing was last seen, over time, and when it was seen."""
    T = len(thing)
    aside = np.full(T, np.inf)
    for up in (0.0, 0.07, 0.14, 0.21):  # the hand and the arm above it
        off = hand[:, :3] + [0.0, 0.0, up] - thing[:, :3]
        depth = off @ sight.camera
        beside = np.linalg.norm(off - depth[:, None] * sight.camera, axis=1)
        aside = np.minimum(aside, np.where(depth > 0, beside, np.inf))
    part = (aside < 0.03 + 0.5 * size[0]) | held
    hidden = (aside < 0.02) | (part & (rng.random(LONGEST)[:T] < 0.3))
    true = thing[:, :3] + bias + rng.normal(0, 0.0006, (LONGEST, 3))[:T]
    jump = rng.normal(0, 0.005, (LONGEST, 3))[:T]
    track, place = np.empty((T, 3)), true[0]
    reach = 0.5 * size + 0.01
    for t in range(T):
        if t % STRIDE == 0 and not hidden[t]:
            if not part[t]:
                place = true[t]
            elif (np.abs(true[t] + jump[t] - place) >= reach).any() or (held[t] and t % 3 == 0):
                place = true[t] + 0.6 * jump[t]
        track[t] = place
    return track, ~hidden


def _shadow(T: int, world: World, rng: np.random.Generator) -> tuple[Array, NDArray[np.bool_]]:
    """A bit of something that is not there, now here, now there."""
    moves = rng.random(LONGEST) < rng.choice([0.0, 0.05, 0.2])
    leg = np.cumsum(moves)
    places = rng.uniform(-1, 1, (LONGEST + 1, 3)) * [*world.half, 0.005] + [0, 0, 0.01]
    track = places[leg] + rng.normal(0, 0.001, (LONGEST, 3))
    return track[:T], rng.random(LONGEST)[:T] < 0.5


def _apart(rng: np.random.Generator, count: int) -> Array:
    """Colours ``(count, 3)``, of clearly different chromaticity as far as there is room."""
    drawn = rng.uniform(0.05, 0.95, (60 + count, 3))
    chroma, chosen = _chroma(drawn), np.zeros(0, dtype=int)
    for i in range(len(drawn)):
        unlike = ((chroma[i] - chroma[chosen]) ** 2).sum(-1) > _UNLIKE**2
        if unlike.all() or len(drawn) - i <= count - len(chosen):
            chosen = np.append(chosen, i)
        if len(chosen) == count:
            break
    return drawn[chosen]


def _colors(sight: Sight, count: int, rng: np.random.Generator) -> Array:
    """Of a scene's things; one of the others may share a colour with a thing that is meant."""
    named = len(sight.colors)
    others = _apart(rng, named + count)[: count - named]
    if len(others) and rng.random() < 0.4:
        others[0] = sight.colors[int(rng.integers(named))]
    return np.concatenate([sight.colors, others])


def _chroma(color: Array) -> Array:
    return np.asarray(4 * color / (color.sum(-1, keepdims=True) + 0.2))


def _feature(color: Array, size: Array, yaw: float, rng: np.random.Generator) -> Array:
    c, s = abs(np.cos(yaw)), abs(np.sin(yaw))
    x, y = c * size[0] + s * size[1], s * size[0] + c * size[1]
    lit = color * rng.uniform(0.75, 1.1)
    area = np.sqrt(x * y) * rng.uniform(0.9, 1.05)
    return np.append(
        _chroma(lit) + rng.normal(0, 0.03, 3), [size[2] / 0.2 + rng.normal(0, 0.01), area / 0.2]
    )


def _cloud(
    thing: Array, size: Array, m: int, world: World, sight: Sight, rng: np.random.Generator
) -> Array:
    """``(CLOUD, 3)`` of the top and the sides that the camera sees."""
    u = rng.uniform(-0.5, 0.5, (CLOUD, 3))
    R = se3.yaw(thing[3])
    facing = R.T @ sight.camera
    side = rng.random(CLOUD)
    u[:, 2] = np.where(side < 0.5, 0.5, u[:, 2])
    u[:, 0] = np.where((side >= 0.5) & (side < 0.75), 0.5 * np.sign(facing[0]), u[:, 0])
    u[:, 1] = np.where(side >= 0.75, 0.5 * np.sign(facing[1]), u[:, 1])
    local = u * size
    return thing[:3] + local @ R.T + rng.normal(0, 0.0008, (CLOUD, 3))
