"""Commands of a recording: its action columns and grippers, or what stands in for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.action_space import Kind
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel

from . import grippers
from .action_columns import ActionSearch
from .action_parts import ActionColumns, gripper_dimension
from .decision import Decision
from .joints import JointColumns
from .kinematics import Chain, PoseFit
from .layouts import sliding, travelling
from .pool import Pool, Slot

Array = NDArray[np.float64]


def understand_actions(
    pool: Pool,
    roles: Mapping[str, str],
    model: RobotModel,
    joints: Sequence[JointColumns],
    measured_grippers: Mapping[str, tuple[list[Slot], str]],
    positions: Callable[[Embodiment, Mapping[str, Array]], Array],
    chains: Mapping[str, Chain],
    rate: float,
    fit: PoseFit | None,
) -> tuple[ActionColumns, dict[str, grippers.GripperColumns], list[Decision]]:
    """Actions, grippers (measured and commanded), and the decisions about both."""
    robot = model.embodiment
    q = np.concatenate([positions(robot, e.columns) for e in pool.episodes])
    columns = [c for c, r in roles.items() if r == "action"]
    notes: list[Decision] = []
    if columns:
        search = ActionSearch(pool, columns, model, joints, q, chains, rate, fit)
        found, commanded = search.run(), search.gripper
        notes += search.notes
    else:
        found, commanded = _following(model, joints, measured_grippers), {}
        notes.append(
            Decision("actions", "", "what is measured next", "no commands are recorded", False)
        )
    grips = {}
    for arm in dict.fromkeys([*measured_grippers, *commanded]):
        group = robot.gripper_of(arm)
        if group is None or not travelling(group):
            continue
        slots, unit = measured_grippers.get(arm, ([], "rad"))
        slides = sliding(model, group.joints[travelling(group)[0]])
        grips[arm] = grippers.understand(pool, group, slots, commanded.get(arm), slides, unit)
        notes += grips[arm].decisions
    parts = tuple(
        (s, gripper_dimension(robot, d.effector, grips[d.effector].action_line))
        if d.kind is Kind.GRIPPER and d.effector in grips and grips[d.effector].action_line
        else (s, d)
        for s, d in found.parts
    )
    return replace(found, parts=parts), grips, notes


def _following(
    model: RobotModel,
    joints: Sequence[JointColumns],
    measured_grippers: Mapping[str, object],
) -> ActionColumns:
    """Joint positions as actions, where no commands are recorded."""
    robot = model.embodiment
    known = {j for c in joints for j in c.slots}
    spaces = [s for s in robot.action_spaces if s.name == "joint_position"]
    dims = [
        d
        for d in (spaces[0].dimensions if spaces else ())
        if d.joint in known or (d.kind is Kind.GRIPPER and d.effector in measured_grippers)
    ]
    return ActionColumns(tuple((None, d) for d in dims), follow=True)
