"""Order and unit of joint columns by forward kinematics against a recorded tool pose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .kinematics import Chain, PoseFit, fit_pose, rotation_matrices, rotations_of, turning
from .layouts import GRIPPER

if TYPE_CHECKING:
    from .joints import JointSearch

Array = NDArray[np.float64]
ORDERS = 60_000  # that are tried
NEAREST = 60  # of them that are looked at closely


@dataclass(frozen=True)
class Candidate:
    """An order of joints (place -> target), their unit, and how the tool's rotation is written."""

    order: dict[int, str]
    unit: str
    rotation: str


class PoseOrders:
    """Tries orders and units of a column.

    Args:
        search: The column.
        guess: Place -> target, if the numbers without names are in the usual order.
        unnamed: Places of those.
    """

    def __init__(self, search: JointSearch, guess: dict[int, str], unnamed: list[int]) -> None:
        self.search, self.guess, self.unnamed = search, guess, unnamed
        self.model, self.robot = search.model, search.robot
        self.slots, self.values, self.units = search.slots, search.values, search.units

    def best(self) -> tuple[dict[int, str], str, PoseFit, bool] | None:
        """Order, unit, frames, and whether nothing else meets a recorded pose; None: none does."""
        for arm, recorded in self.search.poses.items():
            chain = Chain(self.model, arm)
            if {*chain.joints} <= {*self.guess.values()}:
                found = self._of_arm(chain, recorded)
                if found:
                    return found
        return None

    def _of_arm(
        self, chain: Chain, recorded: Array
    ) -> tuple[dict[int, str], str, PoseFit, bool] | None:
        usual = [Candidate(self.guess, u, r) for u in self.units for r in self._rotations(recorded)]
        best = self._best_fit(usual, chain, recorded)
        if best:
            return (*best, True)
        mine = [
            i
            for i in self.unnamed
            if self.guess[i] in chain.joints or self.guess[i].startswith(GRIPPER)
        ]
        if len(mine) < len(chain.joints) or len(self.robot.arms) > 1:
            return None
        ranked = [r for u in self.units for r in self._rank(u, mine, chain, recorded)]
        ranked.sort(key=lambda r: r[0])
        # parallel axes turn the tool alike in any order: only positions tell them apart
        near = [c for error, c in ranked if error < 1.5 * ranked[0][0] + 0.01][:NEAREST]
        best = self._best_fit(near, chain, recorded)
        if best is None:
            return None
        rivals = [c for c in near if c.order != best[0]]
        return (*best, self._best_fit(rivals, chain, recorded) is None)

    def _rotations(self, recorded: Array) -> list[str]:
        return rotations_of(recorded[:, 3:]) or [""]

    def _positions(self, order: Mapping[int, str], unit: str, chain: Chain, rows: Array) -> Array:
        place = {t: i for i, t in order.items()}
        return np.column_stack(
            [
                self.search.line(unit, j, self.slots[place[j]])(self.values[rows, place[j]])
                for j in chain.joints
            ]
        )

    def _best_fit(
        self, candidates: Sequence[Candidate], chain: Chain, recorded: Array
    ) -> tuple[dict[int, str], str, PoseFit] | None:
        rows = np.linspace(0, len(recorded) - 1, min(100, len(recorded))).astype(int)
        found: list[tuple[float, int, Candidate, PoseFit]] = []
        for c in candidates:
            T = chain(self._positions(c.order, c.unit, chain, rows))
            fit = fit_pose(recorded[rows], c.rotation, T)
            if fit.good and self.search.travel(c.unit, c.order) >= self.search.moves:
                found.append((fit.distance + fit.angle, len(found), c, fit))
        if not found:
            return None
        _, _, best, fit = min(found, key=lambda f: f[:2])
        return best.order, best.unit, fit

    def _rank(
        self,
        unit: str,
        mine: list[int],
        chain: Chain,
        recorded: Array,
    ) -> list[tuple[float, Candidate]]:
        """Orders by how well angles between frames (or distances) agree, for a few frames."""
        rows = np.linspace(0, len(recorded) - 1, 16).astype(int)
        targets = [self.guess[i] for i in mine]
        allowed = {
            i: [t for t in targets if t.startswith(GRIPPER) or self.search.fits(unit, i, t)]
            for i in mine
        }
        orders = list(itertools.islice(orders_of(allowed), ORDERS + 1))
        if not orders or len(orders) > ORDERS:
            return []
        joints = list(chain.joints)
        place = np.array(
            [[next(i for i, t in o.items() if t == j) for j in joints] for o in orders]
        )
        lines = {(i, j): self.search.line(unit, j, self.slots[i]) for i in mine for j in joints}
        scale = np.array(
            [[lines[i, j].scale for i, j in zip(p, joints, strict=True)] for p in place]
        )
        offset = np.array(
            [[lines[i, j].offset for i, j in zip(p, joints, strict=True)] for p in place]
        )
        q = self.values[rows][:, place] * scale + offset  # (16, orders, k)
        out = []
        for start in range(0, len(orders), 4000):
            T = chain(q[:, start : start + 4000].transpose(1, 0, 2))  # (orders, 16, 4, 4)
            for rotation in self._rotations(recorded):
                error = _disagreement(T, recorded[rows], rotation)
                for k in np.argsort(error)[:40]:
                    order = {**self.guess, **orders[start + k]}
                    out.append((float(error[k]), Candidate(order, unit, rotation)))
        return out


def _disagreement(T: Array, recorded: Array, rotation: str) -> Array:
    """``(orders,)`` mean difference of angles between frames, or of distances for positions."""
    half = len(recorded) // 2
    if not rotation:
        d = np.linalg.norm(T[:, :half, :3, 3] - T[:, half:, :3, 3], axis=-1)
        truth = np.linalg.norm(recorded[:half, :3] - recorded[half:, :3], axis=-1)
        return np.asarray(np.abs(d - truth).mean(axis=1))
    truth = turning(rotation_matrices(recorded[:, 3:], rotation))
    R = T[..., :3, :3]
    cosine = np.einsum("onij,onij->on", R[:, :half], R[:, half:])
    angles = np.arccos(np.clip((cosine - 1) / 2, -1, 1))
    return np.asarray(np.abs(angles - truth).mean(axis=1))


def orders_of(allowed: Mapping[int, list[str]]) -> Iterator[dict[int, str]]:
    """Orders in which every number has another of its allowed targets."""
    places = sorted(allowed, key=lambda i: len(allowed[i]))

    def go(k: int, taken: dict[int, str]) -> Iterator[dict[int, str]]:
        if k == len(places):
            yield dict(taken)
            return
        for t in allowed[places[k]]:
            if t not in taken.values():
                yield from go(k + 1, {**taken, places[k]: t})

    yield from go(0, {})
