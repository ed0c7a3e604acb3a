"""What is left when wheels and hands are taken off: arms, legs, torso, head."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .evidence import ARM, HEAD, LEG, STUB, Evidence
from .hands import Hand, underfoot
from .tree import Joint

WHOLE_ARM = 6  # turning joints
STRIDE = 0.1  # [m], a slide longer than this is in no leg
ONE_LEG = 0.2  # of the distance between the farthest hips, within which bars make one leg
LimbKind = Literal["arm", "leg", "torso", "head", "other"]


@dataclass(frozen=True)
class Limb:
    """A chain of joints between two branchings, or from a branching to an end.

    Attributes:
        kind: What it is taken for.
        chain: Moving joints, followers included, base to tip.
        why: Reason.
        sure: Whether words and geometry agree.
    """

    kind: LimbKind
    chain: tuple[Joint, ...]
    why: str
    sure: bool = True

    @property
    def joints(self) -> tuple[Joint, ...]:
        """Without followers."""
        return tuple(j for j in self.chain if j.mimic is None)


def find_limbs(
    evidence: Evidence, excluded: Iterable[str], hands: Sequence[Hand], wheels: Sequence[Joint]
) -> list[Limb]:
    """Split the remaining tree at its branchings and name the pieces.

    Args:
        evidence: The robot.
        excluded: Names of joints that are accounted for (wheels, fingers, casters, rotors).
        hands: Ends that make a chain an arm.
        wheels: Driven wheels; a chain of two joints or more that ends in one is a leg.
    """
    trunk, ends = _split(evidence, set(excluded))
    ends, carriages = _without_carriages(ends)
    trunk += carriages
    held = {h.base for h in hands}
    rolled = {evidence.tree.body[w.parent] for w in wheels}
    standing = [c for c in ends if not _slides(evidence, c)]
    grounded = _below_trunk(evidence, trunk, standing) or _grounded(evidence, standing)
    limbs = [Limb("torso", chain, "lies between the root and limbs") for chain in trunk]
    for chain in ends:
        limbs.append(_name(evidence, chain, ends, held, rolled, grounded))
    return [_perhaps_head(evidence, limb, limbs) for limb in limbs]


def _split(
    evidence: Evidence, excluded: set[str]
) -> tuple[list[tuple[Joint, ...]], list[tuple[Joint, ...]]]:
    tree = evidence.tree
    trunk: list[tuple[Joint, ...]] = []
    ends: list[tuple[Joint, ...]] = []

    def children(body: str) -> list[Joint]:
        rest = [j for j in tree.children.get(body, []) if j.name not in excluded]
        if body == tree.root or len(rest) < 2:
            return rest
        stubs = [
            j
            for j in rest
            if not tree.children.get(j.child) and evidence.says(STUB, *evidence.own(j))
        ]
        rest = [j for j in rest if j not in stubs] or rest[:1]
        if len(rest) > 1 and underfoot(evidence, body):  # a linkage moves the foot
            return [min(rest, key=lambda j: float(evidence.outline([j])[:, 2].min()))]
        return rest

    stack: list[tuple[Joint, ...]] = [(j,) for j in reversed(children(tree.root))]
    while stack:
        chain = stack.pop()
        beyond = children(chain[-1].child)
        if len(beyond) == 1:
            stack.append((*chain, beyond[0]))
        elif not beyond:
            ends.append(chain)
        else:
            trunk.append(chain)
            stack += [(j,) for j in reversed(beyond)]
    return trunk, ends


def _without_carriages(
    ends: Sequence[tuple[Joint, ...]],
) -> tuple[list[tuple[Joint, ...]], list[tuple[Joint, ...]]]:
    """Chains without the slides that carry a whole arm (lift, rail, gantry), and these."""
    kept: list[tuple[Joint, ...]] = []
    carriages: list[tuple[Joint, ...]] = []
    for chain in ends:
        n = next((i for i, j in enumerate(chain) if j.type != "prismatic"), 0)
        n = n if sum(j.turns for j in chain[n:]) >= WHOLE_ARM else 0
        kept.append(chain[n:])
        carriages += [chain[:n]] if n else []
    return kept, carriages


def _slides(evidence: Evidence, chain: tuple[Joint, ...]) -> bool:
    """Whether a long slide lies between the root and the end of a chain."""
    joints = evidence.tree.chain(chain[-1])
    return any(j.type == "prismatic" and j.range[1] - j.range[0] > STRIDE for j in joints)


def _grounded(evidence: Evidence, ends: Sequence[tuple[Joint, ...]]) -> set[str]:
    """Last joints of like chains whose tips alone touch the ground at zero, or at four corners."""
    if not ends:
        return set()
    tips = {c[-1].name: float(evidence.outline(c[-1:])[:, 2].min()) for c in ends}
    slack = 0.15 * evidence.height
    corners = _corners(evidence, ends)
    if corners:
        return corners
    down = [c for c in ends if tips[c[-1].name] < evidence.lowest + slack and len(c) >= 2]
    root = evidence.points(evidence.tree.root)
    root_low = float(root[:, 2].min()) if len(root) else 0.0
    starts = {evidence.tree.body[c[0].parent] for c in down}
    if len(down) < 2 or len(down) % 2 or len({len(c) for c in down}) > 1 or len(starts) > 1:
        return set()
    on_root = any(evidence.tree.body[c[0].parent] == evidence.tree.root for c in ends)
    if root_low < evidence.lowest + slack or not on_root:  # what hangs from a torso is an arm
        return set()
    return {c[-1].name for c in down}


def _below_trunk(
    evidence: Evidence, trunk: Sequence[tuple[Joint, ...]], ends: Sequence[tuple[Joint, ...]]
) -> set[str]:
    """Last joints of two like chains from the root, where two more start beyond a trunk.

    Those beyond are taken where they reach clearly lower: then the root is the chest.
    """
    root = evidence.tree.root
    long = [c for c in ends if len(c) >= 4]
    pairs = [
        [c for c in long if (evidence.tree.body[c[0].parent] == root) == on_root]
        for on_root in (True, False)
    ]
    if not trunk or any(len(pair) != 2 or len(pair[0]) != len(pair[1]) for pair in pairs):
        return set()
    low = [min(float(evidence.outline(c[-1:])[:, 2].min()) for c in pair) for pair in pairs]
    legs = pairs[1] if low[1] < low[0] - 0.2 * evidence.height else pairs[0]
    return {c[-1].name for c in legs}


def _perhaps_head(evidence: Evidence, limb: Limb, limbs: Sequence[Limb]) -> Limb:
    """A short chain in the middle between two arms is a head."""
    if limb.kind not in ("arm", "other") or limb.why.startswith("ends in") or len(limb.chain) > 4:
        return limb
    start = evidence.tree.body[limb.chain[0].parent]
    arms = [
        other
        for other in limbs
        if other is not limb
        and other.kind == "arm"
        and len(other.chain) >= 4
        and evidence.tree.body[other.chain[0].parent] == start
    ]
    if len(arms) < 2 or sum(evidence.says(ARM, *evidence.own(j)) for j in limb.chain):
        return limb
    aside = [abs(y) for y in mirrored(evidence, [limb.chain, *(a.chain for a in arms)])]
    if aside[0] > 0.3 * min(aside[1:]):
        return limb
    return Limb("head", limb.chain, "a short chain in the middle between arms")


def _corners(evidence: Evidence, ends: Sequence[tuple[Joint, ...]]) -> set[str]:
    """Four or more short like chains that start from the root to all four sides of it."""
    root = evidence.tree.root
    like = [c for c in ends if 2 <= len(c) <= 4 and evidence.tree.body[c[0].parent] == root]
    if len(like) < 4 or len({len(c) for c in like}) > 1 or len(like) < len(ends):
        return set()
    places = np.array([evidence.origin(c[0])[:2] for c in like])
    signs = {tuple(s) for s in np.sign(places - places.mean(axis=0)).astype(int).tolist()}
    return (
        {c[-1].name for c in like}
        if len(signs & {(1, 1), (1, -1), (-1, 1), (-1, -1)}) == 4
        else set()
    )


def _name(
    evidence: Evidence,
    chain: tuple[Joint, ...],
    ends: Sequence[tuple[Joint, ...]],
    held: set[str],
    rolled: set[str],
    grounded: set[str],
) -> Limb:
    own = [evidence.own(j) for j in chain]
    n = len(chain)
    leg, arm, head = (sum(evidence.says(p, *o) for o in own) for p in (LEG, ARM, HEAD))
    dof = sum(j.mimic is None for j in chain)
    carries = chain[-1].child in held
    if carries and dof >= 2 and leg <= arm + n // 2:
        return Limb("arm", chain, "ends in a gripper or hand")
    if chain[-1].child in rolled and n >= 2:
        return Limb("leg", chain, "ends in a driven wheel", sure=leg > 0)
    if leg > max(arm, head) or (leg and leg == arm and chain[-1].name in grounded):
        return Limb("leg", chain, f"{leg} of {n} joints are called so", sure=n >= 2)
    if head > arm and dof <= 4:
        return Limb("head", chain, f"{head} of {n} joints are called so")
    if chain[-1].name in grounded and arm == 0:
        return Limb("leg", chain, "like chains below or around the root", sure=False)
    if arm and dof >= 2:
        return Limb("arm", chain, f"{arm} of {n} joints are called so")
    like = len(like_chains(evidence, chain, ends))
    if like == 3 or like > 4:  # fingers or a parallel mechanism, rather than arms
        return Limb("other", chain, f"one of {like} like chains without a known word", sure=False)
    turning = sum(j.turns for j in chain if j.mimic is None)
    if (len(ends) == 1 and turning >= 2) or dof >= 4:
        return Limb("arm", chain, f"a chain of {dof} joints", sure=turning >= 3)
    return Limb("other", chain, "a short chain without a known word", sure=False)


def like_chains(
    evidence: Evidence, chain: Sequence[Joint], chains: Iterable[Sequence[Joint]]
) -> list[Sequence[Joint]]:
    """Those among ``chains`` of as many joints as ``chain`` that start from the same body."""
    body = evidence.tree.body
    start = body[chain[0].parent]
    return [c for c in chains if len(c) == len(chain) and body[c[0].parent] == start]


def count_legs(evidence: Evidence, legs: Sequence[Limb]) -> int:
    """Legs; of more than four chains, those that start side by side are the bars of one leg."""
    if len(legs) <= 4:
        return len(legs)
    hips = np.array([evidence.origin(leg.chain[0]) for leg in legs])
    apart = np.linalg.norm(hips[:, None] - hips, axis=2)
    near = apart <= ONE_LEG * apart.max()
    return len({int(row.argmax()) for row in near})


def lone_head_as_arm(limbs: Sequence[Limb]) -> list[Limb]:
    """What is called a head is an arm where nothing carries it: a pan-tilt mount aims a tool."""
    if len(limbs) != 1 or limbs[0].kind != "head" or sum(j.turns for j in limbs[0].joints) < 2:
        return [*limbs]
    chain = limbs[0].chain
    return [Limb("arm", chain, f"a chain of {len(chain)} joints, called a head,", sure=False)]


def mirrored(evidence: Evidence, chains: Sequence[Sequence[Joint]]) -> list[float]:
    """Lateral place (y at zero) of each chain's first joints, left positive."""
    return [float(np.mean([evidence.origin(j)[1] for j in c])) for c in chains]
