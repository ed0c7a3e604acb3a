"""What stands on the table: objects, cameras and where the robot begins, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.types import Array

Shape = Literal[
    "box",
    "cylinder",
    "sphere",
    "bowl",
    "cup",
    "hook",
    "mark",
    "line",
    "bar",
    "cross",
    "tee",
    "ell",
    "button",
    "lid",
    "drawer",
    "slot",
    "gate",
]
SHAPES: tuple[Shape, ...] = get_args(Shape)
Pattern = Literal["plain", "striped", "dotted", "checked"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)


@dataclass(frozen=True)
class ObjectSpec:
    """One thing in a scene.

    Attributes:
        name: Unique in the scene; only the judge, the expert and the reader use it.
        shape: Mark and line are painted on the table and cannot be moved. Button, lid, drawer,
            slot and gate are fixtures: they stand fast, and all but the slot have one joint.
        size: Cylinder, bowl, mark: diameter, diameter, height; sphere: diameters; all others:
            edges [m].
        color: RGB, 0 to 1.
        position: Centre in the world frame [m].
        yaw: About the vertical [rad].
        mass: [kg].
        friction: Lateral coefficient; PyBullet multiplies the two bodies' values.
        pattern: Of its surface, in ``color`` and ``second_color``.
        second_color: RGB, 0 to 1.
        hollow: Edges ``(x, y)`` of the hole through a slot [m].
        joint: Position of a fixture's joint at the beginning [m or rad].
    """

    name: str
    shape: Shape
    size: tuple[float, float, float]
    color: tuple[float, float, float]
    position: tuple[float, float, float]
    yaw: float = 0.0
    mass: float = 0.08
    friction: float = 0.8
    pattern: Pattern = "plain"
    second_color: tuple[float, float, float] = (0.95, 0.95, 0.95)
    hollow: tuple[float, float] = (0.0, 0.0)
    joint: float = 0.0


@dataclass(frozen=True)
class CameraSpec:
    """A calibrated RGB-D camera, fixed in the world or to a link.

    Attributes:
        eye: Position in the world frame [m].
        target: Point it looks at [m].
        width: Columns [px].
        height: Rows [px].
        fov: Vertical field of view [deg].
        depth_noise: Standard deviation [m]; None-like 0 for a perfect sensor.
        color_noise: Standard deviation of RGB, 0 to 1.
        link: Of the robot, that carries it; eye, target and up are then in this link's frame.
        up: Direction that is up in the picture.
    """

    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    width: int = 240
    height: int = 180
    fov: float = 45.0
    depth_noise: float = 0.002
    color_noise: float = 0.01
    link: str = ""
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)

    @property
    def intrinsics(self) -> Array:
        """``(3, 3)`` for pixel centres at integer coordinates.

        TinyRenderer puts pixel (0, 0)'s centre on the left and the last row's on the lower edge of
        the view (measured on spheres: to 0.02 px), hence the principal point.
        """
        f = 0.5 * self.height / np.tan(np.deg2rad(self.fov) / 2)
        return np.array([[f, 0, self.width / 2], [0, f, self.height / 2 - 1], [0, 0, 1.0]])

    @property
    def T_world_camera(self) -> Array:
        """``(4, 4)``, optical: x right, y down, z forward; ``T_link_camera`` on a link."""
        eye = np.array(self.eye)
        forward = np.array(self.target) - eye
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        return se3.pose(np.stack([right, np.cross(forward, right), forward], axis=1), eye)

    def carried(self, T_world_link: Array) -> CameraSpec:
        """Where it is in the world, on its link."""
        eye, target = se3.act(T_world_link, np.array([self.eye, self.target]))
        up = T_world_link[:3, :3] @ self.up
        return replace(self, eye=tuple(eye), target=tuple(target), up=tuple(up), link="")


@dataclass(frozen=True)
class Walk:
    """A thing that moves along places while the robot's base is near it, and waits otherwise.

    Attributes:
        name: The thing.
        places: ``(x, y)`` one after the other [m].
        speed: [m/s].
        near: [m].
    """

    name: str
    places: tuple[tuple[float, float], ...]
    speed: float
    near: float


@dataclass(frozen=True)
class Scene:
    """Everything needed to lay a world out again.

    Attributes:
        objects: On the table, whose top is the plane ``z = 0`` of the world.
        cameras: By name.
        start: ``T_base_ee`` of each effector at the beginning, as position and rotation vector.
        table_color: RGB, 0 to 1.
        light: Direction that the light comes from.
        seed: Of the sensors' noise.
        inked: Whether fingers leave ink where they all but touch the table.
        half: Half the edge of the table, or of the floor [m].
        walk: A thing that leads a robot which moves about.
    """

    objects: tuple[ObjectSpec, ...]
    cameras: Mapping[str, CameraSpec]
    start: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    table_color: tuple[float, float, float] = (0.75, 0.73, 0.70)
    light: tuple[float, float, float] = (0.5, 0.3, 1.0)
    seed: int = 0
    inked: bool = False
    half: float = 1.5
    walk: Walk | None = None

    def start_pose(self, effector: str) -> Array | None:
        """``T_base_ee`` ``(4, 4)``, or None where the scene leaves it to the neutral posture."""
        if effector not in self.start:
            return None
        x = np.array(self.start[effector])
        return se3.pose(se3.exp3(x[3:]), x[:3])

    def to_yaml(self) -> str:
        return yaml.safe_dump(_plain(asdict(self)), sort_keys=False)

    @classmethod
    def from_yaml(cls, path: Path) -> Scene:
        """Read a scene file.

        Raises:
            ReportedError: Not readable, not YAML, an unknown key or shape, a bad number.
        """
        try:
            data = yaml.safe_load(path.read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ReportedError("a scene cannot be read", where=path, value=str(error)) from error
        if not isinstance(data, dict) or "objects" not in data:
            raise ReportedError("a scene needs a list `objects`", where=path)
        try:
            objects = tuple(_object(o, path) for o in data.pop("objects"))
            given = (data.pop("cameras", None) or {}).items()
            cameras = {
                n: CameraSpec(**_numbers(c, {"eye": 3, "target": 3, "up": 3})) for n, c in given
            }
            start = {e: _vector(e, x, 6) for e, x in (data.pop("start", None) or {}).items()}
            led = data.pop("walk", None)
            walk = led and Walk(**led | {"places": tuple(tuple(p) for p in led["places"])})
            rest = _numbers(data, {"table_color": 3, "light": 3})
            scene = cls(objects=objects, cameras=cameras, start=start, walk=walk, **rest)
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ReportedError("a scene is malformed", where=path, value=str(error)) from error
        names = [o.name for o in scene.objects]
        if len(set(names)) < len(names):
            raise ReportedError("two objects share a name", where=path, value=names)
        return scene

    def with_(self, **changes: object) -> Scene:
        """A changed copy."""
        return replace(self, **changes)  # type: ignore[arg-type]


def _object(data: dict[str, Any], path: Path) -> ObjectSpec:
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    spec = ObjectSpec(**fields)
    where = f"{path}, object {spec.name!r}"
    if spec.shape not in SHAPES:
        raise ReportedError("an unknown shape", where=where, value=spec.shape, valid=SHAPES)
    if spec.pattern not in PATTERNS:
        raise ReportedError("an unknown pattern", where=where, value=spec.pattern, valid=PATTERNS)
    scalars = (spec.yaw, spec.mass, spec.friction, spec.joint)
    numbers = (*spec.size, *spec.color, *spec.position, *scalars)
    if len(spec.size) != 3 or len(spec.color) != 3 or len(spec.position) != 3:
        raise ReportedError("size, color and position have three numbers each", where=where)
    if not np.isfinite(numbers).all() or min(spec.size) <= 0:
        raise ReportedError("sizes must be positive and numbers finite", where=where, value=numbers)
    return spec


def _numbers(data: Mapping[str, Any], vectors: Mapping[str, int]) -> dict[str, Any]:
    """The same fields, those that are vectors as tuples of so many numbers."""
    return {k: _vector(k, v, vectors[k]) if k in vectors else v for k, v in data.items()}


def _vector(name: str, value: Any, size: int) -> tuple[float, ...]:
    if not isinstance(value, list) or len(value) != size or not np.isfinite(value).all():
        raise ValueError(f"{name} has {size} finite numbers, not {value!r}")
    return tuple(float(x) for x in value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value
