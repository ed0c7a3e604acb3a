"""Practice: the network acts in new scenes, and an operator says at each look what to do there.

Operators' own motions never show where a policy's small errors lead, and what leads back (DAgger,
Ross et al. 2011).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import torch

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..policy.context import DemoContext
from ..policy.doing import Doing
from ..policy.moment import Moment, side_by_side
from ..policy.relational import Answer, IclVlaPolicy
from ..policy.vote import weighted_median
from .examples import Watch
from .rollout import RATE, Frame, Job, Operators, State, begin, rolled
from .sensing import Sight, poses, see

_LONGEST = 140  # frames
_LENIENCY = 0.02  # [m] a policy may cut corners by


def practise(
    job: Job,
    sight: Sight,
    contexts: Sequence[DemoContext],
    network: IclVlaPolicy,
    every: int,
    rng: np.random.Generator,
) -> Iterator[tuple[Moment, Array, Array, float]]:
    """Moments of a job's scenes that the network acts in, and what an operator would do next.

    Args:
        job: The task.
        sight: As it was demonstrated in.
        contexts: Demonstrations.
        network: Acts; its weights are only read.
        every: Steps between two looks.
        rng: Of everything random.

    Yields:
        Moment, poses ``(H, 4, 4)``, openings ``(H,)``, and whether the task is over.
    """
    count = len(job)
    state, operator = begin([job], rng)
    operator.patience, operator.leniency = _LONGEST, _LENIENCY
    horizon = network.config.horizon
    watches: list[Watch] = []
    seeds = rng.integers(2**31, size=count)
    frames: list[Frame] = []
    never, told = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    operator.act(state)  # aims at the first goals
    while len(frames) < _LONGEST and not operator.done.all():
        t, over = len(frames), operator.done
        now = (*state.copy(), state.hand, state.opening, never)
        scenes = rolled([*frames, now], np.full(count, t + 1), state.sizes)
        tcp, times = poses(state.hand, sight), np.arange(t + 1) / RATE
        moments = []
        for n in range(count):
            seen = see(scenes, n, job.world, sight, np.random.default_rng(seeds[n]))
            if not t:
                watches.append(Watch(contexts, horizon, seen.tracked(0)))
            watch, opening = watches[n], state.opening[n]
            places = poses(scenes.hand[:, n], sight)[:, :3, 3]
            doing = Doing.along(times, places, scenes.opening[:, n], scenes.gripper[:, n])
            costs = watch.costs(seen.positions[t:], tcp[n, None], doing.at(slice(t, None)))
            watch.go_on(t, [cost[0] for cost in costs])
            moments.append(watch.moment(seen.tracked(t), tcp[n], float(opening)))
        wanted = _wanted(state, operator, horizon)
        for n, moment in enumerate(moments):
            if not told[n]:
                yield moment, poses(wanted[0][:, n], sight), wanted[1][:, n], float(over[n])
        told |= over
        with torch.inference_mode():
            said = network(**side_by_side(moments))
        hands, openings = _said(said, moments, sight)
        for h in range(every):
            frames.append((*state.copy(), hands[h], openings[h], never))
            state.move(hands[h], openings[h])
            operator.restart(~never, state.hand)
            operator.act(state)
            operator.catch_up(state)


def _wanted(state: State, operator: Operators, horizon: int) -> tuple[Array, Array]:
    """What operators would do from here, undisturbed: ``(H, N, 4)`` and ``(H, N)``."""
    state, operator = deepcopy((state, operator))
    operator.restart(np.ones(len(state.hand), dtype=bool), state.hand)
    hands, openings = [], []
    for _ in range(horizon):
        hand, opening = operator.act(state)
        state.move(hand, opening)
        hands.append(hand)
        openings.append(opening)
    return np.stack(hands), np.stack(openings)


def _said(said: Answer, moments: Sequence[Moment], sight: Sight) -> tuple[Array, Array]:
    """Answers as places and yaws ``(H, N, 4)`` over the patch, and openings ``(H, N)``."""
    R = se3.project_rotation(said.rotation.double().numpy()) @ sight.grasp.T
    yaw = np.arctan2(R[..., 1, 0], R[..., 0, 0])
    place = said.position.double().numpy() - sight.middle
    openings = [
        [weighted_median(g[:, None], w)[0] for g, w in zip(m.gripper.T, grip, strict=True)]
        for m, grip in zip(moments, said.gripper.double().numpy(), strict=True)
    ]
    hands = np.concatenate([place, yaw[..., None]], axis=-1)
    return np.moveaxis(hands, 0, 1), np.array(openings).T
