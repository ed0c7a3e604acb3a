"""From links and joints to groups, family and base."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..embodiment import Base, Family, Flag, Group
from .doubts import Finding, find_flags
from .evidence import Evidence, tokens
from .hands import MAX_GRIPPER_JOINTS, Hand, closed_and_open, find_hands
from .limbs import Limb, count_legs, find_limbs, lone_head_as_arm, mirrored
from .tree import Joint
from .wheels import Wheels, find_rotors, find_wheels


@dataclass(frozen=True)
class Structure:
    """What a robot is made of.

    Attributes:
        groups: Arms first, then what they carry, then the rest.
        hands: Arm name (or the hand's own name) -> its hand, for the search of the TCP.
        passive: Names of joints that nothing drives.
        why: "family", "base", "groups" -> reason.
        flags: Questions for a person.
    """

    family: Family
    base: Base
    groups: tuple[Group, ...]
    hands: dict[str, Hand]
    passive: frozenset[str]
    why: dict[str, str]
    flags: tuple[Flag, ...] = ()


def analyse(
    evidence: Evidence, *, said_base: Base | None = None, masterless: Sequence[str] = ()
) -> Structure:
    """Name the parts of a robot.

    Args:
        evidence: The robot.
        said_base: How the file itself says that its root moves, if it does.
        masterless: Joints that mimic a joint which does not exist.
    """
    tree = evidence.tree
    wheels = find_wheels(evidence)
    rotors, flies = find_rotors(evidence)
    aside = {j.name for j in (*wheels.driven, *wheels.passive, *wheels.carriers, *rotors)}
    aside |= {j.name for j in wheels.rollers}
    hands = find_hands(evidence, aside)
    aside |= {j.name for h in hands for j in h.joints}
    limbs = find_limbs(evidence, aside, hands, wheels.driven)
    if not (hands or wheels.driven or wheels.passive or flies or said_base):
        limbs = lone_head_as_arm(limbs)
    if _is_hand(evidence, hands, limbs, wheels):
        arms: list[Limb] = []
        limbs = []
    else:
        arms = [limb for limb in limbs if limb.kind == "arm"]
    legs = [limb for limb in limbs if limb.kind == "leg"]
    flies = flies and not legs and not wheels.driven
    stands = count_legs(evidence, legs)
    family, base, why = _family(arms, stands, hands, wheels, flies=flies, said=said_base)
    arm_names = _sides(evidence, [a.chain for a in arms], "arm")
    groups = [_limb_group(tree.body, a, n) for a, n in zip(arms, arm_names, strict=True)]
    carried: dict[str, Hand] = {}
    for hand in hands:
        arm = next(
            (n for a, n in zip(arms, arm_names, strict=True) if a.chain[-1].child == hand.base), ""
        )
        group = _hand_group(evidence, hand, arm, len(carried), family)
        carried[arm or group.name] = hand
        groups.append(group)
    leg_names = _sides(evidence, [leg.chain for leg in legs], "leg")
    for leg, name in zip(legs, leg_names, strict=True):
        groups.append(_leg_group(evidence, leg, name, wheels))
    for kind in ("torso", "head"):
        some = [limb for limb in limbs if limb.kind == kind and limb.joints]
        for i, limb in enumerate(some):
            groups.append(
                _limb_group(tree.body, limb, kind if len(some) == 1 else f"{kind}_{i + 1}")
            )
    groups += [_wheel_group(evidence, w) for w in wheels.driven]
    reason = "; ".join(f"{limb.kind} {limb.chain[0].name}..: {limb.why}" for limb in limbs)
    why |= {
        "groups": "; ".join([reason, *(h.why for h in hands)]).strip("; ") or "no moving joints"
    }
    flags = find_flags(evidence, Finding(family, base, limbs, hands, wheels, flies), masterless)
    passive = {j.name for j in (*wheels.passive, *wheels.rollers, *rotors)}
    passive |= {
        j.name for j in wheels.carriers if j.type == "prismatic" or evidence.horizontal(j)
    }  # suspension
    return Structure(family, base, tuple(groups), carried, frozenset(passive), why, flags)


def _is_hand(
    evidence: Evidence, hands: Sequence[Hand], limbs: Sequence[Limb], wheels: Wheels
) -> bool:
    """One hand and nothing else but, perhaps, its wrist."""
    if len(hands) != 1 or wheels.driven:
        return False
    rest = [limb for limb in limbs if limb.joints]
    wrist = sum(len(limb.joints) for limb in rest)
    return wrist <= 2 and len(rest) <= 1 and len(hands[0].actuated) > wrist


def _family(
    arms: Sequence[Limb],
    legs: int,
    hands: Sequence[Hand],
    wheels: Wheels,
    *,
    flies: bool,
    said: Base | None,
) -> tuple[Family, Base, dict[str, str]]:
    parts = f"{len(arms)} arms, {legs} legs, {len(wheels.driven)} driven wheels"
    family: Family
    base: Base
    if flies:
        family, base = ("drone_arm" if arms else "drone"), "floating"
        return family, base, {"family": "it has rotors", "base": "it flies"}
    if legs >= 2:
        if legs == 4:
            family = "quadruped_arm" if arms else "quadruped"
        elif legs == 2:
            family = "humanoid" if arms else "biped"
        else:
            family = "other"
        return family, "floating", {"family": parts, "base": "it stands on legs"}
    rolls = said if said and said.startswith("planar") else wheels.base
    if rolls is not None:
        family = "mobile_manipulator" if arms else "mobile_base"
        why = "joints of the file move the root so" if rolls == said else wheels.why
        return family, rolls, {"family": parts, "base": why}
    base = said or "fixed"
    reasons = {
        "family": parts,
        "base": "the root is free" if said else "neither legs, wheels nor rotors",
    }
    if not arms and hands:
        return "hand", base, reasons | {"family": "fingers and no arm"}
    if not arms and said and not wheels.driven:
        return "drone", base, reasons | {"family": "it floats and has no limbs"}
    if not arms:
        return "other", base, reasons
    return ("arm" if len(arms) == 1 else "bimanual"), base, reasons


def _sides(evidence: Evidence, chains: Sequence[Sequence[Joint]], noun: str) -> list[str]:
    """Names: the noun alone, with a side, with a corner, or numbered."""
    if len(chains) < 2:
        return [noun] * len(chains)
    y = mirrored(evidence, chains)
    x = [float(evidence.origin(c[0])[0]) for c in chains]
    said = [_said_side(chain) for chain in chains]
    side = ["left" if v > 0 else "right" for v in y]
    if all(said):  # words outweigh places: a root's x axis may point backwards
        side = said
    if len(chains) == 2 and set(side) == {"left", "right"}:
        return [f"{s}_{noun}" for s in side]
    middle = float(np.mean(x))
    corners = [
        f"{'front' if a > middle else 'rear'}_{s}_{noun}" for a, s in zip(x, side, strict=True)
    ]
    if max(Counter(corners).values()) == 1:
        return corners
    return [f"{noun}_{i + 1}" for i in range(len(chains))]


def _said_side(chain: Sequence[Joint]) -> str:
    """The side that most of a chain's joints are called by, if any."""
    words = [tokens(j.name) for j in chain]
    left = sum(bool({"left", "l"} & {*w}) for w in words)
    right = sum(bool({"right", "r"} & {*w}) for w in words)
    if 2 * max(left, right) <= len(chain) or left == right:
        return ""
    return "left" if left > right else "right"


def _limb_group(body: dict[str, str], limb: Limb, name: str) -> Group:
    return Group(
        name=name,
        kind=limb.kind,  # type: ignore[arg-type]
        joints=tuple(j.name for j in limb.joints),
        base_link=limb.chain[0].parent,
        tip_link=limb.chain[-1].child,
    )


def _hand_group(evidence: Evidence, hand: Hand, arm: str, index: int, family: Family) -> Group:
    movers = hand.actuated
    small = len(movers) <= MAX_GRIPPER_JOINTS
    closed, opened = closed_and_open(evidence, hand)
    noun = "gripper" if small else "hand"
    base = hand.fingers[0][0].parent  # the palm
    tip = base
    joints = [j.name for j in movers]
    if family == "hand" and hand.base != evidence.tree.root:  # with its wrist
        wrist = evidence.tree.chain(evidence.tree.above[hand.base])
        joints = [j.name for j in wrist if j.mimic is None] + joints
        base = evidence.tree.root
    side = arm.removesuffix("arm").rstrip("_")
    name = "_".join(p for p in (side, noun) if p) if arm else f"{noun}{index + 1 if index else ''}"
    return Group(
        name=name,
        kind="gripper" if small else "hand",
        joints=tuple(joints),
        base_link=base,
        tip_link=tip,
        effector=arm,
        closed=tuple(closed.get(n, 0.0) for n in joints),
        open=tuple(opened.get(n, 0.0) for n in joints),
    )


def _leg_group(evidence: Evidence, leg: Limb, name: str, wheels: Wheels) -> Group:
    tree = evidence.tree
    end = leg.chain[-1].child
    wheel = next((w for w in wheels.driven if tree.body[w.parent] == end), None)
    body = wheel.child if wheel else end
    feet = [link for link in tree.members[body] if evidence.says("foot|toe|sole", link)]
    foot = feet[0] if feet else body
    return Group(name, "leg", tuple(j.name for j in leg.joints), leg.chain[0].parent, foot)


def _wheel_group(evidence: Evidence, wheel: Joint) -> Group:
    radius, _ = evidence.roundness(wheel, *evidence.tree.subtree(wheel)[1:])
    if radius == 0.0:  # no geometry: the height of its centre above the lowest point
        radius = float(evidence.origin(wheel)[2] - evidence.lowest)
    axle = tuple(float(a) for a in evidence.axis(wheel))
    return Group(
        name=wheel.name,
        kind="wheel",
        joints=(wheel.name,),
        base_link=wheel.parent,
        tip_link=wheel.child,
        radius=radius,
        axle=axle,  # type: ignore[arg-type]
    )
