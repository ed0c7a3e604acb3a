"""Which controller fits which body."""

from __future__ import annotations

from pathlib import Path

from icl_vla_embodiments import Embodiment, ReportedError
from icl_vla_wbc.mobile.drive import PLANAR

from . import Actuation, Pattern
from .run import Rig


def rig_for(
    embodiment: Embodiment,
    pattern: Pattern,
    folder: Path,
    actuation: Actuation | None = None,
    effector: str | None = None,
) -> Rig:
    """The robot with the controller that fits it, ready to follow a pattern.

    A new kind of body gets its rig here. Under torque actuation, the wheels below an arm are held.

    Args:
        embodiment: The robot.
        pattern: What is followed.
        folder: Where files for simulation are written.
        actuation: None for torques on legs, else positions (and speeds of wheels).
        effector: The arm that draws; None for the first.

    Raises:
        ReportedError: No controller fits the robot, the actuation or the pattern.
        FrameNotFound: There is no such arm.
    """
    arms = [a.name for a in embodiment.arms]
    if effector is not None and effector not in arms:
        raise ReportedError(
            f"{embodiment.name} has no such arm", where="--effector", value=effector, valid=arms
        )
    if embodiment.base == "floating" and embodiment.of_kind("leg"):
        if actuation is Actuation.POSITION:
            raise ReportedError(
                "robots on legs are controlled with torques",
                where="--actuation",
                value=actuation.value,
                valid=(Actuation.TORQUE,),
            )
        from .legs import LegRig

        return LegRig(embodiment, pattern, folder, effector=effector)
    torque = actuation is Actuation.TORQUE
    if embodiment.base in PLANAR and not (torque and arms):
        if torque:
            raise ReportedError(
                "wheels are driven at speeds, not torques",
                where="--actuation",
                value=Actuation.TORQUE.value,
                valid=(Actuation.POSITION,),
            )
        from .wheels import WheelRig

        return WheelRig(embodiment, pattern, folder, effector=effector)
    if arms and embodiment.base != "floating":
        from .arm import ArmRig

        return ArmRig(
            embodiment,
            pattern,
            folder,
            actuation=actuation or Actuation.POSITION,
            effector=effector,
        )
    raise ReportedError(
        "there is no controller for this kind of body",
        where=embodiment.name,
        value=f"{embodiment.family.replace('_', ' ')}, base {embodiment.base}",
        valid=("arms", "wheels, with or without arms", "legs, with or without arms"),
    )
