"""Velocities that keep a base on a moving place, for bases that cannot go sideways, too."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import se2
from icl_vla_embodiments.types import Array

AHEAD, ASIDE, TURN = 1.5, 40.0, 12.0  # [1/s], [1/m^2], [1/m]
CREEP = 0.25  # [m/s] that the heading's correction takes a slower base to have


def follow(here: Array, due: Array, rate: Array, *, sideways: bool) -> Array:
    r"""Twist ``(3,)`` (x, y, turn) in the base's own frame.

    With the error :math:`e` of the due place in the base's frame and the due velocity
    :math:`(v, \omega)` there, a base without sideways motion gets

    .. math:: (v \cos e_\theta + k_x e_x,\; 0,\; \omega + v (k_y e_y + k_\theta \sin e_\theta))

    (Kanayama et al., *A stable tracking control method for an autonomous mobile robot*, 1990), with
    :math:`|v|` in front of the heading's error, so that it holds backwards; one that moves every
    way gets the due velocity and a share of the error.

    Args:
        here: ``(3,)`` x, y and heading of the centre that does not go sideways.
        due: ``(3,)`` where it should be.
        rate: ``(3,)`` velocity of ``due`` in its own frame.
        sideways: Whether the base can move sideways.
    """
    x, y, turn = se2.between(here, due)
    c, s = np.cos(turn), np.sin(turn)
    if sideways:
        linear = np.array([c * rate[0] - s * rate[1], s * rate[0] + c * rate[1]])
        return np.array([*(linear + AHEAD * np.array([x, y])), rate[2] + AHEAD * turn])
    v = rate[0]
    pull = max(abs(v), CREEP)
    return np.array([v * c + AHEAD * x, 0.0, rate[2] + v * ASIDE * y + pull * TURN * s])


def drive_along(
    here: Array, places: Array, dt: float, *, sideways: bool, fastest: Array | None = None
) -> tuple[Array, Array]:
    """Where a base comes that follows places, and the velocities that it needs.

    Args:
        here: ``(3,)`` where it is.
        places: ``(H, 3)`` due after 1, 2, ... steps.
        dt: Of a step [s].
        sideways: Whether the base can move sideways.
        fastest: ``(3,)`` largest velocities; None for no limit.

    Returns:
        ``(H, 3)`` places and ``(H, 3)`` twists, each held for one step.
    """
    before = np.vstack([here, places[:-1]])
    rates = np.array([se2.between(a, b) for a, b in zip(before, places, strict=True)]) / dt
    if len(places) > 1:  # the first step would make up for all of the error at once
        rates[0] = rates[1]
        before[0] = se2.compose(places[0], se2.exp(-dt * rates[0]))
    reached, twists = [], []
    for due, rate in zip(before, rates, strict=True):
        twist = follow(here, due, rate, sideways=sideways)
        twists.append(twist if fastest is None else np.clip(twist, -fastest, fastest))
        here = se2.compose(here, se2.exp(dt * twists[-1]))
        reached.append(here)
    return np.array(reached), np.array(twists)
