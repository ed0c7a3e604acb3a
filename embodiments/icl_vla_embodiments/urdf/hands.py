"""Grippers and hands: where a chain ends in fingers, what opens them, where they pinch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import se3
from ..types import Array
from .evidence import FINGER, HEAD, LEG, WRIST, Evidence
from .tree import Joint

FINGER_REACH = 0.28  # [m], the longest finger of a robot that people work beside
MAX_GRIPPER_JOINTS = 3  # more independent joints make a hand
JAW_ARM = 5  # joints before a single jaw that nobody calls so
JAW_TURN = 2.6  # [rad], a jaw's widest range
NO_OPENING = 1e-6  # [m] between the tips, below which a joint opens nothing
BESIDE = 0.9  # share of a jaw's length that the body which it closes against reaches along it


@dataclass(frozen=True)
class Hand:
    """A gripper or hand.

    Attributes:
        base: Body that carries the fingers.
        fingers: For each finger, its joints from base to tip, mimic followers included.
        why: Reason.
        sure: Whether more than shapes says so.
    """

    base: str
    fingers: tuple[tuple[Joint, ...], ...]
    why: str
    sure: bool = True

    @property
    def joints(self) -> tuple[Joint, ...]:
        return tuple(j for finger in self.fingers for j in finger)

    @property
    def actuated(self) -> tuple[Joint, ...]:
        return tuple(j for j in self.joints if j.mimic is None)


def find_hands(evidence: Evidence, excluded: Iterable[str]) -> list[Hand]:
    """Bodies that branch into short chains at a chain's end, and single jaws that are called so."""
    tree, excluded = evidence.tree, set(excluded)
    hands: list[Hand] = []
    taken: set[str] = set(excluded)
    bodies = [tree.root, *(j.child for j in tree.moving)]
    for body in bodies:
        children = [j for j in tree.children.get(body, []) if j.name not in taken]
        hand = (
            _branching(evidence, body, children)
            or _called(evidence, body, children)
            or _jaw(evidence, body, children)
        )
        if hand is not None:
            hands.append(hand)
            taken |= {j.name for j in hand.joints}
    return hands


def _branching(evidence: Evidence, body: str, children: Sequence[Joint]) -> Hand | None:
    tree = evidence.tree
    above = tree.chain(tree.above[body]) if body != tree.root else []
    if len(children) < 2 or any(evidence.says(HEAD, *evidence.own(j)) for j in children):
        return None
    subtrees = [tree.subtree(j) for j in children]
    names = [n for s in subtrees for j in s for n in evidence.own(j)]
    if evidence.says(LEG, *names) and not evidence.says(FINGER, *names):
        return None
    walks = underfoot(evidence, body) or (body == tree.root and _stands_on(evidence, subtrees))
    if walks and not evidence.says(FINGER, *names):
        return None
    if all(j.type == "continuous" for j in children):
        return None  # a finger has a stop; these are gears, wheels or rotors
    longest = max(evidence.reach(j) for j in children)
    why = f"{len(children)} short chains start from {body}"
    alone = len(above) <= 2 and np.ptp(evidence.cloud, axis=0).max() < 2 * FINGER_REACH
    if not above and all(evidence.called(FINGER, *evidence.own(j)) for s in subtrees for j in s):
        return Hand(body, tuple(tuple(s) for s in subtrees), f"{why}, called fingers")
    if longest > FINGER_REACH:
        return None
    if alone and above:  # a hand with its wrist
        return Hand(body, tuple(tuple(s) for s in subtrees), why)
    if len(above) == 1 and any(len(s) > 1 for s in subtrees):
        return None  # a torso with arms
    if above:
        carried = evidence.length([*above, children[0]]) + float(
            np.linalg.norm(evidence.origin(above[0]))
        )
        if longest > 0.6 * carried:
            return None
    elif np.ptp(evidence.cloud, axis=0).max() > 2 * FINGER_REACH:
        return None
    return Hand(body, tuple(tuple(s) for s in subtrees), why)


def underfoot(evidence: Evidence, body: str) -> bool:
    """Whether a body with only short ends stands on the ground, on a leg below the root."""
    tree = evidence.tree
    root = evidence.points(tree.root)
    chain = tree.chain(tree.above[body]) if body != tree.root else []
    beyond = tree.children.get(body, [])
    if len(chain) < 4 or tree.body[chain[0].parent] != tree.root or not len(root):
        return False
    if not beyond or any(tree.children.get(j.child) for j in beyond):
        return False
    clear = float(root[:, 2].min()) > evidence.lowest + 0.4 * evidence.height
    low = float(evidence.outline(beyond)[:, 2].min()) < evidence.lowest + 0.03 * evidence.height
    inside = abs(float(evidence.origin(chain[0])[1])) < 0.25 * evidence.length(chain)
    return bool(clear and low and inside)


def _stands_on(evidence: Evidence, chains: Sequence[Sequence[Joint]]) -> bool:
    """Whether like chains start at all four corners of the root, all their tips alike below it."""
    if len({len(c) for c in chains}) > 1:
        return False
    places = np.array([evidence.origin(c[0])[:2] for c in chains])
    sides = np.round(np.sign(places - places.mean(axis=0)) * (np.ptp(places, axis=0) > 0.01))
    corners = {(x, y) for x, y in sides.astype(int).tolist() if x and y}
    tips = np.array([evidence.outline(c)[:, 2].min() for c in chains])
    root = evidence.points(evidence.tree.root)
    level = np.ptp(tips) < 0.05 * evidence.height
    return len(corners) == 4 and bool(level and len(root) and tips.max() < root[:, 2].min())


def _called(evidence: Evidence, body: str, children: Sequence[Joint]) -> Hand | None:
    """Children that are called finger, jaw ... and are no wrist."""
    tree = evidence.tree
    fingers = []
    for joint in children:
        subtree = tree.subtree(joint)
        own = evidence.own(joint)
        if (
            body != tree.root
            and evidence.says(FINGER, *own)
            and not evidence.says(WRIST, *own)
            and all(j.mimic or evidence.says(FINGER, *evidence.own(j)) for j in subtree)
        ):
            fingers.append(tuple(subtree))
    if not fingers:
        return None
    why = f"{fingers[0][0].name} on {body} is called a gripper"
    return Hand(body, tuple(fingers), why)


def _jaw(evidence: Evidence, body: str, children: Sequence[Joint]) -> Hand | None:
    """One short last link that turns beside a part of the link before it, as long as itself."""
    tree = evidence.tree
    movers = [j for j in children if j.mimic is None]
    if len(movers) != 1 or body == tree.root or not movers[0].turns or movers[0].unlimited:
        return None
    joint = movers[0]
    lower, upper = joint.range
    other = "|".join((WRIST, HEAD, LEG))
    if (
        any(j.mimic is None for j in tree.subtree(joint)[1:])
        or upper - lower > JAW_TURN
        or len(tree.chain(joint)) <= JAW_ARM
        or evidence.reach(joint) > FINGER_REACH
        or evidence.says(other, *evidence.own(joint))
    ):
        return None
    pivot, palm = evidence.origin(joint), evidence.points(body)
    beside = 0.0
    for q in np.linspace(lower, upper, 9):
        reach = evidence.points(joint.child, tree.poses({joint.name: float(q)})) - pivot
        if not len(reach) or not len(palm):
            return None
        far = reach[np.argmax(np.linalg.norm(reach, axis=1))]
        beside = max(beside, float(((palm - pivot) @ far).max() / (far @ far)))
    if beside < BESIDE:
        return None
    why = f"{joint.name} turns a link beside a part of {body} as long as itself"
    return Hand(body, (tuple(j for c in children for j in tree.subtree(c)),), why, sure=False)


@dataclass(frozen=True)
class FingerTips:
    """Points fixed to the last links of a hand's fingers.

    They are chosen where the fingers stand out farthest (all joints at their lower, middle or upper
    end): of the link that reaches farthest along the approach, the middle of its farthest fifth.

    Attributes:
        base: Body that carries the fingers.
        points: Link and ``(3,)`` point in it, for each finger.
    """

    base: str
    points: tuple[tuple[str, Array], ...]

    @classmethod
    def of(cls, evidence: Evidence, hand: Hand) -> FingerTips:
        outward = approach(evidence, hand)
        best: tuple[float, tuple[tuple[str, Array], ...]] = (-np.inf, ())
        for share in (0.5, 0.0, 1.0):
            q = {j.name: j.range[0] + share * (j.range[1] - j.range[0]) for j in hand.actuated}
            poses = evidence.tree.poses(q)
            to_base = se3.inverse(poses[hand.base])
            found = [_tip(evidence, finger, poses, to_base, outward) for finger in hand.fingers]
            height = float(np.mean([h for h, _, _ in found]))
            if height > best[0] + 1e-6:
                best = height, tuple((link, point) for _, link, point in found)
        return cls(hand.base, best[1])

    def at(self, evidence: Evidence, q: Mapping[str, float]) -> Array:
        """``(F, 3)`` tips in the hand's base frame."""
        poses = evidence.tree.poses(q)
        to_base = se3.inverse(poses[self.base])
        return np.array([se3.act(to_base @ poses[k], x[None])[0] for k, x in self.points])


def _tip(
    evidence: Evidence,
    finger: Sequence[Joint],
    poses: Mapping[str, Array],
    to_base: Array,
    outward: Array,
) -> tuple[float, str, Array]:
    """How far a finger stands out, the link that does, and its tip in that link."""
    best: tuple[float, str, Array] = (-np.inf, "", np.zeros(3))
    for joint in finger:
        cloud = se3.act(to_base, evidence.outline((joint,), poses))
        height = cloud @ outward
        if height.max() > best[0] + 1e-6:
            far = cloud[height >= height.max() - 0.2 * np.ptp(height) - 1e-9]
            middle = 0.5 * (far.min(axis=0) + far.max(axis=0))
            to_link = se3.inverse(to_base @ poses[joint.child])
            best = float(height.max()), joint.child, se3.act(to_link, middle[None])[0]
    return best


def approach(evidence: Evidence, hand: Hand) -> Array:
    """``(3,)`` unit vector from the wrist (or the fingers' roots) to the fingers.

    In the hand's base frame; near an axis of it, or of the last wrist joint, it is that axis.
    """
    tree = evidence.tree
    to_base = se3.inverse(evidence.poses[hand.base])
    cloud = se3.act(to_base, evidence.outline(hand.joints))
    start, axes = np.zeros(3), list(np.eye(3))
    if hand.base == tree.root:
        start = np.mean([tree.poses()[f[0].child][:3, 3] for f in hand.fingers], axis=0)
    elif tree.above[hand.base].turns:
        axes.insert(0, tree.above[hand.base].axis)
    direction = 0.5 * (cloud.min(axis=0) + cloud.max(axis=0)) - start
    if np.linalg.norm(direction) < 1e-3:
        return axes[0]
    direction = direction / np.linalg.norm(direction)
    near = next((a for a in axes if abs(direction @ a) > 0.8), None)
    return direction if near is None else np.sign(direction @ near) * near


def closed_and_open(evidence: Evidence, hand: Hand) -> tuple[dict[str, float], dict[str, float]]:
    """Positions of the actuated joints when closed and when open.

    As seen from the shapes; where nothing is to be seen, closed is the end nearer to zero.
    """
    closed, opened = seen_opening(evidence, hand)
    if closed == opened:
        for joint in hand.actuated:
            if not joint.unlimited:
                closed[joint.name], opened[joint.name] = sorted(map(float, joint.range), key=abs)
    return closed, opened


def seen_opening(evidence: Evidence, hand: Hand) -> tuple[dict[str, float], dict[str, float]]:
    """Positions of the actuated joints when closed and when open, equal where none shows.

    Each joint is closed at the end of its range that brings the finger tips together (a single
    jaw: nearer to the body that carries it), the other joints halfway. A range of more than half a
    turn is a placeholder; then the narrowest and widest posture within a quarter turn are taken.
    """
    ending = [j for j in hand.actuated if not j.unlimited]  # a turning indicator opens nothing
    movers = ending or list(hand.actuated)
    middle = {j.name: 0.0 if j.unlimited else float(np.mean(j.range)) for j in movers}
    closed = {j.name: 0.0 for j in hand.actuated}
    tips = FingerTips.of(evidence, hand)
    opened = dict(closed)
    for joint in movers:
        lower, upper = joint.range
        trial = np.array([lower, upper])
        if joint.turns and upper - lower > np.pi:
            trial = np.clip(np.linspace(-np.pi / 2, np.pi / 2, 19), lower, upper)
        spread = [_spread(evidence, tips, {**middle, joint.name: float(x)}) for x in trial]
        if np.ptp(spread) < NO_OPENING:
            continue
        closed[joint.name] = float(trial[np.argmin(spread)])
        opened[joint.name] = float(trial[np.argmax(spread)])
    return closed, opened


def _spread(evidence: Evidence, tips: FingerTips, q: Mapping[str, float]) -> float:
    points = tips.at(evidence, q)
    if len(points) > 1:
        return float(np.linalg.norm(points - points.mean(axis=0), axis=1).mean())
    palm = se3.act(se3.inverse(evidence.poses[tips.base]), evidence.points(tips.base))
    if not len(palm):
        return 0.0
    distance = np.sort(np.linalg.norm(palm - points[0], axis=1))
    return float(distance[: max(1, len(distance) // 4)].mean())
