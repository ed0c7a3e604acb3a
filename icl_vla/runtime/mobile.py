"""Robots whose base moves, as policies see them: everything in the frame of the floor.

A policy for arms reads and says poses in one frame that stands still. For a robot that moves about,
this frame is the floor's, and the base's pose stands before the joints in its configuration, as
files of mobile robots have it as virtual joints. The base is an effector like a hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import ActionSpace, Command, Embodiment, Observation, TaskTarget, se2, se3
from icl_vla_embodiments.action_space import Kind, pose_dimensions
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc.mobile import MobileMpc
from icl_vla_wbc.mobile.follow import drive_along
from icl_vla_wbc.request import Weights

from .loop import PERIOD

BASE = "base"
PLACE = ("base_x", "base_y", "base_z", "base_roll", "base_pitch", "base_yaw")
FARTHEST = 5.0  # [m] from the floor's middle that a hand may be sent
FASTEST = np.array([0.4, 0.4, 1.5])  # [m/s, m/s, rad/s] of a base that a policy moves


class MobileModel(RobotModel):
    """Kinematics from the floor.

    A configuration ``(6 + n,)`` is the base's position and roll, pitch, yaw on the floor, then the
    actuated joints; one of ``(n,)`` is that of the joints alone, and gives poses in the base frame.
    """

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of a configuration's numbers."""
        return (*PLACE, *self.embodiment.joints)

    @staticmethod
    def configuration(T_floor_base: Array, q: Array) -> Array:
        """``(6 + n,)`` of the base's pose and the joints."""
        return np.concatenate([T_floor_base[:3, 3], se3.euler_xyz(T_floor_base[:3, :3]), q])

    def parted(self, q: ArrayLike) -> tuple[Array | None, Array]:
        """``T_floor_base`` ``(4, 4)``, None where it is not told, and the joints ``(n,)``."""
        x = np.asarray(q, dtype=float)
        if len(x) == self.n:
            return None, x
        return se3.pose(se3.from_euler_xyz(x[3:6]), x[:3]), x[6:]

    def poses(self, q: ArrayLike) -> dict[str, Array]:
        """Effector -> pose ``(4, 4)``; of the base: on the floor, upright."""
        T, joints = self.parted(q)
        hands = super().poses(joints)
        return hands if T is None else {BASE: upright(T), **{e: T @ X for e, X in hands.items()}}

    def link_poses(self, q: ArrayLike) -> dict[str, Array]:
        """Link -> pose ``(4, 4)``."""
        T, joints = self.parted(q)
        links = super().link_poses(joints)
        return links if T is None else {link: T @ X for link, X in links.items()}


class Walking:
    """Velocities for a robot that balances by itself; a :class:`~.loop.Controller`.

    Args:
        model: A robot on legs.
    """

    def __init__(self, model: MobileModel) -> None:
        self.model = model

    def reset(self, observation: Observation) -> None:
        """See :class:`~.loop.Controller`."""

    def track(
        self,
        targets: Sequence[TaskTarget],
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        weights: Weights | None = None,
    ) -> Command:
        """The velocity asked for next; back to the place asked for, where there is only that."""
        due = np.zeros(len(targets)) if times is None else np.asarray(times, dtype=float)
        target = targets[min(int(np.searchsorted(due, 1e-9)), len(targets) - 1)]
        twist = target.base_twist
        if twist is None and BASE in target.poses and observation.q is not None:
            here = self.model.poses(observation.q)[BASE]
            _, twists = drivable(here, target.poses[BASE][None], 1.0, sideways=True)
            twist = twists[0]
        return Command(mode="velocity", base_twist=np.zeros(6) if twist is None else twist)


def upright(T: Array) -> Array:
    """``(4, 4)``: where a body's origin is above the floor, with its heading."""
    return se2.lifted(se2.planar(T))


def floor_space(embodiment: Embodiment, effector: str) -> ActionSpace:
    """What a policy on the floor commands.

    The base: its velocities, as the robot takes them. A hand: its pose on the floor and its
    gripper; wheels, torso and arm follow from that (:class:`MobileMpc`).
    """
    own = embodiment.action_space()
    if effector == BASE:
        drives = tuple(replace(d, effector=BASE) for d in own.dimensions if d.role == "base")
        return ActionSpace("base_velocity", drives, own.rate)
    grip = tuple(d for d in own.dimensions if d.role == "gripper" and d.effector == effector)
    return ActionSpace("floor_pose", (*pose_dimensions(effector, reach=FARTHEST), *grip), own.rate)


def drivable(T: Array, poses: Array, dt: float, *, sideways: bool) -> tuple[Array, Array]:
    """A base's way along poses as its wheels allow it.

    Args:
        T: ``(4, 4)`` where it is.
        poses: ``(H, 4, 4)`` on the floor, due one step after another.
        dt: Of a step [s].
        sideways: Whether it can move sideways.

    Returns:
        ``(H, 4, 4)`` poses that are reached, and ``(H, 6)`` twists that lead there.
    """
    start, way = se2.planar(T), se2.planar(poses)
    places, rates = drive_along(start, way, dt, sideways=sideways, fastest=FASTEST)
    twists = np.zeros((len(rates), 6))
    twists[:, [0, 1, 5]] = rates
    return se2.lifted(places), twists


def slides(space: ActionSpace) -> bool:
    """Whether a space commands a base sideways."""
    return any(d.kind is Kind.BASE_LINEAR_VELOCITY and d.component == 1 for d in space.dimensions)


class OnFloor:
    """:class:`MobileMpc` for targets in the floor's frame; a :class:`~.loop.Controller`.

    A target's ``base_twist`` is held until the next; a pose of the base alone is driven to. A hand
    is brought to its pose by base and arm together.

    Args:
        model: A robot on wheels.
        effector: The base, or the hand that is asked to move.
    """

    def __init__(self, model: MobileModel, effector: str) -> None:
        self.model, self.effector = model, effector
        arms = () if effector == BASE else (effector,)
        # interpreted: every run of a seed is the same
        self.mpc = MobileMpc(model, arms, period=PERIOD, compiled=False)

    def reset(self, observation: Observation) -> None:
        """See :class:`~.loop.Controller`."""
        self.mpc.reset(self._joints(observation))

    def track(
        self,
        targets: Sequence[TaskTarget],
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        weights: Weights | None = None,
    ) -> Command:
        """See :class:`~.loop.Controller`."""
        asked = [self._asked(t) for t in targets]
        return self.mpc.track(asked, self._joints(observation), times=times, weights=weights)

    def _joints(self, observation: Observation) -> Observation:
        """The same with the joints alone in ``q``."""
        if observation.q is None:
            return observation
        return replace(observation, q=self.model.parted(observation.q)[1])

    def _asked(self, target: TaskTarget) -> TaskTarget:
        if self.effector != BASE:
            return TaskTarget(poses=target.poses, grippers=target.grippers)
        if target.base_twist is not None:
            return TaskTarget(base_twist=target.base_twist)
        return TaskTarget(T_world_base=target.poses.get(BASE))
