"""A robot in PyBullet physics, behind the same interface as a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from icl_vla_embodiments import CameraImage, Command, EffectorState, Group, Observation, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .bullet import pybullet
from .ink import Pen
from .scene import CameraSpec, Scene
from .world import STEP, World

_FINGER_FRICTION = 1.2
_GRIP = 40.0  # [N] of a fingertip at most; a URDF may state a motor's torque before its gears
_SETTLE = 60  # physics steps in which dropped things come to rest


class PyBulletDriver:
    """Position (or torque) actuated robot in a :class:`World`.

    Args:
        model: The robot.
        urdf: Low-polygon URDF for simulation (``icl_vla_embodiments.urdf.simulation_urdf``).
        scenes: Seed -> scene, called by :meth:`reset`.

    Attributes:
        scenes: See above; may be changed.
        after_command: Called after every command, for films and probes.
    """

    def __init__(
        self, model: RobotModel, urdf: Path, scenes: Callable[[int | None], Scene]
    ) -> None:
        self.model = model
        self.world = World()
        self.after_command: Callable[[], None] | None = None
        self._urdf = urdf
        self.scenes = scenes
        self._time = 0.0

    def reset(self, seed: int | None = None) -> Observation:
        """Lay out the scene of ``seed``, put the robot at its start, let things settle."""
        scene = self.scenes(seed)
        self.world.reset(scene)
        self._load()
        self.place(self._start(scene))
        self.world.step(_SETTLE)
        self._time = 0.0
        return self.observe()

    def _load(self) -> None:
        c = self.world.client
        place, fixed = self._footing()
        self.body = c.loadURDF(
            str(self._urdf),
            place[:3, 3],
            se3.quat_xyzw(place[:3, :3]),
            useFixedBase=fixed,
            flags=pybullet.URDF_USE_INERTIA_FROM_FILE
            | (pybullet.URDF_USE_SELF_COLLISION if len(self.model.embodiment.arms) > 1 else 0),
        )
        rows = {
            self.model.model.names[i]: self.model.model.idx_vs[i]
            for i in range(1, self.model.model.njoints)
        }
        fingers = {j for g in self.model.embodiment.of_kind("gripper") for j in g.joints}
        fingers |= {m.joint for m in self.model.embodiment.mimic if m.master in fingers}
        self._indices: list[int] = []  # PyBullet joints
        self._rows: list[int] = []  # rows of the joint map
        efforts = self.model.embodiment.array("effort")
        self._forces: list[float] = []
        self.fingers: list[int] = []  # PyBullet links of the grippers' fingers
        for index in range(c.getNumJoints(self.body)):
            info = c.getJointInfo(self.body, index)
            name = info[1].decode()
            c.changeDynamics(self.body, index, linearDamping=0, angularDamping=0, jointDamping=0)
            if name in fingers or info[16] in self.fingers:
                self.fingers.append(index)
            if info[2] == pybullet.JOINT_FIXED or name not in rows:
                continue
            if name in fingers:
                c.changeDynamics(self.body, index, lateralFriction=_FINGER_FRICTION)
            master = int(np.argmax(np.abs(self.model.G[rows[name]])))
            self._indices.append(index)
            self._rows.append(rows[name])
            most = self._grip(name, info[2] == pybullet.JOINT_PRISMATIC)
            self._forces.append(min(float(efforts[master]), most))
        self._servos = list(range(len(self._indices)))  # of them, those that hold positions
        pick = self.model.G[self._rows]
        if self.world.scene.inked:
            self.world.pen = Pen(c, self.world.table, self.body, self.fingers, self._tools)
        self._unmap = np.linalg.pinv(pick)
        for gripper in self.model.embodiment.of_kind("gripper"):
            self._couple(gripper)
        if len(self.model.embodiment.arms) > 1:
            self._let_arms_collide()

    def _grip(self, joint: str, slides: bool) -> float:
        """Force [N] or torque [N m] of a finger's joint at which its tip presses by _GRIP."""
        robot, kinematics = self.model.embodiment, self.model.model
        masters = {m.joint: m.master for m in robot.mimic}
        for gripper in robot.of_kind("gripper"):
            if joint in gripper.joints or masters.get(joint) in gripper.joints:
                tool = self.model.poses(self.model.neutral)[gripper.effector][:3, 3]
                pivot = self.model.data.oMi[kinematics.getJointId(joint)].translation
                return _GRIP * (1.0 if slides else float(np.linalg.norm(tool - pivot)))
        return np.inf

    def _let_arms_collide(self) -> None:
        """Of all pairs of the robot's own links, only those of different arms touch."""
        c = self.world.client
        first = {g.joints[0]: g.name for g in self.model.embodiment.arms}
        arms: list[str] = []  # of each link; parents come first
        for link in range(c.getNumJoints(self.body)):
            info = c.getJointInfo(self.body, link)
            inherited = arms[info[16]] if info[16] >= 0 else ""
            arms.append(first.get(info[1].decode(), inherited))
        for a, b in combinations(range(-1, len(arms)), 2):
            if a < 0 or not arms[a] or not arms[b] or arms[a] == arms[b]:
                c.setCollisionFilterPair(self.body, self.body, a, b, 0)

    def _footing(self) -> tuple[Array, bool]:
        """``T_world_root`` ``(4, 4)`` of the robot's first link, and whether it stands fast."""
        embodiment = self.model.embodiment
        return embodiment.mount.matrix, embodiment.base == "fixed"

    def _couple(self, gripper: Group) -> None:
        """Let the fingers of a gripper move as one, as its mechanism does.

        Each alone is a motor at its limit while it grasps: two that push against each other with
        equal forces would let what they hold, and themselves, drift sideways.
        """
        c = self.world.client
        moved = np.zeros(self.model.n)
        rows = [self.model.embodiment.joints.index(j) for j in gripper.joints]
        moved[rows] = np.subtract(gripper.open, gripper.closed)
        travel = (self.model.G @ moved)[self._rows]
        joints = [i for i in np.argsort(-np.abs(travel), kind="stable") if abs(travel[i]) > 1e-9]
        effort = max(self.model.embodiment.limits[j].effort for j in gripper.joints)
        for other in joints[1:]:
            first = joints[0]
            gear = c.createConstraint(
                self.body,
                self._indices[first],
                self.body,
                self._indices[other],
                jointType=pybullet.JOINT_GEAR,
                jointAxis=[0, 0, 1],
                parentFramePosition=[0, 0, 0],
                childFramePosition=[0, 0, 0],
            )
            ratio = float(travel[first] / travel[other])  # of the two joints' speeds
            same = abs(ratio - 1) < 1e-6  # only then does PyBullet correct drift rightly
            c.changeConstraint(
                gear, gearRatio=-ratio, erp=0.1 if same else 0.0, maxForce=5 * effort
            )

    def _tools(self) -> Array:
        """``T_world_ee`` ``(n, 4, 4)`` of the hands, as they are now."""
        angles, _ = self._states()
        poses = self.model.poses(self._unmap @ (angles - self.model.c[self._rows]))
        return self.model.embodiment.mount.matrix @ np.stack(list(poses.values()))

    def _start(self, scene: Scene) -> Array:
        q = self.model.neutral.copy()
        targets = {a.name: scene.start_pose(a.name) for a in self.model.embodiment.arms}
        given = {name: T for name, T in targets.items() if T is not None}
        if given:
            q = self.model.inverse_kinematics(given, q)
        for gripper in self.model.embodiment.of_kind("gripper"):
            for joint, value in zip(gripper.joints, gripper.open, strict=True):
                q[self.model.embodiment.joints.index(joint)] = value
        return q

    def place(self, q: Array) -> None:
        """Put the joints at ``q`` ``(n,)`` at once, at rest, and hold them there."""
        angles = (self.model.G @ q + self.model.c)[self._rows]
        for index, angle in zip(self._indices, angles, strict=True):
            self.world.client.resetJointState(self.body, index, float(angle))
        self._drive(angles, np.zeros(len(angles)))

    def _drive(self, angles: Array, velocities: Array) -> None:
        self._braked = True
        self._driven: Array | None = angles
        held = self._servos
        self.world.client.setJointMotorControlArray(
            self.body,
            [self._indices[i] for i in held],
            pybullet.POSITION_CONTROL,
            targetPositions=angles[held],
            targetVelocities=velocities[held],
            forces=[self._forces[i] for i in held],
            positionGains=[0.3] * len(held),
            velocityGains=[1.0] * len(held),
        )

    def _states(self) -> tuple[Array, Array]:
        """Positions and velocities of the moving joints; a drone may have none."""
        states = self.world.client.getJointStates(self.body, self._indices) or ()
        return np.array([s[0] for s in states]), np.array([s[1] for s in states])

    def observe(self, *, cameras: bool = True) -> Observation:
        """Joint states, grippers and, where asked for, pictures in the base frame."""
        angles, velocities = self._states()
        q = self._unmap @ (angles - self.model.c[self._rows])
        images: dict[str, CameraImage] = {}
        if cameras:
            links = self.model.link_poses(q)
            images = {n: self._image(c, links) for n, c in self.world.scene.cameras.items()}
        return Observation(
            time=self._time,
            cameras=images,
            q=q,
            v=self._unmap @ velocities,
            T_world_base=self.model.embodiment.mount.matrix,
            effectors={
                g.effector: EffectorState(gripper=self._opening(g.joints, g.closed, g.open, q))
                for g in self.model.embodiment.of_kind("gripper")
            },
        )

    def tool(self, effector: str) -> Array:
        """Measured ``T_base_ee`` ``(4, 4)`` of a hand, or of a base that moves."""
        q = self.observe(cameras=False).q
        assert q is not None
        return self.model.poses(q)[effector]

    def _opening(
        self,
        joints: tuple[str, ...],
        closed: tuple[float, ...],
        opened: tuple[float, ...],
        q: Array,
    ) -> float | None:
        """0 closed to 1 open: least squares along the line from closed to open.

        None where the two are the same, so that nothing tells how far it is open.
        """
        here = np.array([q[self.model.embodiment.joints.index(j)] for j in joints])
        a, b = np.array(closed), np.array(opened)
        if np.allclose(a, b):
            return None
        return float(np.clip((here - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0))

    def _image(self, camera: CameraSpec, links: Mapping[str, Array]) -> CameraImage:
        """A picture, its camera's pose in the base frame or in the frame of the link it is on."""
        T_world_base = self.model.embodiment.mount.matrix
        if camera.link:
            placed = camera.carried(T_world_base @ links[camera.link])
            image = self.world.image(placed)
            return replace(image, mount=camera.link, T_mount_camera=camera.T_world_camera)
        image = self.world.image(camera)
        return replace(image, T_mount_camera=se3.inverse(T_world_base) @ camera.T_world_camera)

    def command(self, command: Command, duration: float) -> None:
        """Drive the joints for ``duration`` [s], rounded to physics steps."""
        steps = max(1, round(duration / STEP))
        c = self.world.client
        if command.mode == "torque" and command.tau is not None:
            if self._braked:  # the servos' motors would hold against the torques
                c.setJointMotorControlArray(
                    self.body,
                    self._indices,
                    pybullet.VELOCITY_CONTROL,
                    forces=[0.0] * len(self._indices),
                )
                self._braked, self._driven = False, None
            # torques at masters: followers share them by virtual work
            torques = self._unmap.T @ command.tau
            for _ in range(steps):
                c.setJointMotorControlArray(
                    self.body, self._indices, pybullet.TORQUE_CONTROL, forces=torques
                )
                self.world.step(1)
        else:
            if command.q is not None:
                angles = (self.model.G @ command.q + self.model.c)[self._rows]
                v = np.zeros(self.model.n) if command.v is None else command.v
                self._drive(angles, (self.model.G @ v)[self._rows])
            self.world.step(steps)
        self._time += steps * STEP
        if self.after_command is not None:
            self.after_command()

    def stop(self) -> None:
        """Hold the present joint positions; fingers go on closing on what they hold."""
        angles, _ = self._states()
        if self._driven is not None:
            gripping = np.isin(self._indices, self.fingers)
            angles[gripping] = self._driven[gripping]
        self._drive(angles, np.zeros(len(angles)))

    def clock(self) -> float:
        """Simulated seconds since :meth:`reset`."""
        return self._time

    def close(self) -> None:
        """Free the physics client."""
        self.world.close()
