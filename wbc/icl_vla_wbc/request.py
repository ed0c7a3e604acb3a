"""What a caller of the controller asks for, read once and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import TaskTarget, se3
from icl_vla_embodiments.types import Array

from .errors import WbcError
from .reference import TargetPath

Weights = ArrayLike | Mapping[str, ArrayLike]
ROTATION_TOLERANCE = 1e-3  # of R^T R from the identity; float32 poses pass


@dataclass(frozen=True)
class Request:
    """Targets of one effector.

    Attributes:
        times: ``(M,)`` seconds from now at which the poses are due.
        poses: ``(M, 4, 4)`` in the base frame; None to stay.
        posture: ``(n,)`` actuated positions preferred or, without poses, demanded.
        grippers: Effector -> opening, of the target that is due next.
        twist: ``(6,)`` velocity in the base frame with which the effector goes on, from the last
            pose or from where it is; None to rest there.
    """

    times: Array
    poses: Array | None
    posture: Array | None
    grippers: dict[str, float]
    twist: Array | None = None

    @property
    def moves(self) -> bool:
        """Whether the effector has something to do."""
        return self.poses is not None or self.twist is not None

    def path(self, here: Array, span: float) -> TargetPath:
        """The motion that is asked for.

        Args:
            here: ``(4, 4)`` where the reference is now; it starts there if nothing is due before.
            span: For how long a twist goes on [s].
        """
        times, poses = np.zeros(1), here[None]
        if self.poses is not None:
            times, poses = self.times, self.poses
            if times[0] > 0:
                times = np.concatenate([[0.0], times])
                poses = np.concatenate([here[None], poses])
        if self.twist is None:
            return TargetPath(times, poses)
        # geodesics take the short way round, so a fast turn needs places in between
        turn = self.twist[3:]
        ahead = np.linspace(0, span, 2 + int(span * np.linalg.norm(turn) / 2))[1:]
        way = np.tile(poses[-1], (len(ahead), 1, 1))
        way[:, :3, 3] += ahead[:, None] * self.twist[:3]
        way[:, :3, :3] = [se3.exp3(t * turn) for t in ahead] @ poses[-1][:3, :3]
        return TargetPath(np.concatenate([times, times[-1] + ahead]), np.concatenate([poses, way]))

    @classmethod
    def read(
        cls,
        targets: Sequence[TaskTarget],
        times: ArrayLike | None,
        effector: str,
        period: float,
        n: int,
    ) -> Request | None:
        """The request, or None where a number in it is not finite or a pose is no rigid motion.

        Raises:
            WbcError: The times do not fit the targets or do not increase, or a posture or a twist
                has the wrong length.
        """
        if targets is None or any(target is None for target in targets):
            return None
        due = np.zeros(1) if times is None else np.atleast_1d(np.asarray(times, dtype=float))
        if not np.isfinite(due).all():
            return None
        if len(targets) and len(due) != len(targets):
            raise WbcError(
                "each target needs its time",
                where="times",
                value=len(due),
                valid=(len(targets),),
                remedy="pass one target alone, or times=[seconds from now, ...]",
            )
        if len(due) > 1 and not (np.diff(due) > 0).all():
            raise WbcError("times must increase", where="times", value=due.tolist())
        if not len(targets):
            return cls(due, None, None, {})
        present = targets[min(int(np.searchsorted(due, period)), len(targets) - 1)]
        posed = [i for i, target in enumerate(targets) if effector in target.poses]
        poses = None
        if posed:
            poses = np.array([targets[i].poses[effector] for i in posed], dtype=float)
            if not rigid(poses):
                return None
            due = due[posed]
        # beside poses a twist says how to go on from the last; alone, the one due next is held
        holder = targets[posed[-1]] if posed else present
        twist = _sized(holder.twists.get(effector), 6, f"targets.twists[{effector!r}]")
        posture = _sized(present.posture, n, "targets.posture")
        grippers = {name: float(opening) for name, opening in present.grippers.items()}
        if not np.isfinite(list(grippers.values())).all():
            return None
        if any(x is not None and not np.isfinite(x).all() for x in (posture, twist)):
            return None
        return cls(due, poses, posture, grippers, twist)


def _sized(value: ArrayLike | None, n: int, where: str) -> Array | None:
    """``(n,)`` numbers, if there are any.

    Raises:
        WbcError: There are more or fewer.
    """
    if value is None:
        return None
    numbers = np.asarray(value, dtype=float)
    if numbers.shape != (n,):
        raise WbcError(
            "a target has another number of entries", where=where, value=numbers.shape, valid=(n,)
        )
    return numbers


def rigid(poses: Array) -> bool:
    """Whether every matrix is a rigid motion; NaN and infinity are not."""
    R = poses[:, :3, :3]
    off = np.abs(R.transpose(0, 2, 1) @ R - np.eye(3)).max()
    return bool(
        off < ROTATION_TOLERANCE
        and np.isfinite(poses[:, :3]).all()
        and (np.linalg.det(R) > 0).all()
    )


def read_requests(
    targets: Sequence[TaskTarget],
    times: ArrayLike | None,
    effectors: Sequence[str],
    period: float,
    n: int,
) -> dict[str, Request] | None:
    """What is asked of each effector, or None where it is no good; see :meth:`Request.read`.

    Without effectors the one entry, of no name, has the posture and the grippers.

    Raises:
        WbcError: Also where a pose or a twist is asked of another effector.
    """
    requests = {}
    for effector in effectors or ("",):
        request = Request.read(targets, times, effector, period, n)
        if request is None:
            return None
        requests[effector] = request
    unknown = {e for t in targets for e in (*t.poses, *t.twists) if e not in requests}
    if unknown:
        raise WbcError(
            "a pose or a twist is asked of what is not controlled",
            where="targets",
            value=sorted(unknown),
            valid=effectors,
        )
    return requests


def hand_factors(weights: Weights | None, effectors: Sequence[str]) -> dict[str, Array]:
    """Effector -> factors ``(6,)`` or ``(6, 6)`` on its residual, ones where none are asked for.

    Raises:
        WbcError: There are other numbers of factors.
    """
    given = weights if isinstance(weights, Mapping) else dict.fromkeys(effectors, weights)
    factors = {}
    for effector in effectors:
        asked = given.get(effector)
        found = np.ones(6) if asked is None else np.asarray(asked, dtype=float)
        if found.shape not in ((6,), (6, 6)):
            raise WbcError(
                "six weights are needed", where="weights", value=found.shape, valid=((6,), (6, 6))
            )
        factors[effector] = found
    return factors
