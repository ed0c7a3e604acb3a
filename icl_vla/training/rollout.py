"""Many scenes at once, of one program or several, kinematically; an operator sees their truth.

The hand follows its set-point with a step's delay; a closing hand takes what is between its
fingers, a low one pushes what is in its way. That is all the physics there is: a policy learns
geometry and timing here, and is judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments.types import Array

from .programs import STAY, TABLE, Check, Program, Turn

RATE = 10.0  # [Hz] as operators command
LONGEST = 320  # frames
Frame = tuple[NDArray[Any], ...]
"""Hand, opening, things, held, command, gripper, struck: one row of each in :class:`Rollout`."""
_Stages = tuple[NDArray[np.int64], NDArray[np.int64]]
_STRUCK = 0.06  # chance of a frame in which something is pushed aside
_TRIES = 2  # times that a program goes back for the same reason
_NOWHERE = 1e3  # [m]
_THICK = 0.5  # opening at which fingers meet a usual thing


@dataclass
class Rollout:
    """``N`` scenes of a program with ``M`` things, ``T`` frames each, as arrays over time.

    Attributes:
        hand: ``(T, N, 4)`` measured place [m] and yaw [rad].
        opening: ``(T, N)`` measured.
        command: ``(T, N, 4)`` set-point due one frame later.
        gripper: ``(T, N)`` commanded opening.
        things: ``(T, N, M, 4)`` middles and yaws.
        held: ``(T, N)`` index of the thing in the hand; -1 for none.
        struck: ``(T, N)`` whether something was moved by nobody's intent before this frame.
        length: ``(N,)`` frames until the operator was done.
        sizes: ``(N, M, 3)`` [m].
    """

    hand: Array
    opening: Array
    command: Array
    gripper: Array
    things: Array
    held: NDArray[np.int64]
    struck: NDArray[np.bool_]
    length: NDArray[np.int64]
    sizes: Array

    def only(self, scenes: NDArray[np.bool_], things: int) -> Rollout:
        """Some scenes ``(N,)`` with their first things, until the last of them is done."""
        length = self.length[scenes]
        T = min(int(length.max()), len(self.hand))
        return Rollout(
            self.hand[:T, scenes], self.opening[:T, scenes], self.command[:T, scenes],
            self.gripper[:T, scenes], self.things[:T, scenes, :things], self.held[:T, scenes],
            self.struck[:T, scenes], length, self.sizes[scenes, :things],
        )  # fmt: skip


@dataclass(frozen=True)
class World:
    """How large everything is.

    Attributes:
        edge: Of a usual thing [m].
        half: ``(2,)`` half extents of the table's patch [m].
        others: Sizes ``(3,)`` of things that the program is not about [edges].
    """

    edge: float
    half: tuple[float, float]
    others: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Job:
    """Scenes of one program: first those of demonstrations, then those of queries.

    Attributes:
        program: What is done.
        world: How large everything is.
        demonstrations: How many scenes run undisturbed.
        queries: How many are struck now and then, and go on.
    """

    program: Program
    world: World
    demonstrations: int
    queries: int = 0

    def __len__(self) -> int:
        return self.demonstrations + self.queries


def lay_out(
    program: Program, world: World, count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Places and yaws ``(N, M, 4)`` of things that stand apart, and their sizes ``(N, M, 3)``."""
    sizes = np.array([t.size for t in program.things] + list(world.others)) * world.edge
    M, half = len(sizes), np.array(world.half)
    radius = 0.5 * np.linalg.norm(sizes[:, :2], axis=1)
    apart = np.maximum(radius[:, None] + radius[None] + 0.025, 0.03)
    p = rng.uniform(-1, 1, (count, M, 2)) * half
    for _ in range(150):
        gap = np.linalg.norm(p[:, :, None] - p[:, None], axis=-1) + 9 * np.eye(M)
        close = (gap < apart).any(axis=2)
        if not close.any():
            break
        n = np.flatnonzero(close.any(axis=1))
        m = np.argmax(close[n] * rng.random((len(n), M)), axis=1)
        p[n, m] = rng.uniform(-1, 1, (len(n), 2)) * half
    yaw = rng.uniform(-np.pi, np.pi, (count, M, 1))
    z = np.broadcast_to(0.5 * sizes[:, 2], (count, M))[..., None]
    return np.concatenate([p, z, yaw], axis=-1), np.broadcast_to(sizes, (count, M, 3)).copy()


def roll_out(jobs: Sequence[Job], rng: np.random.Generator) -> list[Rollout]:
    """What happens in all scenes of each job; they run side by side, since steps cost alike.

    Args:
        jobs: What is done, where, and how often.
        rng: Of everything random.
    """
    query = np.concatenate([np.arange(len(j)) >= j.demonstrations for j in jobs])
    state, operator = begin(jobs, rng)
    frames: list[Frame] = []
    hit = np.zeros(len(query), dtype=bool)
    while len(frames) < LONGEST and not operator.done.all():
        before = state.copy()
        command, gripper = operator.act(state)
        frames.append((*before, command, gripper, hit))
        state.move(command, gripper)
        hit = query & operator.free & ~operator.done & (rng.random(len(hit)) < _STRUCK)
        if hit.any():
            _strike(state, operator, hit, rng)
    everything = rolled(frames, operator.ended, state.sizes)
    return [everything.only(operator.job == j, int(state.count[operator.job == j][0]))
            for j in range(len(jobs))]  # fmt: skip


def begin(jobs: Sequence[Job], rng: np.random.Generator) -> tuple[State, Operators]:
    """New scenes, and operators who have not done anything yet."""
    job = np.repeat(np.arange(len(jobs)), [len(j) for j in jobs])
    laid = [lay_out(j.program, j.world, len(j), rng) for j in jobs]
    count = np.array([things.shape[1] for things, _ in laid])
    N, M = len(job), int(count.max())
    things, sizes = np.full((N, M, 4), _NOWHERE), np.zeros((N, M, 3))
    loose, hollow = np.zeros((2, N, M), dtype=bool)
    for j, (places, extents) in enumerate(laid):
        here, kinds = job == j, jobs[j].program.things
        things[here, : count[j]], sizes[here, : count[j]] = places, extents
        loose[here, : len(kinds)] = [t.loose for t in kinds]
        hollow[here, : len(kinds)] = [t.shape == "bowl" for t in kinds]
    half = np.array([j.world.half for j in jobs])[job]
    edge = np.array([j.world.edge for j in jobs])[job]
    hand = np.zeros((N, 4))
    hand[:, :2] = rng.uniform(-0.6, 0.6, (N, 2)) * half
    hand[:, 2] = edge * 5.8 * rng.uniform(0.85, 1.15, N)
    nothing = np.full(N, -1), np.zeros((N, 4))
    state = State(hand, np.ones(N), things, *nothing, sizes, loose, hollow, count[job], rng)
    return state, Operators(jobs, rng)


def rolled(frames: Sequence[Frame], length: NDArray[np.int64], sizes: Array) -> Rollout:
    """Frames as arrays over time."""
    h, o, th, held, c, g, s = (np.stack(x) for x in zip(*frames, strict=True))
    return Rollout(h, o, c, g, th, held, s, length, sizes)


@dataclass
class State:
    """``N`` scenes now; see :class:`Rollout`."""

    hand: Array
    opening: Array
    things: Array
    held: NDArray[np.int64]
    grip: Array  # (N, 4) of the held thing from the hand, in the hand's axes
    sizes: Array
    loose: NDArray[np.bool_]  # (N, M) whether a hand can move a thing
    hollow: NDArray[np.bool_]  # (N, M) whether another comes to rest on the table inside it
    count: NDArray[np.int64]  # (N,) things there are; those beyond are nowhere
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.rows = np.arange(len(self.hand))
        self.follows = self.rng.uniform(0.8, 1.0, len(self.hand))
        self.clumsy = self.rng.random(len(self.hand)) < 0.12

    def copy(self) -> tuple[Array, Array, Array, NDArray[np.int64]]:
        return self.hand.copy(), self.opening.copy(), self.things.copy(), self.held.copy()

    def move(self, command: Array, gripper: Array) -> None:
        """One step of time."""
        before = self.hand.copy()
        way = command - self.hand
        way[:, 3] = _wrapped(way[:, 3])
        self.hand = self.hand + self.follows[:, None] * way
        self.hand[:, :3] += 0.0004 * self.rng.standard_normal((len(self.hand), 3))
        was = self.opening
        self.opening = was + np.clip(gripper - was, -0.5, 0.5)
        self._hold(was, gripper)
        self._push(before)

    def _hold(self, was: Array, gripper: Array) -> None:
        off = self.things[..., :3] - self.hand[:, None, :3]
        near = (np.linalg.norm(off[..., :2], axis=-1) < 0.4 * self.sizes[..., 0].clip(0, 0.04)) & (
            np.abs(off[..., 2]) < 0.6 * self.sizes[..., 2]
        )
        near &= self.loose
        closing = (gripper < was) & (self.held < 0) & near.any(axis=1)
        closing &= self.opening < _THICK + 0.1
        slips = self.clumsy & closing
        self.clumsy &= ~slips
        which = near.argmax(axis=1)
        taken = closing & ~slips
        if taken.any():
            n = np.flatnonzero(taken)
            self.held[n] = which[n]
            thing = self.things[n, which[n]]
            offset = thing - self.hand[n]
            offset[:, :2] = _turn(offset[:, :2], -self.hand[n, 3])
            self.grip[n] = offset
        holds = self.held >= 0
        stopped = np.maximum(self.opening, _THICK)
        self.opening = np.where(holds & (gripper < _THICK), stopped, self.opening)
        let_go = holds & (gripper > _THICK + 0.1)
        for i in np.flatnonzero(let_go):
            self.things[i, self.held[i], 2] = self._support(int(i), int(self.held[i]))
        self.held[let_go] = -1
        n = np.flatnonzero(self.held >= 0)
        place = self.hand[n].copy()
        place[:, :2] += _turn(self.grip[n, :2], self.hand[n, 3])
        place[:, 2:] += self.grip[n, 2:]
        self.things[n, self.held[n]] = place

    def _support(self, n: int, m: int) -> float:
        """Height at which a thing that is let go comes to rest."""
        half = 0.5 * self.sizes[n, m, 2]
        gap = np.linalg.norm(self.things[n, :, :2] - self.things[n, m, :2], axis=-1)
        under = gap < 0.4 * self.sizes[n, :, 0]
        under[m] = False
        under &= ~self.hollow[n]
        return float(half + np.max(self.sizes[n, under, 2], initial=0.0))

    def _push(self, before: Array) -> None:
        way = self.hand[:, :2] - before[:, :2]
        step = np.linalg.norm(way, axis=1)
        along = way / np.maximum(step, 1e-9)[:, None]
        off = self.things[..., :2] - self.hand[:, None, :2]
        ahead = (off * along[:, None]).sum(-1)
        aside = np.abs(off[..., 0] * along[:, None, 1] - off[..., 1] * along[:, None, 0])
        contact = 0.5 * self.sizes[..., 0] + 0.005
        low = self.hand[:, None, 2] < self.sizes[..., 2]
        hit = self.loose & low & (aside < contact) & (ahead > -0.2 * contact) & (ahead < contact)
        hit &= (step > 5e-4)[:, None] & (self.held < 0)[:, None] & (self.opening < 0.9)[:, None]
        move = np.where(hit, contact - ahead, 0.0)
        slip = 0.15 * move * self.rng.standard_normal(move.shape)
        across = np.stack([-along[:, 1], along[:, 0]], axis=-1)
        self.things[..., :2] += move[..., None] * along[:, None] + slip[..., None] * across[:, None]
        self.things[..., 3] += 3.0 * slip


class Operators:
    """One operator for each scene, straight or curved, as in :mod:`icl_vla.sim.operators`."""

    def __init__(self, jobs: Sequence[Job], rng: np.random.Generator) -> None:
        self.job = np.repeat(np.arange(len(jobs)), [len(j) for j in jobs])
        N = len(self.job)
        self.rows, self.N = np.arange(N), N
        lengths = [len(j.program.stages) for j in jobs]
        self.count = np.array(lengths)[self.job]
        # (J, S) tables, one row a program; the last stage stands for what is beyond it
        stages = [[*j.program.stages, *j.program.stages[-1:] * (max(lengths) - n)]
                  for j, n in zip(jobs, lengths, strict=True)]  # fmt: skip
        edge = np.array([j.world.edge for j in jobs])[:, None, None]

        def table(name: str) -> NDArray[Any]:
            return np.array([[getattr(s, name) for s in row] for row in stages])

        self.at, self.to, self.of = table("at"), table("to"), table("of")
        self.shift, self.offset = table("shift") * edge, table("offset") * edge
        self.arrive, self.straight = table("arrive"), table("straight")
        self.axes, self.turn, self.extra = table("axes"), table("turn"), table("extra")
        self.grip, self.tolerance = table("gripper"), table("tolerance")
        self.dwell, self.pace = table("dwell"), table("speed")
        self.check, self.back = table("check"), table("back")
        self.stage = np.zeros(N, dtype=int)
        self.waited = np.zeros(N, dtype=int)
        self.elapsed = np.zeros(N, dtype=int)
        self.tries = np.zeros(N, dtype=int)
        self.ended = np.full(N, LONGEST)
        self.frames = 0
        self.patience = 60  # frames after which a stage counts as over
        self.leniency = 0.0  # [m] by which others may miss what need not be met exactly
        self.setpoint: Array | None = None
        self.goal = np.zeros((N, 4))
        self.speed = rng.uniform(0.16, 0.28, N)  # [m/s]
        self.gain = rng.uniform(0.35, 0.5, N)
        self.curved = rng.random(N) < 0.5
        self.bow = rng.uniform(-0.25, 0.25, (N, 3)) * [1.0, 1.0, 0.5]
        self.moving = np.zeros(N)

    @property
    def done(self) -> NDArray[np.bool_]:
        return self.stage >= self.count

    @property
    def now(self) -> _Stages:
        """Rows and columns of the present stages in the tables."""
        return self.job, np.minimum(self.stage, self.count - 1)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Whether the way there does not matter now."""
        return np.asarray(~self.straight[self.now] & (self.waited == 0))

    @property
    def slack(self) -> Array:
        """``(N,)`` how far aside a hand can be pushed without harm [m]."""
        fine = self.tolerance[self.now] < 0.0075
        return np.where(fine, 0.008, 0.03)

    def act(self, state: State) -> tuple[Array, Array]:
        """Set-points ``(N, 4)`` and openings ``(N,)`` for the next step."""
        if self.setpoint is None:
            self.setpoint, self.goal = state.hand.copy(), state.hand.copy()
        self.frames += 1
        s = self.now
        self._aim(state, s)
        self._step(s)
        off = np.linalg.norm(state.hand[:, :3] - self.goal[:, :3], axis=1)
        turned = np.abs(_wrapped(self.goal[:, 3] - self.setpoint[:, 3])) < 0.03
        near = (off < self.tolerance[s] + self.leniency * (self.tolerance[s] >= 0.01)) & turned
        self.elapsed += 1
        self.waited += near | (self.waited > 0) | (self.elapsed > self.patience)
        over = (self.waited > self.dwell[s]) & ~self.done
        self._advance(state, s, over)
        return self.setpoint.copy(), self.grip[s].copy()

    def restart(self, which: NDArray[np.bool_], hand: Array) -> None:
        """The operator goes on from where the hand is now."""
        assert self.setpoint is not None
        self.setpoint[which] = hand[which]

    def catch_up(self, state: State) -> None:
        """Leave out what is done already: a hand that holds a thing need not take it."""
        for j, s in np.argwhere(self.check == Check.HELD):
            taking = (self.job == j) & (self.stage < s) & (self.stage >= s - self.back[j, s])
            ahead = taking & (state.held == self.of[j, s])
            self.stage[ahead], self.waited[ahead], self.elapsed[ahead] = s, 0, 0

    def _advance(self, state: State, s: _Stages, over: NDArray[np.bool_]) -> None:
        thing = state.things[self.rows, self.of[s]]
        target = state.things[self.rows, np.maximum(self.to[s], 0), :2] + self.shift[s]
        lost = (self.check[s] == Check.HELD) & (state.held != self.of[s])
        missed = (self.check[s] == Check.ARRIVED) & (
            np.linalg.norm(thing[:, :2] - target, axis=1) > 0.01
        )
        again = over & (lost | missed) & (self.tries < _TRIES)
        self.tries += again
        ended = over & ~again & (self.stage == self.count - 1)
        self.stage = np.where(again, self.stage - self.back[s], self.stage + over)
        self.waited[over], self.elapsed[over] = 0, 0
        self.ended[ended] = self.frames

    def _aim(self, state: State, s: _Stages) -> None:
        """Goals of the present stages; those of straight ones are set when they begin."""
        begins = self.elapsed == 0
        here, other = np.maximum(self.at[s], 0), np.maximum(self.to[s], 0)
        thing = state.things[self.rows, here]
        aimed = state.things[self.rows, other, :2] + self.shift[s]
        heading = np.arctan2(*np.moveaxis(aimed - thing[:, :2], -1, 0)[::-1])
        about = np.where(self.at[s] >= 0, thing[:, 3], state.things[self.rows, other, 3])
        axes = np.choose(self.axes[s], [np.zeros(self.N), thing[:, 3], heading])
        origin = np.where(self.arrive[s][:, None], aimed, thing[:, :2])
        origin = np.where((self.at[s] == TABLE)[:, None], 0.0, origin)
        goal = np.zeros((self.N, 4))
        goal[:, :2] = origin + _turn(self.offset[s][:, :2], axes)
        goal[:, 2] = self.offset[s][:, 2]
        stays = self.at[s] == STAY
        goal[stays, :2] = state.hand[stays, :2]
        wanted, half = about + self.extra[s], np.pi
        turns = {
            Turn.KEEP: self.goal[:, 3],
            Turn.BASE: self.extra[s],
            Turn.SQUARE: _nearest(wanted, 0.5 * half),
            Turn.HALF: _nearest(wanted, half),
            Turn.TOWARDS: _nearest(heading + self.extra[s], half),
        }
        goal[:, 3] = np.choose(self.turn[s], [turns[t] for t in Turn])
        fixed = (self.straight[s] | stays) & ~begins
        self.goal = np.where(fixed[:, None], self.goal, goal)

    def _step(self, s: _Stages) -> None:
        assert self.setpoint is not None
        way = self.goal[:, :3] - self.setpoint[:, :3]
        left = np.linalg.norm(way, axis=1)
        top = self.speed * self.pace[s]
        plain = np.minimum(np.minimum(top / RATE, np.maximum(self.gain * left, 0.004)), left)
        self.moving = np.minimum(np.minimum(self.moving + 0.8 / RATE, top), 2.5 * left + 0.02)
        step = np.where(self.curved, np.minimum(self.moving / RATE, left), plain)
        bend = np.where(self.curved, np.maximum(left - 0.06, 0.0), 0.0)
        toward = way + self.bow * bend[:, None]
        toward /= np.maximum(np.linalg.norm(toward, axis=1), 1e-9)[:, None]
        self.setpoint[:, :3] += np.where(self.done, 0.0, step)[:, None] * toward
        turn = _wrapped(self.goal[:, 3] - self.setpoint[:, 3])
        self.setpoint[:, 3] += np.clip(turn, -0.13, 0.13) * ~self.done


def _strike(
    state: State, operator: Operators, hit: NDArray[np.bool_], rng: np.random.Generator
) -> None:
    """Push the hand aside, or a thing that it does not hold."""
    at_hand = hit & (rng.random(len(hit)) < 0.8)
    far = operator.slack * rng.choice([0.5, 1.0, 2.0], len(hit))
    aside = far[:, None] * rng.normal(0, 1, (len(hit), 3)) * [1.0, 1.0, 0.6]
    state.hand[at_hand, :3] += aside[at_hand]
    state.hand[:, 2] = np.maximum(state.hand[:, 2], 0.01)
    state.hand[at_hand, 3] += rng.normal(0, 0.15, len(hit))[at_hand]
    operator.restart(at_hand, state.hand)
    for n in np.flatnonzero(hit & ~at_hand):
        m = int(rng.integers(state.count[n]))
        if m != state.held[n] and np.linalg.norm((state.things[n, m] - state.hand[n])[:3]) > 0.08:
            state.things[n, m, :2] += rng.normal(0, 0.03, 2)


def _turn(v: Array, angle: Array) -> Array:
    """``(N, 2)`` turned by ``(N,)`` [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1]], axis=-1)


def _nearest(angle: Array, period: float) -> Array:
    """The same angle modulo a period, nearest to 0."""
    return (angle + 0.5 * period) % period - 0.5 * period


def _wrapped(angle: Array) -> Array:
    return _nearest(angle, 2 * np.pi)
