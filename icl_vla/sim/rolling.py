"""A robot on wheels in a scene: motors on its wheels, servos on its joints, cameras about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from icl_vla_embodiments import CameraImage, Command, EffectorState, Observation, se3
from icl_vla_embodiments.types import Array

from ..runtime.mobile import BASE, MobileModel
from .bullet import pybullet
from .driver import PyBulletDriver
from .scene import Scene
from .wheels import (
    CARRIAGE,
    RollingWheels,
    WheelMotors,
    needs_carriage,
    rolling_urdf,
    standing_height,
)

FLOOR = 0.5  # PyBullet's friction of a table or floor, which it multiplies with the robot's
GRIP, SLIDE = 1.0 / FLOOR, 0.02 / FLOOR  # of wheels; of all else that touches the floor (casters)
STILL = np.zeros(6)
NOTHING_TO_OPEN = EffectorState(gripper=1.0)  # of a base, where hands have an opening


class MovingDriver(PyBulletDriver):
    """A :class:`PyBulletDriver` whose robot moves about; everything is in the floor's frame.

    Where the base is, it is told, as perfect localisation would tell it.
    """

    model: MobileModel
    _root = -1  # link whose pose is the base's

    def start(self, height: float) -> Array:
        """``T_floor_base`` ``(4, 4)`` that the scene asks for, at a height [m]."""
        T = self.world.scene.start_pose(BASE)
        T = np.eye(4) if T is None else T.copy()
        T[2, 3] = height
        return T

    def _load(self) -> None:
        super()._load()
        self._walked = 0.0  # [m] by the thing that leads

    def lead(self, duration: float) -> None:
        """Move on the thing that leads, as far as it goes in ``duration`` [s]."""
        walk = self.world.scene.walk
        if walk is None:
            return
        T = self.world.pose(walk.name)
        if np.linalg.norm((T[:3, 3] - self.base()[0][:3, 3])[:2]) > walk.near:
            return
        self._walked += walk.speed * duration
        place = along(walk.places, self._walked)
        self.world.client.resetBasePositionAndOrientation(
            self.world.bodies[walk.name], [*place, T[2, 3]], se3.quat_xyzw(T[:3, :3])
        )

    def _inertial(self) -> tuple[Any, Any]:
        """Pose of the base's centre of mass in its frame."""
        info = self.world.client.getDynamicsInfo(self.body, self._root)
        return info[3], info[4]

    def _joints(self) -> Array:
        """Measured positions ``(n,)``."""
        return np.asarray(self._unmap @ (self._states()[0] - self.model.c[self._rows]))

    def base(self) -> tuple[Array, Array]:
        """``T_floor_base`` ``(4, 4)``, and its twist ``(6,)`` in its own frame."""
        c = self.world.client
        if self._root < 0:
            p, o = c.getBasePositionAndOrientation(self.body)
            v, w = c.getBaseVelocity(self.body)
        else:
            state = c.getLinkState(self.body, self._root, 1, 1)
            p, o, v, w = state[0], state[1], state[6], state[7]
        place, turn = c.multiplyTransforms(p, o, *c.invertTransform(*self._inertial()))
        T = se3.pose(se3.from_quat_xyzw(turn), place)
        R, v = T[:3, :3], np.asarray(v) + np.cross(w, T[:3, 3] - np.array(p))
        return T, np.concatenate([R.T @ v, R.T @ np.asarray(w)])

    def observe(self, *, cameras: bool = True) -> Observation:
        """The base and the joints as one configuration, grippers and, if asked for, pictures."""
        joints = self._joints()
        T, twist = self.base()
        q = self.model.configuration(T, joints)
        images: dict[str, CameraImage] = {}
        if cameras:
            links = self.model.link_poses(q)
            images = {n: self._image(c, links) for n, c in self.world.scene.cameras.items()}
        hands = {
            g.effector: EffectorState(gripper=self._opening(g.joints, g.closed, g.open, joints))
            for g in self.model.embodiment.of_kind("gripper")
        }
        return Observation(
            time=self._time,
            cameras=images,
            q=q,
            T_world_base=T,
            base_twist=twist,
            effectors={BASE: NOTHING_TO_OPEN, **hands},
        )


class RollingDriver(MovingDriver):
    """Wheels are turned by motors, and roll, slip and skid as the physics says.

    Args:
        model: The robot.
        urdf: For simulation.
        scenes: Seed -> scene; it says where the base starts.
    """

    def __init__(
        self, model: MobileModel, urdf: Path, scenes: Callable[[int | None], Scene]
    ) -> None:
        self._rolling = RollingWheels(model)
        super().__init__(model, rolling_urdf(self._rolling, urdf), scenes)

    def _footing(self) -> tuple[Array, bool]:
        return self.start(standing_height(self.model)), self._carried

    @property
    def _carried(self) -> bool:
        return needs_carriage(self._rolling)

    def _load(self) -> None:
        super()._load()
        c, robot = self.world.client, self.model.embodiment
        rows = {row: name for name, row in self._row_of().items()}
        names = [rows[row] for row in self._rows]
        self._motors = WheelMotors(
            c, self.body, self._rolling, dict(zip(names, self._forces, strict=True))
        )
        rolled = set() if self._carried else {*self._rolling.turning}
        rolled |= set(self._rolling.steering.values())
        self._servos = [i for i, name in enumerate(names) if name not in rolled]
        grips = {w.tip_link for w in robot.of_kind("wheel")}
        self._root = -1
        for index in range(-1, c.getNumJoints(self.body)):
            if index in self.fingers:
                continue
            info = None if index < 0 else c.getJointInfo(self.body, index)
            wheel = info is not None and info[12].decode() in grips
            c.changeDynamics(
                self.body,
                index,
                lateralFriction=GRIP if wheel else SLIDE,
                linearDamping=0,
                angularDamping=0,
                restitution=0,
            )
            if info is not None and info[1].decode() == CARRIAGE[-1]:
                self._root = index
        for i in set(range(len(names))) - set(self._servos):
            c.setJointMotorControl2(self.body, self._indices[i], pybullet.VELOCITY_CONTROL, force=0)
        self._motors.drive(self.model.neutral, STILL)

    def _row_of(self) -> dict[str, int]:
        tree = self.model.model
        return {tree.names[i]: tree.idx_vs[i] for i in range(1, tree.njoints)}

    def command(self, command: Command, duration: float) -> None:
        """Drive wheels and joints for ``duration`` [s], rounded to physics steps."""
        twist = (
            STILL if command.base_twist is None or command.mode == "stop" else command.base_twist
        )
        self._motors.drive(self._joints(), np.asarray(twist))
        super().command(command, duration)
        self.lead(duration)

    def stop(self) -> None:
        """Stand still; fingers go on closing on what they hold."""
        super().stop()
        self._motors.drive(self._joints(), STILL)


def along(places: Sequence[Sequence[float]], way: float) -> Array:
    """``(2,)`` after ``way`` [m] along straight lines between places, or the last of them."""
    points = np.asarray(places, dtype=float)
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    passed = np.concatenate([[0.0], np.cumsum(lengths)])
    return np.array([np.interp(way, passed, points[:, i]) for i in range(2)])
