"""A floor on which a robot drives about: how large things are, how it moves, who sees it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from icl_vla_embodiments import Embodiment, ReportedError, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf.simulation import simulation_urdf
from icl_vla_embodiments.urdf.spaces import WALKING
from icl_vla_wbc.mobile import Drive, MobileConfig
from icl_vla_wbc.mobile.drive import PLANAR

from ..perception.components import ComponentEncoder
from ..runtime.loop import Audit
from ..runtime.mobile import BASE, MobileModel, OnFloor, Walking, floor_space
from .rolling import MovingDriver, RollingDriver
from .scene import CameraSpec, Scene
from .walking import WalkingDriver
from .workcell import Workcell
from .workspace import Workspace, closing_of, pointing_down

Mover = Literal["arm", "base", "mobile arm"]
REACH = 1.0  # [m] from the floor's middle to the edge of where things stand
THING = 0.3  # [m]: what a hand's aperture is to things on a table, a base's push is to those here
SPEED, TURN = 0.5, 1.8  # [m/s], [rad/s] of those who demonstrate


@dataclass(frozen=True)
class Floor(Workspace):
    """Where a robot drives, about the floor's origin; a :class:`Workspace`.

    Attributes:
        drive: How its wheels move it, at the demonstrators' speed.
        outline: Lowest and highest x and y of the body in its frame ``(2, 2)`` [m].
        feet: Where legs end, in the body's frame ``(L, 2)`` [m].
    """

    drive: Drive = field(kw_only=True)
    outline: Array = field(kw_only=True)
    feet: Array = field(kw_only=True)

    @classmethod
    def around(cls, model: MobileModel, hulls: LinkHulls, effector: str) -> Floor:
        """For a base, or for a hand that it carries.

        Raises:
            ReportedError: The base neither rolls nor walks.
        """
        outline = _outline(model, hulls)
        if effector == BASE:
            wide, grasp, lift, half = THING, np.eye(3), 0.0, REACH
        else:
            closing, wide = closing_of(model, effector, hulls)
            grasp, lift, half = pointing_down(closing), 0.3, 0.7 * REACH
        return cls(
            effector=effector,
            center=(0.0, 0.0),
            half=(half, half),
            aperture=wide,
            grasp=grasp,
            start_height=lift,
            drive=_drive(model),
            outline=outline,
            feet=_feet(model),
        )

    @property
    def radius(self) -> float:
        """Of the circle about the base's origin that holds its body [m]."""
        corners = [np.hypot(x, y) for x in self.outline[:, 0] for y in self.outline[:, 1]]
        return float(max(corners))

    def camera(self) -> CameraSpec:
        """A camera beside the floor that sees all of it."""
        span = max(self.half)
        return CameraSpec(
            eye=(1.9 * span, 0.8 * span, 2.1 * span),
            target=(0.1 * span, 0.05 * span, 0.0),
            fov=46.0,
        )


def _feet(model: MobileModel) -> Array:
    links = model.link_poses(model.neutral)
    legs = model.embodiment.of_kind("leg")
    return np.array([links[leg.tip_link][:2, 3] for leg in legs]).reshape(-1, 2)


def _drive(model: MobileModel) -> Drive:
    """How a base moves, at the demonstrators' speed; what walks goes every way.

    Raises:
        ReportedError: It neither rolls nor walks.
    """
    robot = model.embodiment
    if robot.base in PLANAR:
        return Drive.of(model, MobileConfig(linear_speed=SPEED, angular_speed=TURN))
    if not walks(robot):
        raise ReportedError(
            "the robot neither rolls nor walks", where=robot.name, value=robot.base, valid=PLANAR
        )
    endless, fastest = np.full(3, np.inf), np.array([0.4, 0.3, 0.8])
    return Drive("planar_holo", np.eye(4), -endless, endless, fastest, fastest, fastest, fastest)


def walks(robot: Embodiment) -> bool:
    """Whether a robot has legs that carry it along."""
    return robot.base == "floating" and len(robot.of_kind("leg")) >= WALKING


def _outline(model: MobileModel, hulls: LinkHulls) -> Array:
    """Of what of the robot is lower than 30 cm, in its neutral posture."""
    links = model.link_poses(model.neutral)
    points = [
        se3.act(links[link], hull.vertices)
        for link, parts in hulls.hulls.items()
        for hull in parts
        if link in links
    ]
    body = np.concatenate(points) if points else np.zeros((1, 3))
    low = body[body[:, 2] < body[:, 2].min() + 0.3]
    return np.stack([low[:, :2].min(axis=0), low[:, :2].max(axis=0)])


@dataclass
class FloorCell(Workcell):
    """A :class:`Workcell` on a floor."""

    model: MobileModel
    driver: MovingDriver
    workspace: Floor

    @property
    def coordinates(self) -> tuple[str, ...]:
        """See :attr:`Workcell.coordinates`."""
        return self.model.coordinates

    @classmethod
    def on_floor(cls, store: EmbodimentStore, name: str, mover: Mover) -> FloorCell:
        """Set up a robot on wheels from the store.

        Raises:
            ReportedError: It does not roll, or has no hand where one is to be moved.
        """
        embodiment = store.get(name)
        model, hulls = MobileModel(embodiment), LinkHulls(embodiment)
        effector = BASE
        if mover != "base":
            hands = [a.name for a in embodiment.arms if embodiment.gripper_of(a.name)]
            if not hands:
                raise ReportedError("the robot has no hand to fetch with", where=embodiment.name)
            effector = hands[0]
        floor = Floor.around(model, hulls, effector)
        kind = WalkingDriver if walks(embodiment) else RollingDriver
        return cls(
            # a policy's numbers are those of the floor
            embodiment=replace(embodiment, action_spaces=(floor_space(embodiment, effector),)),
            model=model,
            effector=effector,
            driver=kind(
                model, simulation_urdf(embodiment, store.folder(name)), lambda _: Scene((), {})
            ),
            controller=Walking(model) if walks(embodiment) else OnFloor(model, effector),
            # a picture of a floor has few and large pixels
            components=ComponentEncoder(
                model,
                hulls,
                reach=2.0 * REACH,
                table_height=0.02,
                link_distance=0.08,
                min_pixels=6,
            ),
            audit=Audit.of(embodiment),
            workspace=floor,
            task=None,
        )
