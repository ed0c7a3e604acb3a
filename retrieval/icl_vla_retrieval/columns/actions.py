"""How well a possibility explains an action: the statistics behind :mod:`.action_columns`.

Each possibility predicts the action from what was measured. With ``q`` measured and ``a`` the
action, the one that explains the action's variance best is taken::

    absolute    a_t = s q_(t+k) + b          k up to 0.3 s: a robot follows its command late
    change      a_t = s (q_(t+k) - q_(t+k-1))
                (for a tool pose, in the axes of the base or of the tool)

``s`` is the unit; a change per second is a velocity.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from icl_vla_embodiments import se3

from .kinematics import PoseFit, fit_pose, rotation_matrices
from .pool import Pool

Array = NDArray[np.float64]
LATEST = 0.3  # [s] by which a robot follows its command at most
ROTATIONS_OF_WIDTH = {
    0: [""],
    3: ["rotvec", "euler_xyz"],
    4: ["quat_xyzw", "quat_wxyz"],
    6: ["rot6d"],
}


@dataclass(frozen=True)
class Explanation:
    """How well one possibility explains the numbers of an action.

    Attributes:
        what: "joints" or "pose".
        reference: "absolute" or "delta".
        share: ``(D,)`` share of the variance explained, at most 1; NaN where a number never moves.
        slope: ``(D,)`` native numbers per rad or m.
        lag: Frames by which the robot follows.
        frame: For changes of a pose: "base" or "body".
        rotation: For poses: how the rotation is written.
        fit: For absolute poses: the frames.
    """

    what: str
    reference: str
    share: Array
    slope: Array
    lag: int = 1
    frame: str = "base"
    rotation: str = ""
    fit: PoseFit | None = None

    @property
    def score(self) -> float:
        good = self.share[np.isfinite(self.share)]
        return float(np.clip(good, 0, 1).mean()) if len(good) else 0.0


def lags(rate: float) -> list[int]:
    """Frames after which a robot may have followed its command."""
    return sorted({1 + round(rate * LATEST * share) for share in (0, 0.1, 0.2, 0.35, 0.5, 0.75, 1)})


def regress(a: Array, x: Array, *, through_zero: bool) -> tuple[float, float]:
    """Share of ``a``'s variance that ``s x (+ b)`` explains, and ``s``."""
    if len(a) < 3 or a.std() < 1e-9:
        return float("nan"), float("nan")
    dx, da = (x, a) if through_zero else (x - x.mean(), a - a.mean())
    power = float(dx @ dx)
    if power < 1e-18:
        return 0.0, float("nan")
    slope = float(dx @ da) / power
    if slope <= 0:  # nothing moves against its command
        return 0.0, float("nan")
    left = da - slope * dx
    spread = a - a.mean()
    return 1.0 - float(left @ left) / float(spread @ spread), slope


def joint_levels(pool: Pool, a: Array, q: Array, late: Sequence[int]) -> Explanation:
    """Numbers ``a`` ``(N, D)`` by positions ``q`` ``(N, D)``, ``late`` frames later."""
    each = [(k, pool.pairs(k), q[pool.pairs(k) + k]) for k in late]
    return _best("joints", "absolute", a, each)


def joint_changes(pool: Pool, a: Array, q: Array, late: Sequence[int]) -> Explanation:
    """Numbers ``a`` by later changes of ``q``."""
    each = [(k, pool.pairs(k), q[pool.pairs(k) + k] - q[pool.pairs(k) + k - 1]) for k in late]
    return _best("joints", "delta", a, each)


def pose_changes(pool: Pool, a: Array, T: Array, late: Sequence[int], frame: str) -> Explanation:
    """Three or six numbers of a change of pose by later changes of poses ``T`` ``(N, 4, 4)``."""
    each = []
    for k in late:
        rows = pool.pairs(k)
        A, B = T[rows + k - 1], T[rows + k]
        move = B[:, :3, 3] - A[:, :3, 3]
        turn = B[:, :3, :3] @ A[:, :3, :3].swapaxes(-1, -2)
        if frame == "body":
            R = A[:, :3, :3]
            move = np.einsum("nji,nj->ni", R, move)
            turn = R.swapaxes(-1, -2) @ turn @ R
        each.append((k, rows, np.concatenate([move, se3.log3(turn)], axis=1)[:, : a.shape[1]]))
    found = _best("pose", "delta", a, each)
    rotation = "rotvec" if a.shape[1] == 6 else ""
    return Explanation(
        "pose", "delta", found.share, found.slope, found.lag, frame=frame, rotation=rotation
    )


def pose_levels(
    pool: Pool,
    a: Array,
    T: Array,
    late: Sequence[int],
    rotations: Sequence[str],
    frames: Sequence[PoseFit],
) -> Explanation:
    """A position and a rotation by later poses ``T`` of our tool.

    Args:
        pool: The recordings.
        a: ``(N, 3 + k)``.
        T: ``(N, 4, 4)``.
        late: Frames after which the robot may have followed.
        rotations: How the ``k`` numbers may be a rotation.
        frames: Frames that it may be in; others are fitted only where these explain too little.
    """
    best: Explanation | None = None
    for k, rotation in itertools.product(late, rotations):
        rows = pool.pairs(k)
        if len(rows) < 3:
            continue
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), 400)).astype(int)]
        if not _writable(a[rows, 3:], rotation):
            continue
        fits = [_residual(a[rows], rotation, T[rows + k], f) for f in frames]
        found = [_explained(a[rows], rotation, k, f) for f in fits]
        if max(e.score for e in found) < 0.8:
            found.append(_explained(a[rows], rotation, k, fit_pose(a[rows], rotation, T[rows + k])))
        own = max(found, key=lambda e: e.score)
        if best is None or own.score > best.score + 1e-4:
            best = own
    nothing = np.zeros(a.shape[1])
    return best or Explanation("pose", "absolute", nothing, nothing)


def _residual(a: Array, rotation: str, T: Array, frames: PoseFit) -> PoseFit:
    """What is left of recorded poses in given frames."""
    theirs = frames.X @ T @ frames.Y
    distance = float(np.sqrt(((a[:, :3] - theirs[:, :3, 3]) ** 2).sum(1).mean()))
    angle = 0.0
    if rotation:
        R = rotation_matrices(a[:, 3:], rotation)
        turn = se3.log3(theirs[:, :3, :3].swapaxes(-1, -2) @ R)
        angle = float(np.sqrt((turn**2).sum(1).mean()))
    return PoseFit(rotation, frames.X, frames.Y, distance, angle)


def _explained(a: Array, rotation: str, k: int, fit: PoseFit) -> Explanation:
    """Shares of a pose's variance that a fit explains: of the position's, and the rotation's."""
    power = float(((a[:, :3] - a[:, :3].mean(0)) ** 2).sum(1).mean())
    share = [1 - fit.distance**2 / power if power > 1e-12 else np.nan] * 3
    if rotation:
        R = rotation_matrices(a[:, 3:], rotation)
        mean = se3.project_rotation(R.mean(0))
        turned = float((se3.log3(mean.T @ R) ** 2).sum(1).mean())
        share += [1 - fit.angle**2 / turned if turned > 1e-8 else np.nan] * (a.shape[1] - 3)
    ones = np.ones(a.shape[1])
    return Explanation("pose", "absolute", np.array(share), ones, k, "base", rotation, fit)


def _writable(x: Array, rotation: str) -> bool:
    """Whether numbers can be a rotation of this kind at all."""
    if rotation.startswith("quat"):
        return bool(np.abs(np.linalg.norm(x, axis=1) - 1).max() < 0.05)
    if rotation == "rot6d":
        return bool(np.linalg.norm(x[:, :3], axis=1).min() > 0.5)
    return True


def _best(
    what: str, reference: str, a: Array, each: Sequence[tuple[int, NDArray[np.int64], Array]]
) -> Explanation:
    """The lag that explains most."""
    found = []
    for k, rows, x in each:
        if len(rows) < 3:
            continue
        fits = [
            regress(a[rows, d], x[:, d], through_zero=reference == "delta")
            for d in range(a.shape[1])
        ]
        share, slope = (np.array(v, dtype=float) for v in zip(*fits, strict=True))
        found.append(Explanation(what, reference, share, slope, k))
    nothing = np.zeros(a.shape[1])
    return max(
        found,
        key=lambda e: round(e.score, 4),
        default=Explanation(what, reference, nothing, nothing),
    )


def assignment(
    pool: Pool, a: Array, q: Array, late: Sequence[int], *, changes: bool
) -> tuple[list[int], float, bool]:
    """Which columns of ``q`` ``(N, k)`` the numbers ``a`` ``(N, D)`` follow, one each; D <= k.

    Returns:
        Column of q for each number; share of the variance explained; whether every other
        assignment explains clearly less.
    """
    shares = np.zeros((a.shape[1], q.shape[1]))
    for k in late:
        rows = pool.pairs(k)
        x = q[rows + k] - q[rows + k - 1] if changes else q[rows + k]
        for d, j in itertools.product(range(a.shape[1]), range(q.shape[1])):
            share, slope = regress(a[rows, d], x[:, j], through_zero=changes)
            if np.isfinite(share) and slope > 0:
                shares[d, j] = max(shares[d, j], share)
    rows_, columns = linear_sum_assignment(-shares)
    total = shares[rows_, columns].sum()
    clear = True
    for d, j in zip(rows_, columns, strict=True):
        rivals = shares.copy()
        rivals[d, j] = -10.0
        r, c = linear_sum_assignment(-rivals)
        clear = clear and rivals[r, c].sum() < total - 0.05
    return columns.tolist(), float(total / max(len(rows_), 1)), bool(clear)
