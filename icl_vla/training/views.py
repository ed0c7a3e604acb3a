"""Pictures to learn to see from: random things on random tables, seen again and again.

A batch shows one collection of things in many pictures: other companions, places, cameras, lights
and robots each time. Many of a collection's things are look-alikes: they share colour and shape,
or colour only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import CameraImage, se3
from icl_vla_embodiments.types import Array

from ..perception.components import points_in_base
from ..sim.bullet import connect
from ..sim.looks import PALETTE, Look, pattern_pixels
from ..sim.scene import PATTERNS, SHAPES, CameraSpec, ObjectSpec, Shape
from ..sim.shapes import build
from . import meshes
from .stage import Picture, Prop, Stage, of_client, place

SIZES = (64, 96, 96, 128)  # [px] of a batch's pictures
FIXED = ("mark", "line", "button", "lid", "drawer", "slot")
EXTENTS: dict[Shape, tuple[float, float, float]] = {
    "bowl": (3.6, 3.6, 1.1),
    "mark": (1.2, 1.2, 0.0),
    "line": (2.6, 0.5, 0.0),
    "bar": (2.4, 0.8, 0.8),
    "cup": (1.6, 1.6, 1.8),
    "hook": (4.0, 1.6, 0.5),
    "button": (1.8, 1.8, 0.9),
    "lid": (2.6, 2.4, 1.2),
    "drawer": (2.8, 2.4, 1.5),
    "slot": (2.8, 2.8, 0.8),
    "cross": (1.6, 1.6, 0.6),
    "tee": (1.6, 1.6, 0.6),
    "ell": (1.6, 1.6, 0.6),
}
"""Edges in units of a cube's; 1 for all others, and where it is 0 it is painted on the table."""

_ARMS = ("franka_panda/panda.urdf", "kuka_iiwa/model.urdf", "xarm/xarm6_with_gripper.urdf")
_COARSE = 0.02  # [m] details that arms lose
_TEXELS = 64
_TILES = 24.0  # of a texture on a table's edge, in quarters
_AWAY = se3.pose(np.eye(3), [0.0, 0.0, -90.0])  # where no camera looks


@dataclass(frozen=True)
class Views:
    """``N`` pictures of one collection of ``K`` things.

    Attributes:
        rgb: ``(N, H, W, 3)``.
        points: ``(N, H, W, 3)`` in the base frame [m].
        valid: ``(N, H, W)`` whether the place is known.
        thing: ``(N, H, W)`` which of the collection is seen; -1 for anything else.
        words: ``(K,)`` what the things are called; empty where their colour has no name.
        group: ``(K,)`` the same for look-alikes.
    """

    rgb: NDArray[np.uint8]
    points: NDArray[np.float32]
    valid: NDArray[np.bool_]
    thing: NDArray[np.int64]
    words: tuple[str, ...]
    group: NDArray[np.int64]


def views(rng: np.random.Generator, pictures: int) -> Views:
    """Pictures of a new collection."""
    side = int(rng.choice(SIZES))
    kinds = _collection(rng)
    show = _Show(kinds, rng)
    taken = [show.photograph(rng, side) for _ in range(pictures)]
    return Views(
        *(np.stack([t[i] for t in taken]) for i in range(4)),  # type: ignore[arg-type]
        tuple(k.look.words if k.look.color in PALETTE else "" for k in kinds),
        np.array([k.group for k in kinds]),
    )


@dataclass(frozen=True)
class _Kind:
    """A thing of a collection, which group of look-alikes it is of, its paints and size [m]."""

    look: Look
    group: int
    color: tuple[float, float, float]
    second: tuple[float, float, float]
    size: tuple[float, float, float]


def _collection(rng: np.random.Generator) -> list[_Kind]:
    """Groups of one to four things: the first looks anyhow, the others much like it."""
    edge = float(rng.uniform(0.025, 0.055))
    names = list(rng.permutation(list(PALETTE)))
    kinds: list[_Kind] = []
    for group in range(int(rng.integers(6, 9))):
        named = group < len(names) and rng.random() < 0.7
        color = PALETTE[names[group]] if named else tuple(rng.uniform(0.05, 0.95, 3))
        second = (0.95, 0.95, 0.95) if rng.random() < 0.7 else tuple(rng.uniform(0, 1, 3))
        first = Look(_shape(rng), str(names[group]) if named else "")
        if rng.random() < 0.4:
            first = replace(first, pattern=str(rng.choice(PATTERNS)))  # type: ignore[arg-type]
        if rng.random() < 0.3:
            first = replace(first, size=str(rng.choice(["small", "large"])))
        looks = {first}
        for _ in range(int(rng.integers(0, 4))):
            other = first.alike(rng) if rng.random() < 0.6 else replace(first, shape=_shape(rng))
            looks.add(other)
        for look in sorted(looks, key=repr):
            size = np.array(EXTENTS.get(look.shape, (1.0, 1.0, 1.0))) * look.scale * edge
            size = np.maximum(size, 0.001)
            kinds.append(_Kind(look, group, tuple(color), tuple(second), tuple(size)))
    return kinds


def _shape(rng: np.random.Generator) -> Shape:
    """Any; the plain ones, which families draw as each other's look-alikes, more often."""
    if rng.random() < 0.5:
        return ("box", "cylinder", "sphere")[int(rng.choice(3, p=[0.45, 0.45, 0.1]))]  # type: ignore[return-value]
    return SHAPES[int(rng.integers(len(SHAPES)))]


class _Show:
    """A collection, a table and arms on one stage."""

    def __init__(self, kinds: list[_Kind], rng: np.random.Generator) -> None:
        client = _client()
        client.resetSimulation()
        bodies, textures = [], {}
        for i, k in enumerate(kinds):
            wall = 0.5 if k.look.shape == "slot" else 0.0
            spec = ObjectSpec(
                str(i), k.look.shape, k.size, k.color, (0.0, 0.0, 0.0),
                pattern=k.look.pattern, second_color=k.second,
                hollow=(wall * k.size[0], wall * k.size[1]),
                joint=float(rng.uniform(0, 0.02)) if rng.random() < 0.3 else 0.0,
            )  # fmt: skip
            bodies.append(build(client, spec))
            if k.look.pattern != "plain":
                textures[bodies[-1]] = pattern_pixels(k.look.pattern, k.color, k.second)
        things = of_client(client, bodies, textures)
        self.kinds = kinds
        self.arms = [_arm(i) for i in range(len(_ARMS))]
        table = replace(meshes.box(), uv=_TILES * meshes.box().uv)
        props = [Prop(table), Prop(meshes.box()), *(p for a in self.arms for p in a.stage.props)]
        covers = [_cover(rng) for _ in range(4)]
        self.first_cover = len(textures)
        self.stage = Stage([*things.props, *props], [*textures.values(), *covers])
        self.rest = things.poses.copy()  # of the props, with their thing at the origin
        order = {body: i for i, body in enumerate(bodies)}
        self.owner = np.array([order[p.body] for p in things.props] + [-1] * len(props))
        self.colors = self.stage.colors.copy()
        self.plain = self.stage.texture.copy()

    def photograph(
        self, rng: np.random.Generator, side: int
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Colour, places, which of them are known, and things, of a new scene."""
        zoom = float(np.exp(rng.uniform(np.log(0.9), np.log(3.2)))) * side  # [px/m]
        camera = _camera(rng, side, zoom)
        self._dress(rng)
        self._furnish(rng, min(0.4, 0.55 * side / zoom))
        picture = self.stage.photograph(camera.intrinsics, camera.T_world_camera, side, side)
        rgb = _sensed(picture, rng)
        noise = rng.uniform(0, 0.004) * rng.standard_normal(picture.depth.shape, dtype=np.float32)
        depth = np.where(picture.depth > 0, picture.depth + noise, 0).astype(np.float32)
        image = CameraImage(rgb, depth, camera.intrinsics, None, camera.T_world_camera)
        valid = depth > 0
        if rng.random() < 0.15:  # no depth at all
            valid = np.zeros_like(valid)
        elif rng.random() < 0.3:  # holes, as sensors have them
            coarse = rng.random((side // 8, side // 8)) < rng.uniform(0, 0.3)
            valid = valid & ~np.kron(coarse, np.ones((8, 8), bool))[:side, :side]
        thing = np.where(picture.instance < 0, -1, self.owner[picture.instance])
        return rgb, points_in_base(image, {}), valid, thing

    def _dress(self, rng: np.random.Generator) -> None:
        """Paint table, mat and arms, and light them."""
        stage, first = self.stage, len(self.rest)
        stage.colors[:] = self.colors
        stage.texture[:] = self.plain
        for prop in (first, first + 1):
            grey = rng.uniform(0.3, 1.0)
            stage.colors[prop] = np.clip(grey * rng.uniform(0.85, 1.15, 3), 0, 1)
            if rng.random() < 0.25:
                stage.colors[prop] = rng.uniform(0, 1, 3)
            if rng.random() < 0.5:
                stage.texture[prop] = self.first_cover + int(rng.integers(4))
        if rng.random() < 0.3:
            stage.colors[first + 2 :] = rng.uniform(0.1, 1, 3)
        stage.light = np.array([*rng.uniform(-0.9, 0.9, 2), 1.0])
        stage.shine = (float(rng.uniform(0.45, 0.7)), float(rng.uniform(0.15, 0.45)))
        stage.background = rng.uniform(0, 255, 3) if rng.random() < 0.5 else np.full(3, 255.0)

    def _furnish(self, rng: np.random.Generator, radius: float) -> None:
        """Put some things, the table and perhaps an arm where they are in this scene."""
        stage, first = self.stage, len(self.rest)
        stage.poses[:] = _AWAY
        half = rng.uniform(0.4, 1.5, 2)
        stage.poses[first] = np.diag([*(2 * half), 0.1, 1.0])
        stage.poses[first, 2, 3] = -0.05
        if rng.random() < 0.3:  # a mat
            mat = se3.pose(se3.yaw(rng.uniform(0, np.pi)), [*rng.uniform(-0.3, 0.3, 2), 0.0])
            stage.poses[first + 1] = mat @ np.diag([*rng.uniform(0.2, 0.5, 2), 0.001, 1.0])
        placed: list[tuple[Array, float]] = []
        for i in self._chosen(rng):
            k = self.kinds[i]
            room = 0.5 * float(np.hypot(k.size[0], k.size[1]))
            spot = _spot(rng, radius, room, placed)
            if spot is None:
                continue
            placed.append((spot, room))
            lifted = k.look.shape not in FIXED and rng.random() < 0.1
            height = 0.5 * k.size[2] + (rng.uniform(0.0, 0.25) if lifted else 0.0)
            R = se3.yaw(rng.uniform(-np.pi, np.pi))
            if lifted:
                R = se3.exp3(rng.normal(0, 0.2, 3)) @ R
            mine = np.flatnonzero(self.owner[:first] == i)
            stage.poses[mine] = se3.pose(R, [*spot, height]) @ self.rest[mine]
        if rng.random() < 0.7:
            which = int(rng.integers(len(self.arms)))
            start = first + 2 + sum(len(a.stage.props) for a in self.arms[:which])
            poses = self.arms[which].posed(rng)
            angle = rng.uniform(-np.pi, np.pi)
            away = rng.uniform(0.3, 0.7) * np.array([np.cos(angle), np.sin(angle)])
            T = se3.pose(se3.yaw(angle + np.pi + rng.normal(0, 0.6)), [*away, 0.0])
            stage.poses[start : start + len(poses)] = T @ poses

    def _chosen(self, rng: np.random.Generator) -> list[int]:
        """Two to seven things; in half of the scenes two or three of one group are among them."""
        chosen: list[int] = []
        groups = [k.group for k in self.kinds]
        many = [g for g in set(groups) if groups.count(g) > 1]
        if many and rng.random() < 0.5:
            group = many[int(rng.integers(len(many)))]
            alike = rng.permutation([i for i, g in enumerate(groups) if g == group])
            chosen = list(alike[: int(rng.integers(2, 4))])
        for i in rng.permutation(len(self.kinds))[: int(rng.integers(2, 6))]:
            if i not in chosen:
                chosen.append(i)
        return [int(i) for i in chosen[:7]]


class _Arm:
    """An arm that strikes random postures."""

    def __init__(self, file: Path) -> None:
        self.client = connect()
        self.body = self.client.loadURDF(str(file), useFixedBase=True)
        self.stage = of_client(self.client, [self.body], coarse=_COARSE)
        infos = [self.client.getJointInfo(self.body, j) for j in range(
            self.client.getNumJoints(self.body))]  # fmt: skip
        self.ranges = {
            j[0]: (max(j[8], -2.5), min(j[9], 2.5)) for j in infos if j[2] != 4 and j[8] < j[9]
        }

    def posed(self, rng: np.random.Generator) -> Array:
        """``(P, 4, 4)`` of its props, most of them over the table."""
        for _ in range(5):
            for joint, (low, high) in self.ranges.items():
                self.client.resetJointState(self.body, joint, rng.uniform(low, high))
            place(self.stage, self.client)
            if self.stage.poses[:, 2, 3].min() > -0.02:
                break
        return self.stage.poses.copy()


@cache
def _client() -> Any:
    """One for all collections of this process."""
    return connect()


@cache
def _arm(number: int) -> _Arm:
    import pybullet_data

    return _Arm(Path(pybullet_data.getDataPath()) / _ARMS[number])


def _spot(
    rng: np.random.Generator, radius: float, room: float, placed: list[tuple[Array, float]]
) -> Array | None:
    """``(2,)`` where something of this half width has room."""
    for _ in range(10):
        spot = rng.uniform(-radius, radius, 2)
        if all(np.linalg.norm(spot - s) > room + r + 0.004 for s, r in placed):
            return np.asarray(spot)
    return None


def _camera(rng: np.random.Generator, side: int, zoom: float) -> CameraSpec:
    """Looks about the origin, where a metre spans ``zoom`` pixels."""
    distance = rng.uniform(0.45, 1.5)
    rise, around = rng.uniform(0.35, 1.35), rng.uniform(-np.pi, np.pi)  # [rad]
    target = np.array([*rng.normal(0, 0.04, 2), rng.uniform(0, 0.05)])
    level = np.cos(rise) * np.array([np.cos(around), np.sin(around)])
    eye = target + distance * np.array([*level, np.sin(rise)])
    fov = np.rad2deg(2 * np.arctan(0.5 * side / (zoom * distance)))
    up = np.array([rng.normal(0, 0.1), rng.normal(0, 0.1), 1.0])
    return CameraSpec(
        tuple(eye), tuple(target), side, side, float(np.clip(fov, 8, 90)), up=tuple(up)
    )


def _sensed(picture: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Colours as a camera gives them: tinted, brighter or darker, noisy."""
    gain = rng.uniform(0.75, 1.2) * rng.uniform(0.93, 1.07, 3)
    speckle = 255 * rng.uniform(0, 0.03) * rng.standard_normal(picture.rgb.shape, dtype=np.float32)
    return np.clip(gain * picture.rgb + speckle, 0, 255).astype(np.uint8)


def _cover(rng: np.random.Generator) -> NDArray[np.uint8]:
    """``(64, 64, 3)`` pixels of a table cloth: clouds or stripes, lighter and darker."""
    cells = int(rng.choice([4, 8, 16]))
    spread = rng.uniform(0.05, 0.35)
    tones = 1 - spread * rng.random((cells, cells if rng.random() < 0.7 else 1, 1))
    tones = tones * rng.uniform(0.92, 1.0, (*tones.shape[:2], 3))
    whole = np.broadcast_to(tones, (cells, cells, 3)).repeat(_TEXELS // cells, axis=0)
    return (255 * whole.repeat(_TEXELS // cells, axis=1)).astype(np.uint8)
