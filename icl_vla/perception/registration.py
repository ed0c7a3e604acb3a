"""How far a thing is turned between a demonstration and now, and moved between two looks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from icl_vla_embodiments import se2, se3
from icl_vla_embodiments.types import Array

_STEPS = 36
_ANGLES = np.linspace(-np.pi, np.pi, _STEPS, endpoint=False)  # [rad]
_TURNS = se3.yaw(_ANGLES)
_AMBIGUOUS = 1.3  # a residual this many times the best one explains the view as well
_LONG = 2.0  # times as long as wide, from which the axis tells the turn better
_NEAR = np.deg2rad(15)  # of the best fit; farther off, parts of it are hidden
_ROUNDING = 1e-6  # [m] that a perfect fit may be off
_ITERATIONS = 20
_SETTLED = 2e-4  # [m]; less is no step
_LAYINGS = 10
_MEETS = 0.012  # [m] from a surface within which a point is one of it
_FAR = 0.02  # [m] from a surface: a point there is of something else
_HELD = 1e-3  # weight of not moving at all, next to that of the points
_PLANE = 12  # points about one that tell the plane there
_STIFF = 0.05  # of a thing's width by which turns are held back


def relative_yaw(then: Array, now: Array) -> tuple[float, bool]:
    """Rotation about the vertical that turns one surface cloud into another.

    Chamfer distance of the clouds' footprints (horizontal projections, centred) over 10 degree
    steps, refined by a parabola; of what is long by the long axes, which tell it better. A square,
    or anything with symmetry, fits at several angles: the smallest turn is taken, since equal fits
    mean equal grasps. A disc fits at all: then the turn is ambiguous and 0.

    Args:
        then: ``(P, 3)`` cloud in the demonstration [m].
        now: ``(P, 3)`` cloud in the present scene [m].

    Returns:
        The yaw [rad] and whether the views resolve it.
    """
    squared = turned_apart(centred(then)[:, :2], centred(now)[:, :2])
    residual = mean_least(squared, 1) + mean_least(squared, 2)
    best = residual.min()
    if residual.max() < 1.25 * best + _ROUNDING:
        return 0.0, False
    local = (residual <= np.roll(residual, 1)) & (residual <= np.roll(residual, -1))
    fits = np.flatnonzero(local & (residual <= _AMBIGUOUS * best + _ROUNDING))
    turn = refined(residual, int(fits[np.argmin(np.abs(_ANGLES[fits]))]))
    (before, long), (after, too) = _axis(then), _axis(now)
    off = 0.5 * se2.wrap(2 * (after - before - turn))  # an axis has two directions
    told = min(long, too) > _LONG and abs(off) < _NEAR
    return float(turn + off * told), True


def _axis(cloud: Array) -> tuple[float, float]:
    """Direction of the long axis of a footprint [rad], and how many times as long it is."""
    flat = cloud[:, :2] - cloud[:, :2].mean(axis=0)
    _, widths, axes = np.linalg.svd(flat, full_matrices=False)
    direction = float(np.arctan2(axes[0, 1], axes[0, 0]))
    return direction, float(widths[0] / max(widths[1], _ROUNDING))


def misfit(then: Array, now: Array) -> float:
    """How far two surfaces on a table are from each other, next to their width; 0 where they match.

    However they are turned about the vertical, and wherever they stand.

    Args:
        then: ``(P, 3)`` [m].
        now: ``(Q, 3)`` [m].
    """
    a, b = (c - [0.0, 0.0, c[:, 2].min()] for c in (centred(then), centred(now)))
    squared = turned_apart(a, b)
    best = int(np.argmin(mean_least(squared, 1) + mean_least(squared, 2)))
    a = centred(a @ _TURNS[best].T)  # turned, an uneven thing's outline has another middle
    apart = cdist(a, b)
    off = 0.5 * (apart.min(axis=0).mean() + apart.min(axis=1).mean())
    return float(off / max(np.sqrt((a[:, :2] ** 2).sum(axis=1).mean()), _ROUNDING))


def least_motion(known: Array, seen: Array, begin: Array) -> Array:
    """How a thing has moved at least, by what is seen of it: ``(4, 4)`` in the base frame.

    Iterated closest points (Besl & McKay 1992), a shift and a turn about the vertical, that lay
    what is seen on what is known. Of all motions that explain a part of a surface it finds one near
    to where it begins, so what is hidden does not pull.

    Args:
        known: ``(P, 3)`` its surface as it lay [m].
        seen: ``(Q, 3)`` points of it as it lies now [m].
        begin: ``(4, 4)`` to begin with, in the base frame; the unit to begin where it was.
    """
    about = known.mean(axis=0)
    surface, points = known - about, seen - about
    tree = KDTree(surface)
    stiff = stiffness(surface)
    motion = se3.pose(p=-about) @ begin @ se3.pose(p=about)
    for _ in range(_ITERATIONS):
        back = se3.act(se3.inverse(motion), points)
        step = one_step(surface[tree.query(back)[1]], back, stiff)
        motion = motion @ step
        turn = np.arctan2(step[1, 0], step[0, 0])
        if np.linalg.norm(step[:3, 3]) < _SETTLED and abs(turn) < 10 * _SETTLED:
            break
    return se3.pose(p=about) @ motion @ se3.pose(p=-about)


def stiffness(surface: Array) -> float:
    """By how much turns of a surface ``(P, 3)`` are held back, or a few points would turn it."""
    return _STIFF * float((surface - surface.mean(axis=0))[:, :2].var(axis=0).sum())


def one_step(known: Array, seen: Array, stiff: float) -> Array:
    """A shift and a turn about the vertical that lay points on others: ``(4, 4)``.

    Args:
        known: ``(Q, 3)`` [m].
        seen: ``(Q, 3)`` where each of them is seen [m].
        stiff: See :func:`stiffness`.
    """
    count = len(known)
    a, b = known.sum(axis=0) / count, seen.sum(axis=0) / count
    both = known[:, :2].T @ seen[:, :2] / count - np.outer(a[:2], b[:2])  # (2, 2) covariance
    sine, cosine = both[0, 1] - both[1, 0], both[0, 0] + both[1, 1] + stiff
    turn = np.arctan2(sine, cosine)
    sine, cosine = np.sin(turn), np.cos(turn)
    step = np.eye(4)
    step[:2, :2] = [[cosine, -sine], [sine, cosine]]
    step[:3, 3] = b - step[:3, :3] @ a
    return step


def laid_on(points: Array, surface: KDTree, normals: Array, begin: Array) -> Array:
    """Where a surface lies, by many points of it: ``(4, 4)``, from the surface to the points.

    Iterated closest planes (Chen & Medioni 1992), a shift and a turn about the vertical. Points
    slide along faces until edges fit, so it settles where points that are pulled to points are
    caught between them.

    Args:
        points: ``(Q, 3)`` [m].
        surface: Of ``(P, 3)`` [m].
        normals: ``(P, 3)`` of the surface, in either direction.
        begin: ``(4, 4)`` to begin with.
    """
    back = se3.inverse(begin)
    for _ in range(_LAYINGS):
        there = se3.act(back, points)
        off, nearest = surface.query(there)
        n, about = normals[nearest], there.mean(axis=0)
        x, y = (there - about)[:, :2].T
        across = ((there - surface.data[nearest]) * n).sum(axis=1)
        J = np.column_stack([n, x * n[:, 1] - y * n[:, 0]])
        told = J * (off < _MEETS)[:, None]
        held = _HELD * len(points) * np.array([1, 1, 1, (x**2 + y**2).mean()])
        step = -np.linalg.solve(told.T @ J + np.diag(held), told.T @ across)
        turn = se3.pose(p=about) @ se3.pose(se3.yaw(step[3]), step[:3]) @ se3.pose(p=-about)
        back = turn @ back
    return se3.inverse(back)


def misses(points: Array, surface: KDTree, motion: Array) -> float:
    """How far points ``(Q, 3)`` are from a surface that is moved by ``(4, 4)`` [m].

    Root of the mean square, where one that is off by more than :data:`_FAR` counts as that.
    """
    off = surface.query(se3.act(se3.inverse(motion), points))[0]
    return float(np.sqrt((np.minimum(off, _FAR) ** 2).mean()))


def normals_of(surface: Array) -> Array:
    """Directions ``(P, 3)`` across a surface ``(P, 3)`` at its points; their signs say nothing."""
    nearest = KDTree(surface).query(surface, min(_PLANE, len(surface)))[1]
    patches = surface[nearest] - surface[nearest].mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.svd(patches)[2][:, 2])


def share_on(points: Array, surface: Array, within: float) -> float:
    """Share of points ``(Q, 3)`` that lie within so many metres of one of a surface ``(P, 3)``."""
    return float((KDTree(surface).query(points)[0] < within).mean())


def box_of(points: NDArray[np.floating]) -> Array:
    """Lower and upper corner ``(2, d)`` of the box about most of points ``(P, d)``."""
    return np.asarray(np.quantile(points, [0.03, 0.97], axis=0))


def centred(cloud: Array) -> Array:
    """A surface ``(P, 3)`` about the vertical through the middle of its outline."""
    low, high = cloud[:, :2].min(0), cloud[:, :2].max(0)
    return np.asarray(cloud - np.append(0.5 * (low + high), 0.0))


def turned_apart(a: Array, b: Array) -> Array:
    """Squared distances of points ``(n, d)``, turned by each of ``S`` angles, from ``(m, d)``.

    Args:
        a: In two or three dimensions; turned about the vertical.
        b: In as many.

    Returns:
        ``(S, n, m)``, a rounding error below 0 where points coincide.
    """
    # |u - v|^2 = |u|^2 + |v|^2 - 2 u v as one product is much quicker than differences
    count, d = a.shape
    turned = np.empty((_STEPS, count, d + 2))
    turned[..., :d] = a @ np.swapaxes(_TURNS[:, :d, :d], -1, -2)
    turned[..., d], turned[..., d + 1] = (a**2).sum(1), 1.0
    others = np.stack([*(-2 * b.T), np.ones(len(b)), (b**2).sum(1)])
    return np.asarray((turned.reshape(-1, d + 2) @ others).reshape(_STEPS, count, len(b)))


def mean_least(squared: Array, axis: int) -> Array:
    """Mean distance ``(S,)`` from the nearest, of squared distances ``(S, n, m)``."""
    return np.asarray(np.sqrt(np.maximum(squared.min(axis), 0.0)).mean(1))


def refined(residual: Array, i: int) -> float:
    """The turn [rad] where residuals ``(S,)`` are least near step ``i``, by a parabola."""
    left, mid, right = np.take(residual, range(i - 1, i + 2), mode="wrap")
    bend = left - 2 * mid + right
    shift = 0.5 * (left - right) / bend if bend > 1e-9 else 0.0
    return float(_ANGLES[i] + shift * (_ANGLES[1] - _ANGLES[0]))
