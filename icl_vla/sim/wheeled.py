"""A wheeled robot on a floor in PyBullet: motors on its wheels, servos on its joints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from icl_vla_embodiments import Command, Observation, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bullet import connect, pybullet
from .wheels import (
    CARRIAGE,
    RollingWheels,
    WheelMotors,
    needs_carriage,
    rolling_urdf,
    standing_height,
)

STEP = 2e-3  # [s] of physics
SETTLE = 0.5  # [s] in which the robot comes to rest on its wheels
GRIP, SLIDE = 1.0, 0.02  # friction of wheels, and of all else that touches the floor (casters)


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
        self.carried = needs_carriage(self.rolling)
        self._urdf = rolling_urdf(self.rolling, Path(urdf))
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
            [0, 0, standing_height(self.model) + (0.05 if self.carried else 0.0)],
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
        self._motors = WheelMotors(c, self.body, self.rolling, self._forces)
        info = c.getDynamicsInfo(self.body, self._root)
        self._inertial = (info[3], info[4])
        self._push_left = 0.0
        self.command(Command(q=self.model.neutral), SETTLE)
        self._time = 0.0
        return self.observe()

    def push(self, force: Array, duration: float) -> None:
        """Push the base with ``force`` ``(3,)`` [N] for the next ``duration`` [s]."""
        self._push, self._push_left = np.asarray(force, dtype=float), duration

    def observe(self, *, cameras: bool = True) -> Observation:
        """Joints, base pose and base velocity, as perfect localisation would give them."""
        c = self.client
        states = c.getJointStates(self.body, self._indices) or ()
        p, o, v, w = self._place()
        place, turn = c.multiplyTransforms(p, o, *c.invertTransform(*self._inertial))
        T = se3.pose(se3.from_quat_xyzw(turn), place)
        R, v = T[:3, :3], np.asarray(v) + np.cross(w, T[:3, 3] - np.array(p))
        return Observation(
            time=self._time,
            q=self._joints(),
            v=self._unmap @ np.array([s[1] for s in states]),
            T_world_base=T,
            base_twist=np.concatenate([R.T @ v, R.T @ np.asarray(w)]),
        )

    def _joints(self) -> Array:
        """Measured positions ``(n,)``."""
        states = self.client.getJointStates(self.body, self._indices) or ()
        return self._unmap @ (np.array([s[0] for s in states]) - self.model.c[self._rows])

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
        steered = self._motors.drive(self._joints(), twist)
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

    def stop(self) -> None:
        """Stand still, joints where they are."""
        self.command(Command(mode="stop", q=self.observe().q), STEP)

    def clock(self) -> float:
        """Simulated seconds since :meth:`reset`."""
        return self._time

    def close(self) -> None:
        """Free the physics client."""
        self.client.disconnect()
