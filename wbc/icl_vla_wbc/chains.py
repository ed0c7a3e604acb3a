"""Which joints move which arm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.robot_model import RobotModel


def moves(model: RobotModel, effector: str) -> NDArray[np.bool_]:
    """Which of the actuated joints move an arm's tool centre point ``(n,)``.

    Raises:
        FrameNotFound: There is no such effector.
    """
    joint = model.model.frames[model.tcp_id(effector)].parentJoint
    rows = [model.model.joints[i].idx_v for i in model.model.supports[joint] if i > 0]
    found = np.zeros(model.n, dtype=bool) | np.abs(model.G[rows]).any(axis=0)
    gripper = model.embodiment.gripper_of(effector)
    if gripper is not None:  # a tool centre point may lie on a finger
        found &= ~np.isin(model.embodiment.joints, gripper.joints)
    return found


def moving(model: RobotModel, effectors: Sequence[str]) -> NDArray[np.bool_]:
    """Which of the actuated joints move any of these arms ``(n,)``."""
    return np.any([np.zeros(model.n, dtype=bool), *(moves(model, e) for e in effectors)], axis=0)


def own_joints(model: RobotModel, effectors: Sequence[str]) -> NDArray[np.intp]:
    """Joints that move these arms and no other one, in the order of :attr:`Embodiment.joints`."""
    ours = moving(model, effectors)
    for arm in model.embodiment.arms:
        if arm.name not in effectors:
            ours &= ~moves(model, arm.name)
    return np.flatnonzero(ours).astype(np.intp)
