"""Robots on legs whose root frame lies on its side: exports whose y (or x) axis points up."""

from __future__ import annotations

import numpy as np

from ..embodiment import Group
from ..types import Array
from .analyse import Structure
from .evidence import Evidence

ALONG = 0.9  # cosine between two directions that count as one


def up_axis(evidence: Evidence, structure: Structure) -> Array | None:
    """``(3,)`` unit vector of the root frame that points up, where that is not z.

    Arms and legs come in pairs, one to each side. Where two pairs or more are all set apart along
    z, z points sideways; then up is from the legs to the arms, and without names from the limbs
    that start from the root to those beyond it. A frame whose z axis points forwards is not found.
    """
    pairs = _pairs(evidence, structure)
    if len(pairs) < 2 or any(abs(across[2]) < ALONG for _, _, across in pairs):
        return None
    lower = [middle for low, middle, _ in pairs if low]
    upper = [middle for low, middle, _ in pairs if not low]
    if not lower or not upper:
        return None
    rise = np.mean(upper, axis=0) - np.mean(lower, axis=0)
    axis = int(np.argmax(np.abs(rise)))
    up = np.sign(rise[axis]) * np.eye(3)[axis]
    straight = float(up @ rise) > ALONG * float(np.linalg.norm(rise))
    return up if axis != 2 and straight else None


def _pairs(evidence: Evidence, structure: Structure) -> list[tuple[bool, Array, Array]]:
    """Of two like limbs each: whether they are the lower, their middle, the direction across."""
    tree = evidence.tree
    limbs = [g for g in structure.groups if g.kind in ("arm", "leg")]
    alike: dict[tuple[object, ...], list[Group]] = {}
    for limb in limbs:
        alike.setdefault((limb.kind, tree.body[limb.base_link], len(limb.joints)), []).append(limb)
    pairs = []
    for (kind, body, _), members in alike.items():
        if len(members) == 2:
            # their middles: collar bones may start from one point
            lines = [[evidence.origin(tree.joints[j]) for j in m.joints] for m in members]
            one, other = (np.mean(line, axis=0) for line in lines)
            apart = one - other
            length = max(float(np.linalg.norm(apart)), 1e-9)
            low = body == tree.root if evidence.nameless else kind == "leg"
            pairs.append((low, 0.5 * (one + other), apart / length))
    return pairs
