"""How a thing has moved since the last look: by what is seen of it, and by what touched it."""

from __future__ import annotations

import numpy as np
from scipy.spatial import KDTree

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .registration import box_of, least_motion, share_on
from .touch import RESTS, Touch

ON = 0.007
"""[m] from a surface within which a point lies on it."""
EXPLAINED = 0.75
"""Share of what is seen that a motion has to explain."""
AROUND = 0.01
"""[m] of where a touch has brought it, in which what is seen belongs to a thing."""
_STAYS = 0.95  # of what is seen of a thing that lies where it was: it has not moved,
_COVERED = 0.8  # nor has it if so much of where it was is still seen
_FEWEST = 5  # points that tell
_TAKEN = 0.8  # of two shares together: then what is held was taken up,
_MORE = 0.2  # if it is so much more than of what lies still
_THERE = 0.6  # share of a hidden thing's place that is seen: something lies there as before,
_GONE = 0.2  # or nothing does


def motion_of_seen(known: Array, points: Array, touch: Touch | None, stood: bool) -> Array:
    """How a thing has moved of which something is seen: ``(4, 4)`` in the base frame.

    A hand that covers half of a thing, or ink beside a mark, moves the middle of what is seen; and
    a half of a bar may be any half of it. What a hand holds goes with the hand.

    Args:
        known: ``(P, 3)`` its surface as it lay [m].
        points: ``(Q, 3)`` of it now [m].
        touch: What the robot did to it meanwhile; None where nobody knows.
        stood: Whether it has not moved so far: then it takes more to tell that it has.

    Returns:
        The unit where nothing tells.
    """
    if stood and _stays(known, points):
        return RESTS
    rests = goes = _told(known, points)
    begins = [(RESTS, np.inf)]
    if touch is not None:
        goes = _told(se3.act(touch.motion, known), points)
        if touch.held and goes >= (max(rests + _MORE, _TAKEN) if stood else rests):
            return touch.motion
        begins.insert(int(rests > goes), (touch.motion, AROUND))
    begins.append((se3.pose(p=box_of(points).mean(axis=0) - box_of(known).mean(axis=0)), np.inf))
    for begin, around in begins:
        motion = _fitted(known, points, begin, around)
        if motion is not None:
            return motion
    return touch.motion if touch is not None and goes > rests and not stood else RESTS


def motion_of_hidden(known: Array, sight: Array, touch: Touch | None) -> Array:
    """How a thing has moved that nothing was taken for: ``(4, 4)`` in the base frame.

    Args:
        known: ``(P, 3)`` its surface as it lay [m].
        sight: ``(N, 3)`` points of all that is seen [m].
        touch: What the robot did to it meanwhile; None where nobody knows.

    Returns:
        The unit where nothing tells.
    """
    if touch is None or share_on(known, sight, ON) >= _THERE:  # it looks different now
        return RESTS
    goes, rests = (share_on(se3.act(m, known), sight, ON) for m in (touch.motion, RESTS))
    best = touch.motion if goes >= rests or rests < _GONE else RESTS
    motion = _fitted(known, sight, best, AROUND)
    return best if motion is None else motion


def _stays(known: Array, points: Array) -> bool:
    """Whether points ``(Q, 3)`` of a thing tell that it lies as its surface ``(P, 3)`` did."""
    return share_on(points, known, ON) >= _STAYS or share_on(known, points, ON) >= _COVERED


def _told(there: Array, points: Array) -> float:
    """Of a surface and of points both the share that lies on the other, 0 to 2."""
    return share_on(points, there, ON) + share_on(there, points, ON)


def _fitted(known: Array, points: Array, begin: Array, around: float) -> Array | None:
    """The motion near ``begin`` by which points there lie on a surface; None if they do not."""
    near = KDTree(se3.act(begin, known)).query(points)[0] < around
    if near.sum() < _FEWEST:
        return None
    motion = least_motion(known, points[near], begin)
    there = se3.act(motion, known)
    if share_on(points, there, ON) >= EXPLAINED or share_on(there, points, ON) >= _COVERED:
        return motion
    return None
