"""How wheels carry a base: what they must do for its velocity, and their motors in PyBullet."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import se3
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bullet import pybullet

WIDTH = 0.4  # of a wheel over its radius
FIRST = 1e3  # weight of the balance of forces over the amount of slip
STILL = 1e-9  # [m/s]; a wheel that moves less keeps its steering
CARRIAGE = ("carriage_x", "carriage_y", "carriage_yaw")  # joints under bases without usable wheels


class RollingWheels:
    r"""What driven wheels and the joints that carry them must do for a velocity of the base.

    A wheel whose contact lies at ``c`` rolls without slipping where the base's velocity at ``c``
    plus what its own turning and its carriers' add is zero in the plane. Wheels on parallel axles
    must slip to turn (skid steering): with friction forces along the slip, these balance for four
    wheels at :math:`(\pm x, \pm y)` where the rims are faster by :math:`1 + x^2 / y^2` than
    rolling tells (Mandow et al., *Experimental kinematics for wheeled skid-steer mobile robots*,
    2007, measure such factors). Among balanced speeds, those that slip least are taken.

    Steered wheels are turned first, along the velocity at their contacts, to the nearer of the two
    directions.
    """

    def __init__(self, model: RobotModel) -> None:
        self.model = model
        embodiment, tree = model.embodiment, model.model
        self.wheels = [w for w in embodiment.of_kind("wheel") if w.radius]
        self._ids = {name: tree.getJointId(name) for name in embodiment.joints}
        steered = embodiment.base == "planar_ackermann"
        upright: dict[str, str] = {}  # wheel -> upright joint that carries it
        q = model.full(model.neutral)
        pin.computeJointJacobians(tree, model.data, q)
        for wheel in self.wheels:
            for joint in tree.supports[self._ids[wheel.joints[-1]]]:
                name = tree.names[joint]
                if name in self._ids and abs(self._axis(name)[2]) > 0.7:
                    upright[wheel.name] = name
        self.steering = upright if steered else {}
        self.swivels = [] if steered else sorted(set(upright.values()))

    @property
    def holonomic(self) -> bool:
        """Whether the wheels can move the base sideways."""
        return bool(self.swivels)

    @property
    def turning(self) -> tuple[str, ...]:
        """Joints that are driven by velocity."""
        return (*(w.joints[-1] for w in self.wheels), *self.swivels)

    def _axis(self, joint: str) -> Array:
        """Axis of a joint in the base frame, at the last Jacobians."""
        J = pin.getJointJacobian(
            self.model.model, self.model.data, self._ids[joint], pin.LOCAL_WORLD_ALIGNED
        )
        column = self.model.model.joints[self._ids[joint]].idx_v
        return np.array(np.reshape(J, (6, -1))[3:, column])

    def _origin(self, joint: str) -> Array:
        return np.array(self.model.data.oMi[self._ids[joint]].translation)

    def follow(self, q: Array, twist: Array) -> tuple[dict[str, float], dict[str, float]]:
        """Angles of the steering and speeds of :attr:`turning`.

        Args:
            q: ``(n,)`` as measured.
            twist: ``(6,)`` of the base in its own frame.
        """
        q = q.copy()
        index = {name: i for i, name in enumerate(self.model.embodiment.joints)}
        model = self.model
        angles: dict[str, float] = {}
        pin.computeJointJacobians(model.model, model.data, model.full(q))
        for wheel in self.wheels:
            joint = self.steering.get(wheel.name)
            if joint is None:
                continue
            way = self._velocity(self._origin(wheel.joints[-1]), twist)
            axle = self._axis(wheel.joints[-1])[:2]
            if np.hypot(*way) < STILL:
                continue
            # the turn that makes the axle perpendicular to the way, at most a quarter
            across = np.array([-way[1], way[0]])
            turn = np.arctan2(axle[0] * across[1] - axle[1] * across[0], axle @ across)
            turn = (turn + np.pi / 2) % np.pi - np.pi / 2
            angles[joint] = float(q[index[joint]] + turn * np.sign(self._axis(joint)[2]))
        for joint, angle in angles.items():
            q[index[joint]] = np.clip(angle, model.lower[index[joint]], model.upper[index[joint]])
        pin.computeJointJacobians(model.model, model.data, model.full(q))
        names = self.turning
        A, b = np.zeros((2 * len(self.wheels), len(names))), np.zeros(2 * len(self.wheels))
        G = np.zeros((2 * len(self.wheels), 3))  # velocities of the contacts by the base's
        for i, wheel in enumerate(self.wheels):
            spun = wheel.joints[-1]
            contact = self._origin(spun) - np.array([0.0, 0.0, float(wheel.radius or 0.0)])
            carriers = model.model.supports[self._ids[spun]]
            for k, name in enumerate(names):
                if self._ids[name] in carriers:
                    arm = contact - self._origin(name)
                    A[2 * i : 2 * i + 2, k] = np.cross(self._axis(name), arm)[:2]
            b[2 * i : 2 * i + 2] = -self._velocity(contact, twist)
            G[2 * i : 2 * i + 2] = [[1.0, 0.0, -contact[1]], [0.0, 1.0, contact[0]]]
        # slip that pushes nowhere first, as little slip as possible second
        A, b = np.vstack([FIRST * G.T @ A, A]), np.concatenate([FIRST * G.T @ b, b])
        speeds = np.linalg.lstsq(A, b, rcond=None)[0] if names else np.zeros(0)
        return angles, dict(zip(names, map(float, speeds), strict=True))

    @staticmethod
    def _velocity(point: Array, twist: Array) -> Array:
        """Velocity ``(2,)`` in the plane of a point of the base."""
        return np.array([twist[0] - twist[5] * point[1], twist[1] + twist[5] * point[0]])


class WheelMotors:
    """Motors of wheels, swivels and steering in PyBullet, or those of the carriage in their place.

    Args:
        client: PyBullet.
        body: The robot's.
        rolling: What its wheels must do.
        forces: Joint -> largest effort [N or N m].
    """

    def __init__(
        self, client: Any, body: int, rolling: RollingWheels, forces: Mapping[str, float]
    ) -> None:
        self._client, self._body, self._rolling, self._forces = client, body, rolling, forces
        self.carried = needs_carriage(rolling)
        joints = range(client.getNumJoints(body))
        self._at = {client.getJointInfo(body, i)[1].decode(): i for i in joints}

    def drive(self, q: Array, twist: Array) -> set[str]:
        """Set all motors; the joints that steer.

        Args:
            q: ``(n,)`` as measured.
            twist: ``(6,)`` of the base in its own frame.
        """
        c = self._client
        if self.carried:
            yaw = c.getJointState(self._body, self._at[CARRIAGE[2]])[0]
            way = se3.yaw(yaw) @ twist[:3]
            for name, speed in zip(CARRIAGE, (way[0], way[1], twist[5]), strict=True):
                self._turn(name, speed, 1e4)
            return set()
        angles, speeds = self._rolling.follow(q, twist)
        for name, angle in angles.items():
            c.setJointMotorControl2(
                self._body,
                self._at[name],
                pybullet.POSITION_CONTROL,
                targetPosition=angle,
                force=self._forces[name],
                positionGain=0.3,
            )
        for name, speed in speeds.items():
            self._turn(name, speed, self._forces[name])
        return set(self._rolling.steering.values())

    def _turn(self, name: str, speed: float, force: float) -> None:
        self._client.setJointMotorControl2(
            self._body,
            self._at[name],
            pybullet.VELOCITY_CONTROL,
            targetVelocity=speed,
            force=force,
        )


def needs_carriage(rolling: RollingWheels) -> bool:
    """Whether a base moves every way, but has no wheels that could move it so."""
    return rolling.model.embodiment.base == "planar_holo" and not rolling.holonomic


def rolling_urdf(rolling: RollingWheels, urdf: Path) -> Path:
    """The same robot with round wheels, or on a carriage, in a file beside the first."""
    return on_carriage(urdf) if needs_carriage(rolling) else rounded(rolling.model, urdf)


def standing_height(model: RobotModel) -> float:
    """Of the base's frame when the wheels touch the floor [m]."""
    poses = model.link_poses(model.neutral)
    wheels = model.embodiment.of_kind("wheel")
    bottoms = [poses[w.tip_link][2, 3] - float(w.radius or 0.0) for w in wheels]
    return -float(min(bottoms, default=0.0))


def rounded(model: RobotModel, urdf: Path) -> Path:
    """The same robot with cylinders for meshes of wheels (hulls have edges), in a new file."""
    tree = ET.parse(urdf)
    links = {link.get("name"): link for link in tree.getroot().findall("link")}
    poses = model.link_poses(model.neutral)
    for wheel in model.embodiment.of_kind("wheel"):
        if wheel.radius is None or wheel.axle is None:
            continue
        link = links[wheel.tip_link]
        if link.find("collision/geometry/mesh") is None:
            continue
        for old in link.findall("collision"):
            link.remove(old)
        axle = poses[wheel.tip_link][:3, :3].T @ wheel.axle
        # a turn that takes z to the axle
        pitch, yaw = np.arccos(np.clip(axle[2], -1, 1)), np.arctan2(axle[1], axle[0])
        collision = ET.SubElement(link, "collision")
        ET.SubElement(collision, "origin", xyz="0 0 0", rpy=f"0 {pitch:.9f} {yaw:.9f}")
        size = {"radius": repr(wheel.radius), "length": repr(WIDTH * wheel.radius)}
        ET.SubElement(ET.SubElement(collision, "geometry"), "cylinder", size)
    file = urdf.with_suffix(".wheels.urdf")
    write_atomically(file, ET.tostring(tree.getroot(), encoding="unicode"))
    return file


def on_carriage(urdf: Path) -> Path:
    """The same robot behind two slides and a turn, in a file beside the first."""
    robot = ET.parse(urdf).getroot()
    children = {j.find("child").get("link") for j in robot.findall("joint")}  # type: ignore[union-attr]
    names = [link.get("name", "") for link in robot.findall("link")]
    root = next(name for name in names if name not in children)
    links = ["carriage_0", "carriage_1", "carriage_2", root]
    axes = ("1 0 0", "0 1 0", "0 0 1")
    for i, (name, axis) in enumerate(zip(CARRIAGE, axes, strict=True)):
        link = ET.SubElement(robot, "link", name=links[i])
        inertial = ET.SubElement(link, "inertial")
        ET.SubElement(inertial, "mass", value="1")
        unit = dict.fromkeys(("ixx", "iyy", "izz"), "0.01") | dict.fromkeys(
            ("ixy", "ixz", "iyz"), "0"
        )
        ET.SubElement(inertial, "inertia", unit)
        kind = "continuous" if i == 2 else "prismatic"
        joint = ET.SubElement(robot, "joint", name=name, type=kind)
        ET.SubElement(joint, "parent", link=links[i])
        ET.SubElement(joint, "child", link=links[i + 1])
        ET.SubElement(joint, "axis", xyz=axis)
        if i < 2:
            ET.SubElement(joint, "limit", lower="-1e3", upper="1e3", effort="1e5", velocity="10")
    file = urdf.with_suffix(".carriage.urdf")
    write_atomically(file, ET.tostring(robot, encoding="unicode"))
    return file
