"""Joints by which a file spells the motion of a robot's base."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..embodiment import Base
from ..types import Array
from .tree import Joint

NO_LENGTH = 0.05  # [m] between the axes of a base's joints
UPRIGHT = 0.95  # cosine


def base_of_joints(chain: Sequence[Joint]) -> tuple[Base | None, int]:
    """The base that joints from the root amount to, and how many of them (fixed ones included).

    Two slides and a turn in the plane, in any order, let it move anywhere; a turn and then a slide
    let it move forwards; three slides and three turns let it float.
    """
    moving: list[Joint] = []
    turned = np.eye(3)  # of a joint's axes in the root, at zero
    axes: list[Array] = []
    found: tuple[Base | None, int] = (None, 0)
    for i, joint in enumerate(chain):
        if moving and np.linalg.norm(joint.T[:3, 3]) > NO_LENGTH:
            break
        turned = turned @ joint.T[:3, :3]
        if not joint.moves:
            continue
        if joint.mimic is not None:
            break
        moving.append(joint)
        axes.append(turned @ joint.axis)
        kinds = "".join("R" if j.turns else "P" for j in moving)
        up = [abs(float(a[2])) > UPRIGHT for a in axes]
        level = [abs(float(a[2])) < 1 - UPRIGHT for a in axes]
        flat = all(u if k == "R" else h for k, u, h in zip(kinds, up, level, strict=True))
        if (flat and sorted(kinds) == ["P", "P", "R"]) or (flat and kinds == "RPR"):
            found = "planar_holo", i + 1
        elif flat and kinds == "RP":
            found = "planar_diff", i + 1
        elif sorted(kinds) == [*"PPPRRR"]:
            found = "floating", i + 1
    return found
