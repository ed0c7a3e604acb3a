"""Which pairs of links are worth checking for collision."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import coal
import numpy as np

from ..geometry import Hull
from ..types import Array
from .tree import KinematicTree

SAMPLES = 60
SOLE = 0.006  # [m] above the lowest point that still belongs to a sole
ALWAYS = 0.9  # share of random postures in which a pair touches that is taken to touch always


class CollisionScene:
    """Hulls of a tree as convex bodies, to be asked which links touch."""

    def __init__(self, tree: KinematicTree, hulls: Mapping[str, Sequence[Hull]]) -> None:
        self.tree = tree
        self.links = [link for link in tree.links if hulls.get(link)]
        self._row = {link: k for k, link in enumerate(self.links)}
        self._bodies = [[convex_body(h) for h in hulls[link]] for link in self.links]
        spheres = [_sphere(hulls[link]) for link in self.links]
        self._centres = np.array([centre for centre, _ in spheres]).reshape(-1, 3)
        self._radii = np.array([radius for _, radius in spheres])
        at = tree.poses()
        root = [h.moved(at[a]) for a in tree.members[tree.root] for h in hulls.get(a, ())]
        self.floor = float(min((p[:, 2].min() for p in root), default=0.0))  # of the root body [m]
        self.hulls = hulls
        self._request, self._result = coal.CollisionRequest(), coal.CollisionResult()

    def touching(
        self, poses: Mapping[str, Array], pairs: Sequence[tuple[str, str]]
    ) -> list[tuple[str, str]]:
        """The pairs whose hulls overlap."""
        pairs = [p for p in pairs if p[0] in self._row and p[1] in self._row]
        if not pairs:
            return []
        R = np.array([poses[link][:3, :3] for link in self.links])
        p = np.array([poses[link][:3, 3] for link in self.links])
        centres = np.einsum("nij,nj->ni", R, self._centres) + p
        one, other = np.array([(self._row[a], self._row[b]) for a, b in pairs]).T
        apart = np.linalg.norm(centres[one] - centres[other], axis=1)
        near = np.flatnonzero(apart < self._radii[one] + self._radii[other])
        placed = {
            k: coal.Transform3s(R[k], p[k]) for k in {*one[near].tolist(), *other[near].tolist()}
        }
        return [pairs[i] for i in near if self._touch(int(one[i]), int(other[i]), placed)]

    def sole(self, link: str, poses: Mapping[str, Array]) -> Array:
        """Middle ``(3,)`` of what is lowest of a link and all that is fixed to it."""
        members = self.tree.members[self.tree.body[link]]
        parts = [h.moved(poses[a]) for a in members for h in self.hulls.get(a, ())]
        if not parts:
            return poses[link][:3, 3]
        cloud = np.concatenate(parts)
        lowest = cloud[cloud[:, 2] < cloud[:, 2].min() + SOLE]
        return 0.5 * (lowest.min(axis=0) + lowest.max(axis=0))

    def _touch(self, a: int, b: int, placed: Mapping[int, object]) -> bool:
        for one, other in itertools.product(self._bodies[a], self._bodies[b]):
            self._result.clear()
            if coal.collide(one, placed[a], other, placed[b], self._request, self._result):
                return True
        return False


def convex_body(hull: Hull) -> object:
    """A hull for coal."""
    points = coal.StdVec_Vec3s()
    for vertex in hull.vertices:
        points.append(vertex)
    faces = coal.StdVec_Triangle()
    for face in hull.faces:
        faces.append(coal.Triangle(*(int(i) for i in face)))
    return coal.Convex(points, faces)


def _sphere(hulls: Sequence[Hull]) -> tuple[Array, float]:
    points = np.concatenate([h.vertices for h in hulls])
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    return centre, float(np.linalg.norm(points - centre, axis=1).max())


def collision_pairs(scene: CollisionScene, seed: int = 0) -> tuple[tuple[str, str], ...]:
    """Pairs of links that can move against each other and do not touch always.

    Left out: links of one body, of bodies that one joint joins, of a telescope, and pairs that
    touch in at least ``ALWAYS`` of the sampled postures (nested housings, parallel linkages).
    """
    tree = scene.tree
    rng = np.random.default_rng(seed)
    joined = {(tree.body[j.parent], j.child) for j in tree.moving}
    pairs = []
    for a, b in itertools.combinations(scene.links, 2):
        one, other = tree.body[a], tree.body[b]
        if one == other or (one, other) in joined or (other, one) in joined:
            continue
        if not _telescoping(tree, one, other):
            pairs.append((a, b))
    movers = [j for j in tree.moving if j.mimic is None]
    hits = dict.fromkeys(pairs, 0)
    samples = max(10, min(SAMPLES, 40_000 // max(1, len(pairs))))
    for _ in range(samples):
        q = {j.name: float(rng.uniform(*j.range)) for j in movers}
        for pair in scene.touching(tree.poses(q), pairs):
            hits[pair] += 1
    return tuple(p for p in pairs if hits[p] < ALWAYS * samples)


def _telescoping(tree: KinematicTree, one: str, other: str) -> bool:
    """Whether only prismatic joints of one chain lie between two bodies."""
    ways = [
        {j.name for j in tree.chain(tree.above[body])} if body != tree.root else set()
        for body in (one, other)
    ]
    nested = ways[0] <= ways[1] or ways[1] <= ways[0]
    return nested and all(tree.joints[n].type == "prismatic" for n in ways[0] ^ ways[1])
