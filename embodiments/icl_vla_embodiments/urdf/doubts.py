"""What a person should be asked: where evidence is thin, a question about one field.

Shapes and places alone decide where a file's names say nothing; then the questions are those whose
answers such a file cannot hold (does the base move, does the last link grip?).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..embodiment import Base, Family, Flag, FlagField
from .evidence import Evidence
from .hands import FINGER_REACH, JAW_ARM, JAW_TURN, Hand
from .limbs import Limb, count_legs, like_chains
from .tree import Joint
from .wheels import Wheels

MOST = 3  # questions a robot


@dataclass(frozen=True)
class Finding:
    """What was made of a robot, before it gets names."""

    family: Family
    base: Base
    limbs: Sequence[Limb]
    hands: Sequence[Hand]
    wheels: Wheels
    flies: bool

    def of_kind(self, kind: str) -> list[Limb]:
        return [limb for limb in self.limbs if limb.kind == kind]

    def guess(self, field: FlagField) -> str:
        """The value that a flag on ``field`` shows."""
        arms, legs = self.of_kind("arm"), self.of_kind("leg")
        words: dict[FlagField, Iterable[str]] = {
            "family": [self.family],
            "base": [self.base],
            "arms": (f"{a.joints[0].name} to {a.joints[-1].name}" for a in arms),
            "ee": (a.chain[-1].child for a in arms),
            "gripper": (j.name for h in self.hands for j in h.actuated),
            "feet": (leg.chain[-1].child for leg in legs),
            "wheels": (w.name for w in self.wheels.driven),
        }
        return ", ".join(words[field]) or "none"


def find_flags(
    evidence: Evidence, found: Finding, masterless: Sequence[str] = ()
) -> tuple[Flag, ...]:
    """At most three questions, the most doubtful first, one for each field."""
    flags: dict[FlagField, Flag] = {}
    asked = [*_family(evidence, found), *_wheels(found), *_grippers(found, masterless)]
    if evidence.nameless:
        asked += _nameless(evidence, found)
    for field, question in asked:
        flags.setdefault(field, Flag(field, question, found.guess(field)))
    return tuple(flags.values())[:MOST]


Question = tuple[FlagField, str]


def _chains(found: Finding) -> list[Sequence[Joint]]:
    return [limb.chain for limb in found.limbs]


def _family(evidence: Evidence, found: Finding) -> list[Question]:
    if not evidence.tree.moving and not found.flies:
        why = "no joint moves"
        return [
            ("family", f"What sort of robot is it? {why}."),
            ("base", f"Does it stand, drive or fly? {why}."),
        ]
    legs = found.of_kind("leg")
    if legs and found.family == "other":
        number = count_legs(evidence, legs)
        return [("family", f"Which family is nearest? It has {number} legs, and none has so many.")]
    if found.family == "other":
        crowd = [c for c in found.limbs if len(like_chains(evidence, c.chain, _chains(found))) > 2]
        if crowd and not found.hands:
            question = f"Are these fingers? {crowd[0].chain[0].name}: {crowd[0].why}."
            return [("family", question), ("gripper", question), ("arms", question)]
        none = "No arm, leg, hand, wheel or rotor was found"
        asked: list[Question] = [("family", f"What sort of robot is it? {none}.")]
        if any(len(limb.joints) >= 2 for limb in found.limbs):
            question = f"Is one of its chains an arm? {none}."
            asked += [("arms", question), ("ee", question)]
        return asked
    for limb in found.limbs:
        if limb.kind == "arm" and not limb.sure:
            question = f"Is it an arm? There is {limb.why} only."
            rest: list[FlagField] = [] if evidence.nameless else ["arms", "ee"]
            return [("family", question), *((field, question) for field in rest)]
        if limb.kind == "leg" and not limb.sure and not evidence.nameless:
            return [
                ("family", f"Are these legs? {limb.chain[0].name}: {limb.why}."),
                ("feet", f"Does it stand on these? {limb.chain[0].name}: {limb.why}."),
            ]
    return []


def _wheels(found: Finding) -> list[Question]:
    asked: list[Question] = []
    if found.wheels.base is None:
        return asked
    if not found.wheels.driven:
        asked.append(("base", "How does the base move? Its wheels are drawn without joints."))
    elif found.base == "planar_diff" and len(found.wheels.driven) >= 4:
        asked.append(
            ("base", "Can it move sideways (mecanum wheels)? All axles are parallel, as without.")
        )
    if not found.wheels.sure:
        asked.append(("wheels", "Do these joints drive wheels? Only their places say so."))
    return asked


def _grippers(found: Finding, masterless: Sequence[str]) -> list[Question]:
    asked: list[Question] = []
    for hand in found.hands:
        alone = [j.name for j in hand.joints if j.name in masterless]
        if alone:
            why = f"{alone[0]} mimics a joint that does not exist"
            asked.append(("gripper", f"Which joints are driven? {why}."))
        elif not hand.sure:
            asked.append(("gripper", f"Is this a gripper? {hand.why}."))
    return asked


def _nameless(evidence: Evidence, found: Finding) -> list[Question]:
    """Names say nothing: ask what topology and shapes cannot tell."""
    arms, legs = found.of_kind("arm"), found.of_kind("leg")
    by = "the names say nothing, so this is read off the shape alone"
    if len(legs) == 2:
        fields: tuple[FlagField, ...] = ("arms", "ee") if arms else ("family", "base")
        fields = (*fields, "feet")
        return [(field, f"Which chains are legs, which arms? {by}.") for field in fields]
    if legs and not all(leg.sure for leg in legs):
        return [("family", f"Does it walk? {by}."), ("feet", f"Are these its feet? {by}.")]
    asked: list[Question] = []
    if found.flies:
        asked.append(("family", f"Does it fly? {by}."))
    elif found.base == "fixed" and arms and not _plain_arm(evidence, found):
        asked += [("family", f"Is the base mobile? {by}."), ("base", f"Is the base mobile? {by}.")]
        asked.append(("arms", f"Where does each arm begin and end? {by}."))
    elif arms and found.base == "fixed" and _perhaps_jaw(evidence, found):
        question = f"Does the last joint open a gripper? {by}."
        asked += [("gripper", question), ("arms", question), ("ee", question)]
    return asked


def _plain_arm(evidence: Evidence, found: Finding) -> bool:
    """One chain and nothing else, that turns about the vertical on a base below it."""
    tree, arms = evidence.tree, found.of_kind("arm")
    if len(arms) != 1 or len(found.limbs) != 1:
        return False
    first = arms[0].chain[0]
    base = evidence.points(tree.root)
    tip = evidence.outline(arms[0].chain[-1:])
    if tree.body[first.parent] != tree.root or abs(evidence.axis(first)[2]) < 0.9:
        return False
    return not len(base) or float(tip[:, 2].max()) > float(base[:, 2].min()) + 1e-3


def _perhaps_jaw(evidence: Evidence, found: Finding) -> bool:
    """Whether an arm ends, without a hand, in a short link that tilts by a limited angle.

    Or turns about the axis of the joint before it: one of the two is no joint of an arm.
    """
    held = {h.base for h in found.hands}
    for arm in found.of_kind("arm"):
        last = arm.chain[-1]
        if last.child in held or len(arm.chain) <= JAW_ARM:
            continue
        if _coaxial(evidence, arm.chain[-2], last):
            return True
        if last.unlimited:
            continue
        cloud = evidence.outline([last]) - evidence.origin(last)
        far = cloud[(cloud**2).sum(axis=1).argmax()]
        length = float((far @ far) ** 0.5)
        tilts = abs(float(far @ evidence.axis(last))) < 0.7 * length
        lower, upper = last.range
        if not last.turns or (tilts and upper - lower < JAW_TURN and 0.02 < length < FINGER_REACH):
            return True
    return False


def _coaxial(evidence: Evidence, one: Joint, other: Joint) -> bool:
    """Whether two joints turn about one line."""
    axis = evidence.axis(one)
    apart = evidence.origin(other) - evidence.origin(one)
    aside = float(np.linalg.norm(apart - (apart @ axis) * axis))
    along = abs(float(axis @ evidence.axis(other))) > 0.999
    return one.turns and other.turns and along and aside < 1e-3
