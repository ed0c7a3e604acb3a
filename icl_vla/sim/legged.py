"""A free-floating robot on rough or slippery ground in PyBullet, driven by torques."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Command, Observation, ReportedError, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bullet import connect, pybullet, undamped

STEP = 1e-3  # [s] of physics


@dataclass(frozen=True)
class Terrain:
    """What the robot stands on, and what it is not told.

    Attributes:
        friction: Coulomb coefficient between feet and ground.
        slope: Of the ground along x [rad].
        steps: Height of steps that cross the way every 0.4 m from 0.6 m on [m]; 0 for none.
        payload: Mass fixed to the base, over the robot's own.
        delay: Between a command and its effect [s].
    """

    friction: float = 0.8
    slope: float = 0.0
    steps: float = 0.0
    payload: float = 0.0
    delay: float = 0.0


class LeggedDriver:
    """Torque-actuated robot with a floating base; a :class:`Driver`.

    Args:
        model: The robot.
        urdf: For simulation (``icl_vla_embodiments.urdf.simulation_urdf``).
        height: Of the base over the ground at the start [m].
        terrain: The ground.
    """

    def __init__(
        self, model: RobotModel, urdf: Path, height: float, terrain: Terrain = Terrain()
    ) -> None:
        self.model, self.terrain = model, terrain
        self.client = connect()
        self._urdf, self._height = urdf, height
        self._time = 0.0
        self._push = np.zeros(3)
        self._push_left = 0.0

    def reset(self, seed: int | None = None) -> Observation:
        """An empty world with the robot standing in its neutral posture.

        Raises:
            ReportedError: No link has a collision shape: it would fall through the ground.
        """
        c, t = self.client, self.terrain
        c.resetSimulation()
        c.setGravity(0, 0, -9.81)
        c.setTimeStep(STEP)
        # Bullet multiplies the two bodies' coefficients: the feet get 1
        self._lay_ground(t)
        R = se3.from_euler_xyz([0.0, -t.slope, 0.0])
        place = R @ np.array([0.0, 0.0, self._height])
        self.body = c.loadURDF(str(self._urdf), flags=pybullet.URDF_USE_INERTIA_FROM_FILE)
        links = range(-1, c.getNumJoints(self.body))
        if not any(c.getCollisionShapeData(self.body, i) for i in links):
            raise ReportedError(
                "the robot would fall through the ground: no link has a collision shape",
                where=self.model.embodiment.name,
                remedy="give the feet's links, at least, a `collision` in the URDF",
            )
        rows = {
            self.model.model.names[i]: self.model.model.idx_vs[i]
            for i in range(2, self.model.model.njoints)
        }
        self._indices, self._rows = [], []
        undamped(c, self.body, friction=1.0)
        for index in range(c.getNumJoints(self.body)):
            info = c.getJointInfo(self.body, index)
            name = info[1].decode()
            if info[2] == pybullet.JOINT_FIXED:
                continue
            c.setJointMotorControl2(self.body, index, pybullet.VELOCITY_CONTROL, force=0)
            if name in rows:
                self._indices.append(index)
                self._rows.append(rows[name])
        self._unmap = np.linalg.pinv(self.model.G[self._rows])
        info = c.getDynamicsInfo(self.body, -1)
        self._inertial = (info[3], info[4])
        self._load(t.payload)
        angles = (self.model.G @ self.model.neutral + self.model.c)[self._rows]
        for index, angle in zip(self._indices, angles, strict=True):
            c.resetJointState(self.body, index, float(angle))
        p, o = c.multiplyTransforms(place, se3.quat_xyzw(R), *self._inertial)
        c.resetBasePositionAndOrientation(self.body, p, o)
        self._time, self._push_left = 0.0, 0.0
        waiting = round(t.delay / STEP)
        self._queue: deque[Array] = deque([np.zeros(len(self._rows))] * waiting)
        return self.observe()

    def _lay_ground(self, t: Terrain) -> None:
        c = self.client
        plane = c.createCollisionShape(pybullet.GEOM_PLANE)
        turn = se3.quat_xyzw(se3.from_euler_xyz([0.0, -t.slope, 0.0]))
        bodies = [c.createMultiBody(0, plane, -1, [0, 0, 0], turn)]
        if t.steps:
            box = c.createCollisionShape(pybullet.GEOM_BOX, halfExtents=[0.1, 2.0, t.steps / 2])
            bodies += [
                c.createMultiBody(0, box, -1, [x, 0, t.steps / 2], [0, 0, 0, 1])
                for x in np.arange(0.6, 6.0, 0.4)
            ]
        for body in bodies:
            c.changeDynamics(body, -1, lateralFriction=t.friction, restitution=0)

    def _load(self, payload: float) -> None:
        """Make the heaviest link near the base heavier, with its inertia unchanged."""
        c = self.client
        links = range(-1, c.getNumJoints(self.body))
        masses = [c.getDynamicsInfo(self.body, i)[0] for i in links]
        if payload:
            heaviest = int(np.argmax(masses)) - 1
            c.changeDynamics(self.body, heaviest, mass=max(masses) + payload * sum(masses))

    def push(self, force: Array, duration: float) -> None:
        """Push the base with ``force`` ``(3,)`` [N] for the next ``duration`` [s]."""
        self._push, self._push_left = np.asarray(force, dtype=float), duration

    def observe(self, *, cameras: bool = True) -> Observation:
        """Joints, base pose and base velocity, as a perfect estimator would give them."""
        c = self.client
        states = [c.getJointState(self.body, i) for i in self._indices]
        p, o = c.getBasePositionAndOrientation(self.body)
        v, w = (np.array(x) for x in c.getBaseVelocity(self.body))
        place, turn = c.multiplyTransforms(p, o, *c.invertTransform(*self._inertial))
        T = se3.pose(se3.from_quat_xyzw(turn), place)
        v = v + np.cross(w, T[:3, 3] - np.array(p))
        R = T[:3, :3]
        positions = np.array([s[0] for s in states]) - self.model.c[self._rows]
        return Observation(
            time=self._time,
            q=self._unmap @ positions,
            v=self._unmap @ np.array([s[1] for s in states]),
            T_world_base=T,
            base_twist=np.concatenate([R.T @ v, R.T @ w]),
        )

    def command(self, command: Command, duration: float) -> None:
        """Apply torques for ``duration`` [s], rounded to physics steps."""
        c = self.client
        tau = np.zeros(self.model.n) if command.tau is None else command.tau
        # torques at masters: followers share them by virtual work
        torques = self._unmap.T @ tau
        for _ in range(max(1, round(duration / STEP))):
            self._queue.append(torques)
            c.setJointMotorControlArray(
                self.body,
                self._indices,
                pybullet.TORQUE_CONTROL,
                forces=self._queue.popleft(),
            )
            if self._push_left > 0:
                p, _ = c.getBasePositionAndOrientation(self.body)
                c.applyExternalForce(self.body, -1, self._push, p, pybullet.WORLD_FRAME)
                self._push_left -= STEP
            c.stepSimulation()
            self._time += STEP

    def stop(self) -> None:
        """No torques: the robot sinks down."""
        self.command(Command(mode="torque", tau=np.zeros(self.model.n)), STEP)

    def clock(self) -> float:
        """Simulated seconds since :meth:`reset`."""
        return self._time

    def close(self) -> None:
        """Free the physics client."""
        self.client.disconnect()
