"""Pictures to learn to see from: random things on random tables, seen again and again.

A batch shows one collection of things in many pictures: other companions, places, cameras, lights
and robots each time. Many of a collection's things are look-alikes: they share colour and shape,
or colour only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import CameraImage, se3
from icl_vla_embodiments.types import Array

from ..perception.resizing import enlarged
from ..perception.sight import points_in_base
from ..sim.bodies import draw_body
from ..sim.bullet import connect
from ..sim.scene import CameraSpec
from . import meshes
from .collection import FLAT, HOLLOW, MOVING, Kind, draw_collection, opened, staged
from .colours import as_in_video, colourless, sensed
from .encoder_recipe import Variety
from .stage import Prop, Stage, of_client, place

PLAIN = Variety()
FIXED = ("mark", "line", "button", "lid", "drawer", "slot")
_POSITIONS = 4  # of parts that move, in a collection
_DRAWN = 8  # arms that are drawn by their number
_COARSE = 0.03  # [m] details that arms lose
_TEXELS = 64
_TILES = 24.0  # of a texture on a table's edge, in quarters
_FLAT_GROUPS = 4  # of a collection that is about what is flat
_LOSSES = (16, 34)  # of a video; see :func:`.colours.as_in_video`
_AWAY = se3.pose(np.eye(3), [0.0, 0.0, -90.0])  # where no camera looks


@dataclass(frozen=True)
class Views:
    """``N`` pictures of one collection of ``K`` things.

    Attributes:
        rgb: ``(N, H, W, 3)``.
        points: ``(N, H, W, 3)`` in the base frame [m].
        valid: ``(N, H, W)`` whether the place is known.
        thing: ``(N, H, W)`` which of the collection is seen; -1 for anything else.
        depth: ``(N, H, W)`` [m], 0 where nothing is; known everywhere.
        robot: ``(N, H, W)`` whether it is what is seen.
        intrinsics: ``(N, 3, 3)``.
        cameras: ``(N, 4, 4)`` ``T_base_camera``.
        words: ``(K,)`` what the things are called; empty where their colour has no name.
        group: ``(K,)`` the same for look-alikes.
    """

    rgb: NDArray[np.uint8]
    points: NDArray[np.float32]
    valid: NDArray[np.bool_]
    thing: NDArray[np.int64]
    depth: NDArray[np.float32]
    robot: NDArray[np.bool_]
    intrinsics: Array
    cameras: Array
    words: tuple[str, ...]
    group: NDArray[np.int64]


def views(
    rng: np.random.Generator,
    pictures: int,
    robots: Sequence[str] = (),
    variety: Variety = PLAIN,
) -> Views:
    """Pictures of a new collection.

    Args:
        rng: Draws everything.
        pictures: How many.
        robots: URDF files, absolute or of ``pybullet_data``, one of which stands in half of the
            collections; in the others one that is drawn.
        variety: What makes them harder.
    """
    # nothing is drawn for what there is none of, so a seed shows the same as without it
    nested = variety.nested > 0 and rng.random() < variety.nested
    moving = not nested and variety.moving > 0 and rng.random() < variety.moving
    flat = not (nested or moving) and variety.flat > 0 and rng.random() < variety.flat
    grey = rng.choice([0.5, 1.0]) if variety.grey > 0 and rng.random() < variety.grey else 0.0
    side = int(rng.choice(variety.sides))
    about = HOLLOW if nested else MOVING if moving else FLAT if flat else ()
    kinds = draw_collection(rng, about, _FLAT_GROUPS if flat else 1)
    show = _Show(kinds, robots, rng, nested, variety)
    rgb, *others = zip(*(show.photograph(rng, side) for _ in range(pictures)), strict=True)
    if grey:
        rgb = tuple(colourless(p) if rng.random() < grey else p for p in rgb)
    points, valid, thing, depth, robot, intrinsics, cameras = (np.stack(each) for each in others)
    return Views(
        np.stack(rgb),
        points,
        valid,
        thing,
        depth,
        robot,
        intrinsics,
        cameras,
        # the words have a colour, which a grey picture does not show
        tuple(k.look.words if k.look.color and not grey else "" for k in kinds),
        np.array([k.group for k in kinds]),
    )


class _Show:
    """A collection, a table and an arm on one stage."""

    def __init__(
        self,
        kinds: list[Kind],
        robots: Sequence[str],
        rng: np.random.Generator,
        nested: bool,
        variety: Variety,
    ) -> None:
        things, textures = staged(_client(), kinds, rng)
        self.kinds, self.nested, self.variety = kinds, nested, variety
        known = len(robots) > 0 and rng.random() < 0.5
        self.arm = _arm(
            robots[int(rng.integers(len(robots)))] if known else int(rng.integers(_DRAWN))
        )
        table = replace(meshes.box(), uv=_TILES * meshes.box().uv)
        props = [Prop(table), Prop(meshes.box()), *self.arm.stage.props]
        covers = [_cover(rng) for _ in range(4)]
        self.first_cover = len(textures)
        self.stage = Stage([*things.props, *props], [*textures, *covers])
        self.rest = things.poses.copy()  # of the props, with their thing at the origin
        self.rests = [self.rest]  # the same with parts that move elsewhere
        for _ in range(_POSITIONS - 1 if variety.moving > 0 else 0):
            opened(_client(), kinds, rng)
            place(things, _client())
            self.rests.append(things.poses.copy())
        self.owner = np.array([p.body for p in things.props] + [-1] * len(props))
        self.colors = self.stage.colors.copy()
        self.plain = self.stage.texture.copy()

    def photograph(self, rng: np.random.Generator, side: int) -> tuple[NDArray[Any], ...]:
        """The first eight of :class:`Views`, of one picture of a new scene."""
        zoom = float(np.exp(rng.uniform(np.log(1.1), np.log(3.2)))) * side  # [px/m]
        camera = _camera(rng, side, zoom)
        if len(self.rests) > 1:
            self.rest = self.rests[int(rng.integers(len(self.rests)))]
        self._dress(rng)
        self._furnish(rng, min(0.4, 0.55 * side / zoom))
        picture = self.stage.photograph(camera.intrinsics, camera.T_world_camera, side, side)
        rgb = sensed(picture.rgb, rng)
        if self.variety.video > 0 and rng.random() < self.variety.video:
            rgb = as_in_video(rgb, float(rng.uniform(*_LOSSES)))
        noise = rng.uniform(0, 0.004) * rng.standard_normal(picture.depth.shape, dtype=np.float32)
        depth = np.where(picture.depth > 0, picture.depth + noise, 0).astype(np.float32)
        valid = depth > 0
        if rng.random() < 0.15:  # no depth at all
            valid = np.zeros_like(valid)
        elif rng.random() < 0.3:  # holes, as sensors have them
            coarse = rng.random((side // 8, side // 8)) < rng.uniform(0, 0.3)
            valid = valid & ~np.kron(coarse, np.ones((8, 8), bool))[:side, :side]
        pose = camera.T_world_camera
        image = CameraImage(rgb, np.where(valid, depth, 0), camera.intrinsics, None, pose)
        if self.variety.least > side:
            image = enlarged(image, self.variety.least)
            assert image.rgb is not None
            height, width = image.rgb.shape[:2]
            picture = self.stage.photograph(np.array(image.intrinsics), pose, height, width)
        assert image.rgb is not None and image.depth is not None and image.intrinsics is not None
        thing = np.where(picture.instance < 0, -1, self.owner[picture.instance])
        robot = picture.instance >= len(self.rest) + 2
        known, valid = points_in_base(image, {}), image.depth > 0
        return image.rgb, known, valid, thing, picture.depth, robot, image.intrinsics, pose

    def _dress(self, rng: np.random.Generator) -> None:
        """Paint table, mat and arm, and light them."""
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
        hosts: list[tuple[Array, Kind]] = []
        for i in self._chosen(rng):
            k = self.kinds[i]
            room = 0.5 * float(np.hypot(k.size[0], k.size[1]))
            movable = k.look.shape not in FIXED
            base = 0.0  # [m] what it stands on is so high
            R = se3.yaw(rng.uniform(-np.pi, np.pi))
            upon = self._hosts(hosts, k)
            if movable and upon and rng.random() < (0.5 if self.nested else 0.25):  # in, on another
                free_place, host = upon[int(rng.integers(len(upon)))]
                free_place = free_place + rng.normal(0, 0.1, 2) * host.size[:2]
                deep = host.look.shape in HOLLOW
                base = host.size[2] * (rng.choice([0.1, 1.1]) if deep else 1.0)
                if self.nested and rng.random() < 0.4:  # held over it
                    base = host.size[2] + rng.uniform(0.0, 0.12)
                    R = se3.exp3(rng.normal(0, 0.15, 3)) @ R
            else:
                found = _free_place(rng, radius, room, placed)
                if found is None:
                    continue
                free_place = found
                placed.append((free_place, room))
                if movable and rng.random() < 0.15:  # held
                    base = rng.uniform(0.0, 0.25)
                    R = se3.exp3(rng.normal(0, 0.2, 3)) @ R
                elif movable:
                    hosts.append((free_place, k))
            mine = np.flatnonzero(self.owner[:first] == i)
            T = se3.pose(R, [*free_place, base + 0.5 * k.size[2]])
            stage.poses[mine] = T @ self.rest[mine]
        if rng.random() < 0.7:
            angle = rng.uniform(-np.pi, np.pi)
            away = rng.uniform(0.3, 0.7) * np.array([np.cos(angle), np.sin(angle)])
            T = se3.pose(se3.yaw(angle + np.pi + rng.normal(0, 0.6)), [*away, 0.0])
            stage.poses[first + 2 :] = T @ self.arm.posed(rng)
            if self.variety.held > 0 and rng.random() < self.variety.held:
                self._hand_over(rng)

    def _hand_over(self, rng: np.random.Generator) -> None:
        """Put one of the movable things about the lowest part of the arm, as if in its hand."""
        stage, first = self.stage, len(self.rest)
        places = stage.poses[first + 2 :, :3, 3]
        low = places[np.argmin(places[:, 2])]
        movable = [i for i, k in enumerate(self.kinds) if k.look.shape not in FIXED]
        if not movable:
            return
        i = movable[int(rng.integers(len(movable)))]
        half = 0.5 * self.kinds[i].size[2]
        place = low + rng.normal(0, [0.01, 0.01, 0.02]) - [0, 0, half]
        place[2] = max(place[2], half)
        R = se3.exp3(rng.normal(0, 0.15, 3)) @ se3.yaw(rng.uniform(-np.pi, np.pi))
        mine = np.flatnonzero(self.owner[:first] == i)
        stage.poses[mine] = se3.pose(R, place) @ self.rest[mine]

    def _hosts(self, placed: list[tuple[Array, Kind]], guest: Kind) -> list[tuple[Array, Kind]]:
        """What a thing may stand in or on; something hollow, where it is about that."""
        if not self.nested:
            return placed
        if guest.look.shape in HOLLOW:  # of one size, they would lie in each other's walls
            return []
        return [h for h in placed if h[1].look.shape in HOLLOW] or placed

    def _chosen(self, rng: np.random.Generator) -> list[int]:
        """Two to seven things; in half of the scenes two or three of one group are among them.

        Where it is about hollow ones, one of them comes first in most scenes.
        """
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
        if self.nested and rng.random() < 0.75:
            hollow = rng.permutation(
                [i for i, k in enumerate(self.kinds) if k.look.shape in HOLLOW]
            )
            chosen = [hollow[0], *(i for i in chosen if i != hollow[0])]
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
def _arm(robot: str | int) -> _Arm:
    """One of a file, or the drawn one of a number."""
    if isinstance(robot, int):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "arm.urdf"
            file.write_text(draw_body(robot).urdf)
            return _Arm(file)
    import pybullet_data

    return _Arm(Path(pybullet_data.getDataPath()) / robot)


def _free_place(
    rng: np.random.Generator, radius: float, room: float, placed: list[tuple[Array, float]]
) -> Array | None:
    """``(2,)`` where something of this half width has room."""
    for _ in range(10):
        free_place = rng.uniform(-radius, radius, 2)
        if all(np.linalg.norm(free_place - s) > room + r + 0.004 for s, r in placed):
            return np.asarray(free_place)
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


def _cover(rng: np.random.Generator) -> NDArray[np.uint8]:
    """``(64, 64, 3)`` pixels of a table cloth: clouds or stripes, lighter and darker."""
    cells = int(rng.choice([4, 8, 16]))
    spread = rng.uniform(0.05, 0.35)
    tones = 1 - spread * rng.random((cells, cells if rng.random() < 0.7 else 1, 1))
    tones = tones * rng.uniform(0.92, 1.0, (*tones.shape[:2], 3))
    whole = np.broadcast_to(tones, (cells, cells, 3)).repeat(_TEXELS // cells, axis=0)
    return (255 * whole.repeat(_TEXELS // cells, axis=1)).astype(np.uint8)
