"""Demonstrations in step with the hand, and with each other."""

from __future__ import annotations

import numpy as np
import pytest

from icl_vla.policy.manner import at_pace
from icl_vla.policy.pace import STEPS, steps_behind
from icl_vla_embodiments import se3

SPEED = 0.01  # [m] a step


def corner(start: float, count: int) -> np.ndarray:
    """``(count, 3)``: along x, and from 5 steps on along y; begun so many steps on."""
    s = start + np.arange(count)
    return SPEED * np.stack([np.minimum(s, 5), np.maximum(s - 5, 0), np.zeros(count)], axis=1)


def shown(offs: np.ndarray, now: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Motions of demonstrations whose pointers are so many steps ahead, hands, and the hand."""
    motions = np.stack([corner(now + off, 10) for off in offs])
    hands = np.stack([[corner(now + off + s, 1)[0] for s in STEPS] for off in offs])
    return motions, hands, corner(now, 1)[0]


@pytest.mark.parametrize("offs", [[0, 0, 0], [2, -1, 0, 1, -2], [1, 2, 3], [-3, -1, -2, -2]])
def test_all_are_moved_to_where_the_hand_is(offs):
    """To a step, where all of them are ahead or behind: what they agree on holds them back."""
    motions, hands, here = shown(np.array(offs), 2.0)
    behind = steps_behind(motions, np.ones(len(offs)), hands, here)
    assert np.abs(behind + offs).max() <= (1 if np.mean(offs) else 0)
    assert np.ptp(behind + offs) <= 1 and abs(np.mean(behind + offs)) < abs(np.mean(offs)) + 0.1


def test_corners_stay_sharp():
    """The mean of motions whose pointers are up to 2 steps off passes the corner 8 mm away."""
    offs = np.array([-2, -1, 0, 1, 2])
    motions, hands, here = shown(offs, 2.0)
    noisy = motions + 0.002 * np.random.default_rng(0).normal(size=(len(offs), 1, 3))
    behind = steps_behind(noisy, np.ones(len(offs)), hands, here)
    in_step = np.stack([corner(2.0 + o + b, 10) for o, b in zip(offs, behind, strict=True)])
    turn = SPEED * np.array([5.0, 0.0, 0.0])
    short, before = (
        np.linalg.norm(m.mean(axis=0) - turn, axis=-1).min() for m in (in_step, motions)
    )
    assert short < 0.003 < 0.006 < before


def test_where_nothing_moves_pointers_stay():
    still = np.zeros((4, 8, 3))
    hands = np.zeros((4, len(STEPS), 3))
    assert not steps_behind(still, np.ones(4), hands, np.array([0.01, 0.0, 0.0])).any()
    one = steps_behind(still[:1], np.zeros(1), hands[:1], np.zeros(3))  # alone, and of no weight
    assert one.tolist() == [0]


def test_none_is_moved_past_where_its_hand_turned_back():
    """A push ends two steps from now, and the hand goes back the way it came."""
    along = SPEED * np.array([[-3, -2, -1, 0, 1, 2, 1]]).T * [1.0, 0.0, 0.0]
    hands, still = along[None], np.zeros((1, 8, 3))
    place = along[STEPS == 1][0]  # where it is in a step, and in three
    assert steps_behind(still, np.ones(1), hands, place).tolist() == [1]
    assert steps_behind(still, np.ones(1), hands[:, ::-1], place).tolist() == [-1]
    beyond = along[STEPS == 2][0] + [SPEED, 0.0, 0.0]
    assert steps_behind(still, np.ones(1), hands, beyond).tolist() == [2]


@pytest.mark.parametrize("pace", [0.3, 0.5, 0.8, 1.0, 1.3, 2.0, 9.0])
def test_another_pace_is_the_same_way(pace: float) -> None:
    """On a screw motion at even speed: places, turns and gripper of the step on the way."""
    twist = np.array([0.02, -0.01, 0.03, 0.0, 0.0, 0.2])

    def at(step: float) -> np.ndarray:
        return se3.pose(se3.exp3(step * twist[3:]), 0.1 + step * twist[:3])

    poses = np.stack([at(k) for k in range(1, 9)])
    slower, towards = at_pace(at(0), poses, pace)
    assert len(slower) == len(towards) == max(1, min(8, int(8 / pace)))
    for k, (T, step) in enumerate(zip(slower, towards, strict=True), 1):
        reached = min(pace * k, 8)
        np.testing.assert_allclose(T, at(reached), atol=1e-9)
        assert step == np.ceil(reached - 1e-9) - 1
