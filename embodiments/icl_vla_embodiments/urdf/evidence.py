"""What can be seen in a robot description: words of the trade, shapes, places.

Words are evidence beside topology and geometry. A token that nearly every joint carries (a maker's
or a model's prefix) says nothing about one of them and is dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np

from ..geometry import Hull
from ..types import Array
from .tree import Joint, KinematicTree

LEG = (
    r"leg|hip|coxa|thigh|calf|knee|ankle|foot|feet|toe|shank|shin|tarsus|femur|tibia|haa|hfe|kfe"
    r"|abad"
)
ARM = r"arm|forearm|shoulder|elbow|wrist|hand|bicep|clavicle|scap|gripper|bracelet"
HEAD = r"head|neck|eye|eyes|camera|cam|pan|tilt|laser|lidar|hokuyo|velodyne|sensor|face|chest"
FINGER = r"finger|fingers|gripper|thumb|jaw|claw|knuckle|pinky|grasper|tong|pinch|carriage"
WRIST = r"yaw|roll|pitch|rotate|rotation|wrist|arm|shoulder|elbow|extension|spin"
WHEEL = r"wheel|wheels|tire|tyre"
CASTER = r"caster|castor|passive|swivel"
STEERING = r"steering|steer|handlebar|fork|ackermann"
ROTOR = r"rotor|rotors|propeller|prop|thruster"
FLYING = r"flying|aerial|quadrotor|multirotor|hexacopter|quadcopter|octocopter|uav|drone"
STUB = r"spring|rod|achilles|plantar|passive|dummy"
_LONG = 4  # letters from which a word is found inside a longer token ("leftfoot")


def tokens(name: str) -> list[str]:
    """Lower-case words of a name: split at punctuation, digits and camel case."""
    spaced = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", name)
    return re.findall(r"[a-z]+", spaced.lower())


class Evidence:
    """A kinematic tree with its hulls and zero pose, and questions about them."""

    def __init__(self, tree: KinematicTree, hulls: Mapping[str, Sequence[Hull]]) -> None:
        self.tree, self.hulls = tree, hulls
        self.poses = tree.poses()
        counts = Counter(t for j in tree.moving for t in {*tokens(j.name)})
        n = len(tree.moving)
        self.common = {t for t, k in counts.items() if n >= 3 and k >= 0.8 * n}

    def words(self, names: Iterable[str]) -> list[str]:
        return [t for name in names for t in tokens(name) if t not in self.common]

    def says(self, pattern: str, *names: str) -> bool:
        """Whether a word of ``pattern`` stands in one of the names."""
        words = pattern.split("|")
        return any(
            token == word or (len(word) >= _LONG and word in token)
            for token in self.words(names)
            for word in words
        )

    def called(self, pattern: str, *names: str) -> bool:
        """Whether a whole word of ``pattern`` stands in a name, be it common to all or not."""
        return bool({*pattern.split("|")} & {t for name in names for t in tokens(name)})

    @cached_property
    def nameless(self) -> bool:
        """Whether hardly any moving joint or link is called by a word of the trade."""
        trade = "|".join((LEG, ARM, HEAD, FINGER, WHEEL, CASTER, ROTOR))
        told = sum(self.says(trade, *self.own(j)) for j in self.tree.moving)
        return told < 0.2 * max(len(self.tree.moving), 1)

    def own(self, joint: Joint) -> tuple[str, str]:
        """The joint's name and its child link's."""
        return joint.name, joint.child

    def names(self, joint: Joint) -> list[str]:
        """The joint's name and those of all links of the body that it moves."""
        return [joint.name, *self.tree.members[joint.child]]

    def origin(self, joint: Joint) -> Array:
        """``(3,)`` at zero, in the root frame."""
        return self.poses[joint.child][:3, 3]

    def axis(self, joint: Joint) -> Array:
        """``(3,)`` at zero, in the root frame."""
        return self.poses[joint.child][:3, :3] @ joint.axis

    def points(self, body: str, poses: Mapping[str, Array] | None = None) -> Array:
        """``(N, 3)`` hull vertices of a body's links, in the root frame."""
        at = self.poses if poses is None else poses
        parts = [
            h.moved(at[link]) for link in self.tree.members[body] for h in self.hulls.get(link, ())
        ]
        return np.concatenate(parts) if parts else np.zeros((0, 3))

    def outline(self, joints: Iterable[Joint], poses: Mapping[str, Array] | None = None) -> Array:
        """``(N, 3)`` hull vertices and frame origins of the bodies that joints move."""
        at = self.poses if poses is None else poses
        parts = [np.zeros((0, 3))]
        for joint in joints:
            parts += [at[link][None, :3, 3] for link in self.tree.members[joint.child]]
            parts.append(self.points(joint.child, poses))
        return np.concatenate(parts)

    def reach(self, joint: Joint) -> float:
        """Farthest point beyond a joint from it, at zero [m]."""
        cloud = self.outline(self.tree.subtree(joint))
        return float(np.linalg.norm(cloud - self.origin(joint), axis=1).max())

    def length(self, chain: Sequence[Joint]) -> float:
        """Length of the polyline through a chain's joints [m]."""
        line = np.array([self.origin(j) for j in chain])
        return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())

    @cached_property
    def cloud(self) -> Array:
        """``(N, 3)`` of the whole robot at zero."""
        root = [self.points(self.tree.root), np.zeros((1, 3))]
        return np.concatenate([*root, self.outline(self.tree.moving)])

    @cached_property
    def lowest(self) -> float:
        return float(self.cloud[:, 2].min())

    @cached_property
    def height(self) -> float:
        return float(np.ptp(self.cloud[:, 2]))

    def horizontal(self, joint: Joint) -> bool:
        return abs(float(self.axis(joint)[2])) < 0.35

    def roundness(self, joint: Joint, *carried: Joint) -> tuple[float, bool]:
        """Largest radius [m] of a body about its joint's axis, and whether it looks like a disc.

        ``carried`` are joints beyond whose bodies count as parts of it.
        """
        parts = [self.points(j.child) for j in (joint, *carried)]
        points = np.concatenate(parts) - self.origin(joint)
        if not len(points):
            return 0.0, False
        axis = self.axis(joint)
        along = points @ axis
        radial = points - along[:, None] * axis
        radius = np.linalg.norm(radial, axis=1)
        u = np.linalg.svd(axis[None])[2][1:]
        sector = (np.arctan2(radial @ u[1], radial @ u[0]) // (np.pi / 4)).astype(int)
        rims = [radius[sector == k].max(initial=0.0) for k in range(-4, 4)]
        largest = float(radius.max())
        disc = min(rims) > 0.8 * largest and np.ptp(along) < 3 * largest
        return largest, bool(disc)
