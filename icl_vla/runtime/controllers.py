"""Which controller a robot's policy talks to: its arm's, or that of its base and arm together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import ActionSpace, Command, Embodiment, Observation, TaskTarget
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc import ArmMpc
from icl_vla_wbc.mobile import MobileMpc
from icl_vla_wbc.mobile.drive import PLANAR
from icl_vla_wbc.request import Weights, hand_factors

from .loop import PERIOD, Controller


class WheeledArm:
    """:class:`MobileMpc` for targets in the base's frame, as policies and demonstrations have them.

    Poses are meant in the base's frame where it was when a sequence of targets was first passed:
    the base moves while a chunk is executed, and the chunk's poses stay where they are in the
    world. Pass the same sequence for as long as it holds.

    Args:
        model: A robot on wheels.
        effector: Its arm.
    """

    def __init__(self, model: RobotModel, effector: str) -> None:
        self.mpc = MobileMpc(model, (effector,), period=PERIOD)
        self._asked: Sequence[TaskTarget] | None = None
        self._placed: list[TaskTarget] = []

    def reset(self, observation: Observation) -> None:
        """See :class:`Controller`."""
        self.mpc.reset(observation)
        self._asked = None

    def track(
        self,
        targets: Sequence[TaskTarget],
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        weights: Weights | None = None,
    ) -> Command:
        """See :class:`Controller`; ``weights`` are in the axes of the base."""
        T = observation.T_world_base
        if targets is not self._asked and T is not None:
            self._asked, self._placed = targets, [in_world(t, T) for t in targets]
        # without the base's pose it brakes whatever is asked
        turned = None if weights is None or T is None else _turned(weights, self.mpc.effectors, T)
        placed = self._placed if targets is self._asked else []
        return self.mpc.track(placed, observation, times=times if placed else None, weights=turned)


def controller_for(
    model: RobotModel, effectors: str | Sequence[str], space: ActionSpace, hulls: LinkHulls
) -> Controller:
    """Base and arm together where the robot rolls and its actions command the base, else the arms.

    Arms alone keep their distance from the robot's other links, where their shapes are known.

    Args:
        model: The robot.
        effectors: Its arms; with the base, only the first one moves.
        space: What a policy commands.
        hulls: The robot's shape.
    """
    if rolls(model.embodiment, space):
        return WheeledArm(model, effectors if isinstance(effectors, str) else effectors[0])
    shapes = {link: parts for link, parts in hulls.hulls.items() if parts}
    return ArmMpc(model, effectors, hulls=shapes or None, period=PERIOD)


def rolls(embodiment: Embodiment, space: ActionSpace) -> bool:
    """Whether the robot stands on wheels and a space's actions command them."""
    return embodiment.base in PLANAR and any(d.role == "base" for d in space.dimensions)


def in_world(target: TaskTarget, T_world_base: Array) -> TaskTarget:
    """A target whose poses and twists were in the base's frame."""
    R = np.kron(np.eye(2), T_world_base[:3, :3])
    poses = {e: T_world_base @ T for e, T in target.poses.items()}
    return replace(target, poses=poses, twists={e: R @ x for e, x in target.twists.items()})


def _turned(
    weights: Weights, effectors: Sequence[str], T_world_base: Array
) -> dict[str, ArrayLike]:
    """Factors in the axes of the base as ``(6, 6)`` in those of the world."""
    R = np.kron(np.eye(2), T_world_base[:3, :3])
    factors = hand_factors(weights, effectors)
    return {e: (F if F.ndim == 2 else np.diag(F)) @ R.T for e, F in factors.items()}
