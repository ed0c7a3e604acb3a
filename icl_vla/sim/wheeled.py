"""A wheeled robot on a floor in PyBullet: motors on its wheels, servos on its joints."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import Command, Observation, se3
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bullet import connect, pybullet

STEP = 2e-3  # [s] of physics
SETTLE = 0.5  # [s] in which the robot comes to rest on its wheels
GRIP, SLIDE = 1.0, 0.02  # friction of wheels, and of all else that touches the floor (casters)
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


class WheeledDriver:
    """A robot on wheels; a :class:`Driver`.

    Wheels are turned by velocity motors that have the joint's effort, and roll, slip and skid as
    the physics says. A holonomic base whose file has no wheels that could move it so (rollers are
    not modelled) stands on a carriage instead: two slides and a turn with velocity motors.

    Args:
        model: The robot.
        urdf: For simulation (``icl_vla_embodiments.urdf.simulation_urdf``).
    """

    def __init__(self, model: RobotModel, urdf: Path) -> None:
        self.model, self.client = model, connect()
        self.rolling = RollingWheels(model)
        holonomic = model.embodiment.base == "planar_holo"
        self.carried = holonomic and not self.rolling.holonomic
        self._urdf = (_on_carriage if self.carried else self._round)(Path(urdf))
        self._time = 0.0
        self._push, self._push_left = np.zeros(3), 0.0

    def reset(self, seed: int | None = None) -> Observation:
        """An empty floor with the robot at its origin, in its neutral posture."""
        c = self.client
        c.resetSimulation()
        c.setGravity(0, 0, -9.81)
        c.setTimeStep(STEP)
        plane = c.createCollisionShape(pybullet.GEOM_PLANE)
        floor = c.createMultiBody(0, plane)
        c.changeDynamics(floor, -1, lateralFriction=1.0, restitution=0)
        self.body = c.loadURDF(
            str(self._urdf),
            [0, 0, self._height() + (0.05 if self.carried else 0.0)],
            useFixedBase=self.carried,
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE,
        )
        tree, embodiment = self.model.model, self.model.embodiment
        rows = {tree.names[i]: tree.idx_vs[i] for i in range(1, tree.njoints)}
        turned = set() if self.carried else set(self.rolling.turning)
        grips = {w.tip_link for w in embodiment.of_kind("wheel")}
        efforts = embodiment.array("effort")
        self._indices: list[int] = []  # of all that is measured
        self._rows: list[int] = []
        self._names: list[str] = []
        self._forces: dict[str, float] = {}
        self._at: dict[str, int] = {}
        self._root = -1
        for index in range(-1, c.getNumJoints(self.body)):
            c.changeDynamics(
                self.body, index, linearDamping=0, angularDamping=0, jointDamping=0, restitution=0
            )
            if index < 0:
                c.changeDynamics(self.body, index, lateralFriction=SLIDE)
                continue
            info = c.getJointInfo(self.body, index)
            name, link = info[1].decode(), info[12].decode()
            grip = GRIP if link in grips else SLIDE
            c.changeDynamics(self.body, index, lateralFriction=grip)
            if name == CARRIAGE[-1]:
                self._root = index
            if info[2] == pybullet.JOINT_FIXED:
                continue
            c.setJointMotorControl2(self.body, index, pybullet.VELOCITY_CONTROL, force=0)
            self._at[name] = index
            if name in rows:
                self._indices.append(index)
                self._rows.append(rows[name])
                self._names.append(name)
                master = int(np.argmax(np.abs(self.model.G[rows[name]])))
                self._forces[name] = float(efforts[master])
        self._unmap = np.linalg.pinv(self.model.G[self._rows])
        self._servos = [i for i, name in enumerate(self._names) if name not in turned]
        angles = (self.model.G @ self.model.neutral + self.model.c)[self._rows]
        for index, angle in zip(self._indices, angles, strict=True):
            c.resetJointState(self.body, index, float(angle))
        info = c.getDynamicsInfo(self.body, self._root)
        self._inertial = (info[3], info[4])
        self._push_left = 0.0
        self.command(Command(q=self.model.neutral), SETTLE)
        self._time = 0.0
        return self.observe()

    def _height(self) -> float:
        """Of the base's frame when the wheels touch the floor [m]."""
        poses = self.model.link_poses(self.model.neutral)
        wheels = self.model.embodiment.of_kind("wheel")
        bottoms = [poses[w.tip_link][2, 3] - float(w.radius or 0.0) for w in wheels]
        return -float(min(bottoms, default=0.0))

    def _round(self, urdf: Path) -> Path:
        """The same robot with cylinders for meshes of wheels (hulls have edges), in a new file."""
        tree = ET.parse(urdf)
        links = {link.get("name"): link for link in tree.getroot().findall("link")}
        poses = self.model.link_poses(self.model.neutral)
        for wheel in self.model.embodiment.of_kind("wheel"):
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

    def push(self, force: Array, duration: float) -> None:
        """Push the base with ``force`` ``(3,)`` [N] for the next ``duration`` [s]."""
        self._push, self._push_left = np.asarray(force, dtype=float), duration

    def observe(self, *, cameras: bool = True) -> Observation:
        """Joints, base pose and base velocity, as perfect localisation would give them."""
        c = self.client
        states = c.getJointStates(self.body, self._indices) or ()
        angles = np.array([s[0] for s in states])
        p, o, v, w = self._place()
        place, turn = c.multiplyTransforms(p, o, *c.invertTransform(*self._inertial))
        T = se3.pose(se3.from_quat_xyzw(turn), place)
        R, v = T[:3, :3], np.asarray(v) + np.cross(w, T[:3, 3] - np.array(p))
        return Observation(
            time=self._time,
            q=self._unmap @ (angles - self.model.c[self._rows]),
            v=self._unmap @ np.array([s[1] for s in states]),
            T_world_base=T,
            base_twist=np.concatenate([R.T @ v, R.T @ np.asarray(w)]),
        )

    def _place(self) -> tuple[Any, Any, Any, Any]:
        """Position, orientation and velocities of the base's centre of mass in the world."""
        c = self.client
        if self._root < 0:
            return (*c.getBasePositionAndOrientation(self.body), *c.getBaseVelocity(self.body))
        p, o, *_, v, w = c.getLinkState(self.body, self._root, computeLinkVelocity=1)
        return p, o, v, w

    def command(self, command: Command, duration: float) -> None:
        """Drive wheels and joints for ``duration`` [s], rounded to physics steps."""
        c = self.client
        twist = np.zeros(6) if command.base_twist is None else np.asarray(command.base_twist)
        if command.mode == "stop":
            twist = np.zeros(6)
        steered = self._drive(twist)
        if command.q is not None:
            speed = np.zeros(self.model.n) if command.v is None else command.v
            angles = (self.model.G @ command.q + self.model.c)[self._rows]
            speeds = (self.model.G @ speed)[self._rows]
            chosen = [i for i in self._servos if self._names[i] not in steered]
            c.setJointMotorControlArray(
                self.body,
                [self._indices[i] for i in chosen],
                pybullet.POSITION_CONTROL,
                targetPositions=angles[chosen],
                targetVelocities=speeds[chosen],
                forces=[self._forces[self._names[i]] for i in chosen],
                positionGains=[0.3] * len(chosen),
                velocityGains=[1.0] * len(chosen),
            )
        for _ in range(max(1, round(duration / STEP))):
            if self._push_left > 0.5 * STEP:
                p = self._place()[0]
                c.applyExternalForce(self.body, self._root, self._push, p, pybullet.WORLD_FRAME)
                self._push_left -= STEP
            c.stepSimulation()
            self._time += STEP

    def _drive(self, twist: Array) -> set[str]:
        """Set the motors of wheels, swivels, steering or carriage; the joints that steer."""
        c = self.client
        if self.carried:
            yaw = c.getJointState(self.body, self._at[CARRIAGE[2]])[0]
            way = se3.yaw(yaw) @ twist[:3]
            for name, speed in zip(CARRIAGE, (way[0], way[1], twist[5]), strict=True):
                c.setJointMotorControl2(
                    self.body,
                    self._at[name],
                    pybullet.VELOCITY_CONTROL,
                    targetVelocity=speed,
                    force=1e4,
                )
            return set()
        q = self._unmap @ (
            np.array([c.getJointState(self.body, i)[0] for i in self._indices])
            - self.model.c[self._rows]
        )
        angles, speeds = self.rolling.follow(q, twist)
        for name, angle in angles.items():
            c.setJointMotorControl2(
                self.body,
                self._at[name],
                pybullet.POSITION_CONTROL,
                targetPosition=angle,
                force=self._forces[name],
                positionGain=0.3,
            )
        for name, speed in speeds.items():
            c.setJointMotorControl2(
                self.body,
                self._at[name],
                pybullet.VELOCITY_CONTROL,
                targetVelocity=speed,
                force=self._forces[name],
            )
        return set(self.rolling.steering.values())

    def stop(self) -> None:
        """Stand still, joints where they are."""
        self.command(Command(mode="stop", q=self.observe().q), STEP)

    def clock(self) -> float:
        """Simulated seconds since :meth:`reset`."""
        return self._time

    def close(self) -> None:
        """Free the physics client."""
        self.client.disconnect()


def _on_carriage(urdf: Path) -> Path:
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
