"""Phase tracking against its definition, at several paces, after setbacks, for odd lengths."""

from __future__ import annotations

import numpy as np
import pytest

from icl_vla_retrieval.phase import PhaseTracker


def least_path_costs(history, advances, memory, fastest, slack, drift) -> np.ndarray:
    """``D(t)`` of the class's docstring, frame by frame in plain Python."""
    paths = list(history[0])
    for cost, a in zip(history[1:], advances[1:], strict=True):
        weight = memory ** max(a, 1)
        arrived = []
        for t in range(len(cost)):
            ways = [
                paths[t - s] + drift * max(0.0, -s, s - fastest * a)
                for s in range(-slack, int(np.ceil(fastest * a)) + slack + 1)
                if 0 <= t - s < len(cost)
            ]
            arrived.append((1 - weight) * cost[t] + weight * min(ways))
        paths = arrived
    return np.array(paths)


@pytest.mark.parametrize("advance", [0, 1, 4])
def test_paths_cost_what_the_definition_says(advance):
    rng = np.random.default_rng(advance)
    history = rng.random((6, 23))
    tracker = PhaseTracker([23, 9], memory=0.5, fastest=1.5, slack=2, drift=0.05)
    for cost in history:
        tracker.update([cost, cost[:9]], advance)
    advances = [advance] * 6
    long = least_path_costs(history, advances, 0.5, 1.5, 2, 0.05)
    short = least_path_costs(history[:, :9], advances, 0.5, 1.5, 2, 0.05)
    np.testing.assert_allclose(tracker._paths[0], long, atol=1e-12)
    np.testing.assert_allclose(tracker._paths[1, :9], short, atol=1e-12)


def loop(frames: int) -> np.ndarray:
    """``(frames, 3)``: a path that passes one place twice, a little apart."""
    s = np.linspace(0, 1, frames)
    return np.stack([0.3 * np.sin(2 * np.pi * s), 0.2 * np.sin(4 * np.pi * s), 0.04 * s], axis=1)


def cost_of(path: np.ndarray, here: np.ndarray) -> np.ndarray:
    return 1 - np.exp(-((path - here) ** 2).sum(axis=1) / (2 * 0.03**2))


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("pace", [0.4, 1.0, 2.0])
@pytest.mark.parametrize("setback", [None, (0.8, 0.3), (0.9, 0.05)])
def test_pointers_follow_any_pace_and_setbacks(every, pace, setback):
    """Three demonstrations of other lengths; right within 5% in 95% of the looks after a grace."""
    rng = np.random.default_rng(5)
    paths = [loop(n) + 0.004 * rng.normal(size=(n, 3)) for n in (60, 80, 101)]
    moments = np.arange(0, 1 + 1e-9, pace / 80)
    if setback is not None:
        moments = np.concatenate([moments[moments < setback[0]], moments[moments >= setback[1]]])
    tracker = PhaseTracker([len(p) for p in paths])
    right = []
    for n, s in enumerate(moments[::every]):
        here = loop(1001)[round(1000 * s)] + [0, 0.005, 0]
        tracker.update([cost_of(p, here) for p in paths], every if n else 0)
        right.append(np.abs(tracker.phases - s) <= 0.05)
    assert np.mean(right) >= 0.95


def test_a_robot_that_stands_still_keeps_its_place():
    path = loop(80)
    tracker = PhaseTracker([80])
    for n in range(20):
        tracker.update([cost_of(path, path[n])], 1 if n else 0)
    for _ in range(50):
        tracker.update([cost_of(path, path[19])], 1)
    assert tracker.pointers[0] == 19
    assert tracker.costs[0] == 0.0


def test_a_demonstration_of_one_frame():
    tracker = PhaseTracker([1, 40])
    for n in range(10):
        pointers = tracker.update([np.zeros(1), np.abs(np.arange(40.0) - n)], 1 if n else 0)
        assert pointers.tolist() == [0, n]
    assert tracker.phases[0] == 0
