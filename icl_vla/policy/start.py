"""A network put to work: on a robot, or on whatever moves hands by numbers that a space describes.

With an embodiment the robot's kinematics and links are known: its own body is left out of pictures,
and actions may be joints. Without one, demonstrations and observations carry the measured pose of
each hand (``poses``), the action space speaks of hands, cameras stand still, and pixels that show
the robot should have depth 0, which simulators know; what keeps its place at the hand all through
a demonstration is taken for the hand. Where actions move joints nevertheless, fixed depth cameras
have to show what these do (:mod:`icl_vla.perception.seen_joints`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments import ActionSpace, Embodiment, Kind, ReportedError
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import DemoBank, Demonstration, choose_instruction

from ..perception.components import ComponentEncoder
from ..perception.encoders import COMPONENTS, DEFAULT, LEARNED, encoder_of, schema_of
from ..perception.seen_joints import eyes_for, told_by_seeing, with_poses
from ..sim.workspace import horizontal_reach
from .interface import Episode
from .learned import LearnedPolicy

if TYPE_CHECKING:
    from .relational import IclVlaPolicy

_OF_JOINTS = (Kind.JOINT_POSITION, Kind.JOINT_VELOCITY)
_BEYOND = 1.3  # times the hand's reach: as far as things are looked at


def begin(
    network: IclVlaPolicy,
    bank: DemoBank | Sequence[Demonstration],
    instruction: str,
    action_space: ActionSpace,
    embodiment: Embodiment | None,
    encoder: str | None,
) -> Episode:
    """See :meth:`.relational.IclVlaPolicy.start`."""
    model: Kinematics | None = None
    if embodiment is None:
        joints = _joints(bank, action_space)
        bank = _shown(bank, instruction) if len(bank) else []
        if joints:
            seen = told_by_seeing(bank, joints)
            bank = [with_poses(d, seen) for d in bank]
            model, components = seen, eyes_for(seen)
            action_space = action_space.with_joints(joints)
        else:
            components = ComponentEncoder(None, None, _BEYOND * _reached(bank))
    else:
        model = RobotModel(embodiment)
        reach = max(horizontal_reach(model, arm.name) for arm in embodiment.arms)
        components = ComponentEncoder(model, LinkHulls(embodiment), _BEYOND * reach)
        action_space = action_space.with_joints(embodiment.joints)
    eyes = encoder_of(encoder or trained_with(network.config.encoder), components)
    return LearnedPolicy(model, eyes, network).start(bank, instruction, action_space)


def trained_with(schema: str) -> str:
    """Name of the packaged encoder whose tokens are called so; the default one where none's are."""
    return next((n for n in (COMPONENTS, LEARNED) if schema_of(n) == schema), DEFAULT)


def _joints(bank: DemoBank | Sequence[Demonstration], space: ActionSpace) -> tuple[str, ...]:
    """Names of the robot's joints, where actions move them; none where they move hands.

    Raises:
        ReportedError: Actions move joints, and nothing shows what these do.
    """
    joints = [d.joint for d in space.dimensions if d.kind in _OF_JOINTS]
    if joints and not len(bank):
        raise ReportedError(
            "actions that move joints need the robot's kinematics, or demonstrations",
            where=f"action space {space.name!r}",
            value=joints,
            remedy="give the robot: start(..., embodiment=embodiment_from_urdf(...)), or"
            " demonstrations, or an action space of hands",
        )
    return bank.spec.joints if joints and isinstance(bank, DemoBank) else tuple(joints)


def _shown(bank: DemoBank | Sequence[Demonstration], instruction: str) -> list[Demonstration]:
    """Demonstrations of an instruction; tokens cached with a bank saw the robot left out."""
    known = list(dict.fromkeys(d.instruction for d in bank))
    meant = choose_instruction(instruction, known)
    return [d for d in bank if d.instruction == meant]


def _reached(shown: Sequence[Demonstration]) -> float:
    """Farthest from the base [m] that a hand was, over the ground."""
    ways = [T[:, :2, 3] for d in shown for T in (*d.poses.values(), *d.commands.values())]
    return max((float(np.linalg.norm(p, axis=-1).max()) for p in ways), default=np.inf)
