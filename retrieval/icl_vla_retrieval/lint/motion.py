"""What the checks ask of a demonstration: measured against commanded, in SI units."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import Kind, Reference, se3
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..demonstration import Demonstration

FASTEST = 20.0  # [rad/s or m/s] taken where the robot's description gives no smaller limit
LAGS = 6  # frames that a robot may trail its commands by
STILL_JOINT, STILL_TOOL, STILL_TURN, STILL_GRIPPER = 0.01, 0.002, 0.01, 0.02  # rad or m, m, rad, 1


class Motion:
    """One demonstration of one robot.

    Attributes:
        d: The demonstration.
        episode: Its index.
        robot: The robot.
        model: Its kinematics.
        period: Time between frames [s] that the action space promises.
    """

    def __init__(
        self, d: Demonstration, episode: int, robot: Embodiment, model: RobotModel
    ) -> None:
        self.d, self.episode, self.robot, self.model = d, episode, robot, model
        self.period = 1.0 / d.action_space.rate

    def __len__(self) -> int:
        return len(self.d)

    @cached_property
    def fastest(self) -> Array:
        """``(n,)`` velocity limits [rad/s or m/s]."""
        limits = self.robot.array("velocity")
        return np.minimum(np.where(limits > 0, limits, FASTEST), FASTEST)

    @cached_property
    def steps(self) -> Array:
        """``(T - 1, n)`` motion from frame to frame, in shares of what the limits allow a frame."""
        return np.diff(self.d.q, axis=0) / (self.fastest * self.period)

    @cached_property
    def prismatic(self) -> NDArray[np.bool_]:
        """``(n,)``: which joints slide."""
        return self.model.prismatic

    @cached_property
    def poses(self) -> dict[str, Array]:
        """Arm -> ``(T, 4, 4)`` forward kinematics of ``q``, whatever was recorded as pose."""
        each = [self.model.poses(q) for q in self.d.q]
        return {arm: np.stack([p[arm] for p in each]) for arm in each[0]}

    @cached_property
    def joint_commands(self) -> dict[int, Array]:
        """Index of a joint -> ``(T,)`` commanded position [rad or m], where actions are joints'."""
        commands = {}
        for i, dim in enumerate(self.d.action_space.dimensions):
            if dim.kind is Kind.JOINT_POSITION and dim.joint in self.robot.joints:
                k = self.robot.joints.index(dim.joint)
                value = dim.to_si(self.d.actions[:, i])
                if dim.reference is not Reference.ABSOLUTE:
                    value = value + self.d.q[:, k]
                commands[k] = value
        return commands

    @cached_property
    def tool_commands(self) -> dict[str, Array]:
        """Arm -> ``(T, 4, 4)`` commanded pose, where actions are the tool's."""
        direct = {
            dim.effector
            for dim in self.d.action_space.dimensions
            if dim.kind in (Kind.EE_POSITION, Kind.EE_ROTATION, Kind.EE_LINEAR_VELOCITY)
        }
        return {arm: T for arm, T in self.d.commands.items() if arm in direct}

    @cached_property
    def openings(self) -> dict[str, Array]:
        """Arm -> ``(T,)`` opening 0 to 1 that the finger joints of ``q`` stand for."""
        out = {}
        for arm in self.robot.arms:
            gripper = self.robot.gripper_of(arm.name)
            if gripper is None or not gripper.joints:
                continue
            index = [self.robot.joints.index(j) for j in gripper.joints]
            closed, opened = np.array(gripper.closed), np.array(gripper.open)
            way = opened - closed
            if way @ way > 0:
                out[arm.name] = (self.d.q[:, index] - closed) @ way / (way @ way)
        return out

    def distance(self, frame: int) -> Array:
        """``(T,)`` how far all that is measured and commanded is from a frame; 1: moved."""
        d = self.d
        parts = [np.abs(d.q - d.q[frame]).max(axis=1) / STILL_JOINT]
        for T in d.commands.values():
            parts.append(np.linalg.norm(T[:, :3, 3] - T[frame, :3, 3], axis=1) / STILL_TOOL)
            turn = se3.log3(T[:, :3, :3] @ T[frame, :3, :3].T)
            parts.append(np.linalg.norm(turn, axis=1) / STILL_TURN)
        for opening in (*d.gripper_commands.values(), *d.grippers.values()):
            parts.append(np.abs(opening - opening[frame]) / STILL_GRIPPER)
        for command in self.joint_commands.values():
            parts.append(np.abs(command - command[frame]) / STILL_JOINT)
        return np.max(parts, axis=0)


def lagged(command: Array, measured: Array) -> float:
    """Mean distance of a command ``(T, ...)`` to what was measured, at the best lag."""
    T = len(command)
    lags = range(min(LAGS, T - 1) + 1)
    return min(float(np.abs(command[: T - k] - measured[k:]).mean()) for k in lags)
