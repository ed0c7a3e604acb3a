"""Where a swinging foot goes, and how."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments.types import Array


@dataclass(frozen=True)
class Arc:
    """A foot's way at one moment: place, velocity and acceleration ``(P, ...)``."""

    place: Array
    velocity: Array
    acceleration: Array


def rise(start: Array, goal: Array, height: float, share: float, duration: float) -> Arc:
    r"""Minimum-jerk motion of heights to the goal with a bump :math:`64 h s^3 (1 - s)^3` above it.

    Args:
        start: ``(P, 1)`` where the foot left the ground [m].
        goal: ``(P, 1)`` where it shall land.
        height: ``h`` [m].
        share: ``s`` of the swing that is over, 0 to 1.
        duration: Of the whole swing [s].
    """
    s, T = min(max(share, 0.0), 1.0), duration
    blend = 10 * s**3 - 15 * s**4 + 6 * s**5
    blend1 = (30 * s**2 - 60 * s**3 + 30 * s**4) / T
    blend2 = (60 * s - 180 * s**2 + 120 * s**3) / T**2
    r = 1 - s
    up = 64 * s**3 * r**3
    up1 = 64 * 3 * s**2 * r**2 * (r - s) / T
    up2 = 64 * 6 * s * r * (r**2 - 3 * s * r + s**2) / T**2
    way = goal - start
    return Arc(
        start + way * blend + height * up,
        way * blend1 + height * up1,
        way * blend2 + height * up2,
    )


def chase(way: Arc, goal: Array, left: float, period: float) -> Arc:
    r"""The next moment of a minimum-jerk motion to a goal that moves.

    .. math:: \dddot p = 60\,(g - p) / T^3 - 36\,\dot p / T^2 - 9\,\ddot p / T

    begins the motion of least jerk that comes to rest at :math:`g` after the time :math:`T` that is
    left (Hoff and Arbib, *Models of trajectory formation and temporal interaction of reach and
    grasp*, 1993). A body that is pushed moves the places to step to; a way that was laid for a goal
    at rest would lag behind.

    Args:
        way: Now.
        goal: ``(P, 2)`` where the foot shall land.
        left: ``T`` [s]; ten periods at least.
        period: To the next moment [s].
    """
    T = max(left, 10 * period)
    p, v, a = way.place, way.velocity, way.acceleration
    jerk = 60 * (goal - p) / T**3 - 36 * v / T**2 - 9 * a / T
    return Arc(
        p + period * (v + period * (a / 2 + period * jerk / 6)),
        v + period * (a + period * jerk / 2),
        a + period * jerk,
    )


def footholds(
    hips: Array,
    speed: Array,
    wanted: Array,
    spin: float,
    centre: Array,
    stance: float,
    height: float,
    reach: float,
) -> Array:
    r"""Places ``(P, 2)`` to step to: Raibert's, with the capture point's share of the speed error.

    .. math:: p = p_{hip} + \tfrac12 T_{st}\, v_{hip} + k (v - v^*), \qquad k = \sqrt{z / g}

    (Raibert, *Legged robots that balance*, 1986; Pratt et al., *Capture point*, 2006), at most
    ``reach`` from the hip.

    Args:
        hips: ``(P, 2)`` where the foot would stand below a body at rest, at touch-down.
        speed: ``(2,)`` of the body.
        wanted: ``(2,)``.
        spin: Turning rate that is wanted [rad/s].
        centre: ``(2,)`` of the body at touch-down.
        stance: ``T_st`` [s].
        height: ``z`` of the body [m].
        reach: [m].
    """
    error = np.sqrt(height / 9.81) * (speed - wanted)
    turning = spin * (hips - centre) @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    steps = 0.5 * stance * (wanted + turning) + error
    lengths = np.sqrt((steps**2).sum(axis=1, keepdims=True))
    return np.asarray(hips + steps * np.minimum(1.0, reach / np.maximum(lengths, 1e-9)))
