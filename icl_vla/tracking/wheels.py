"""A robot on wheels: its hand, or its base where it has no arm, travels a pattern."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Embodiment, TaskTarget, se2, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import simulation_urdf
from icl_vla_wbc.mobile import Drive, MobileMpc
from icl_vla_wbc.mobile.path import TIGHT, BasePath

from ..sim.wheeled import WheeledDriver
from . import Actuation, Pattern
from .patterns import RADIUS, SIDES, SPEED, Motion, base_motion
from .run import BASE, Moment

SHARE = 0.6  # of the base's limits that a pattern uses
SAMPLE = 0.02  # [s] between looks at a pattern
SETTLE = 4.0  # [s] beyond the time of a planned path, to come to rest at a place behind
KICK, KICK_TIME = 0.5, 0.1  # [m/s] change of velocity, [s]
UPRIGHT = 0.7  # cosine of the greatest tilt


class WheelRig:
    """:class:`MobileMpc` on a :class:`WheeledDriver`; a :class:`~.run.Rig`.

    A base travels the pattern itself. With an arm, only the hand is asked to go where a base that
    travels it would carry it, and the controller finds what the wheels do. The pattern is widened
    and slowed until the wheels can follow. A place behind is asked for at once.

    Args:
        embodiment: A robot on wheels.
        pattern: What is travelled.
        folder: Where the light URDF is written.
        effector: The arm that is asked; None for the first.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        pattern: Pattern,
        folder: Path,
        *,
        effector: str | None = None,
    ) -> None:
        self.robot = embodiment
        self.actuation = Actuation.POSITION
        self.controller = "MobileMpc"
        self._model = RobotModel(embodiment)
        arms = [a.name for a in embodiment.arms]
        self._hand = effector or (arms[0] if arms else None)
        self._mpc = MobileMpc(self._model, (self._hand,) if self._hand else ())
        self.period = self._mpc.period
        config = self._mpc.config
        self._ahead = config.dt * np.arange(config.stages + 2)
        self._at_once = pattern is Pattern.BEHIND
        self._motion = (
            _behind(self._mpc.drive) if self._at_once else fitting(pattern, self._mpc.drive)
        )
        self.duration = self._motion.duration
        remarks = ["wheel motors", self._motion.remark]
        remarks += [f"pushed by {KICK:g} m/s, three ways"] if self._motion.pushes else []
        remarks += [] if self._hand is None else ["the hand alone is asked"]
        self.remarks = tuple(r for r in remarks if r)
        self._driver = WheeledDriver(self._model, simulation_urdf(embodiment, folder))
        self._push: tuple[Array, Array] | None = None

    def start(self) -> None:
        """Standing at the origin in the neutral posture."""
        self._seen = self._driver.reset()
        self.client, self.body = self._driver.client, self._driver.body
        self._mpc.reset(self._seen)
        T, q = self._seen.T_world_base, self._seen.q
        assert T is not None and q is not None
        centre = se2.lifted(se2.planar(T @ self._mpc.drive.T_base_centre))
        part = T if self._hand is None else T @ self._model.poses(q)[self._hand]
        self._centre, self._carried = centre, se3.inverse(centre) @ part
        links = range(-1, self.client.getNumJoints(self.body))
        self._mass = sum(self.client.getDynamicsInfo(self.body, i)[0] for i in links)
        self._v = np.zeros(self._model.n)
        way = np.array([self._due(t)[:3, 3] for t in np.arange(0, self.duration, SAMPLE)])
        self.course = way if self._hand else way * [1.0, 1.0, 0.0]

    def tick(self, t: float) -> Moment:
        """One control period."""
        times = np.zeros(1) if self._at_once else self._ahead
        targets = [self._target(self._due(t + s)) for s in times]
        command = self._mpc.track(targets, self._seen, times=times)
        assert command.q is not None and command.v is not None and self._mpc.solution is not None
        a, self._v = (command.v - self._v) / self.period, command.v
        self._kick(t)
        self._driver.command(command, self.period)
        self._seen = self._driver.observe(cameras=False)
        T = self._seen.T_world_base
        assert T is not None
        return Moment(
            parts={self._hand or BASE: (self._due(t + self.period), self._reached())},
            q=command.q,
            v=command.v,
            tau=None,
            a=a,
            seconds=self._mpc.solution.seconds,
            level=command.level,
            fell=bool(T[2, 2] < UPRIGHT),
        )

    def _due(self, t: float) -> Array:
        """``T_world_hand``, or ``T_world_base`` of a base alone."""
        return self._centre @ se2.lifted(self._motion.at(t)) @ self._carried

    def _target(self, T: Array) -> TaskTarget:
        return TaskTarget(poses={self._hand: T}) if self._hand else TaskTarget(T_world_base=T)

    def _reached(self) -> Array:
        T, q = self._seen.T_world_base, self._seen.q
        assert T is not None and q is not None
        return T @ self._model.poses(q)[self._hand] if self._hand else T

    def _kick(self, t: float) -> None:
        """Push the base for the coming period, where it is time."""
        self._push = None
        for k, begin in enumerate(self._motion.pushes):
            if begin <= t < begin + KICK_TIME:
                angle, T = SIDES[k % len(SIDES)], self._seen.T_world_base
                assert T is not None
                force = self._mass * KICK / KICK_TIME * np.array([np.cos(angle), np.sin(angle), 0])
                self._driver.push(force, self.period)
                self._push = (T[:3, 3], force)

    def push(self) -> tuple[Array, Array] | None:
        """See :class:`~.run.Rig`."""
        return self._push

    def points(self) -> dict[str, tuple[Array, Array]]:
        """See :class:`~.run.Rig`; the base's are on the ground."""
        ground = np.array([1.0, 1.0, 1.0 if self._hand else 0.0])
        due, reached = self._due(self._seen.time)[:3, 3], self._reached()[:3, 3]
        return {self._hand or BASE: (ground * due, ground * reached)}

    def close(self) -> None:
        """Free the physics client."""
        self._driver.close()


def fitting(pattern: Pattern, drive: Drive) -> Motion:
    """A pattern for a base, as wide, as small and as slow as its wheels need it."""
    sideways = drive.kind == "planar_holo"
    corner = None if sideways else TIGHT * drive.radius
    size = RADIUS * min(1.0, SHARE * float(drive.twist_limit[0]) / SPEED)  # slow ones go less far
    motion = base_motion(pattern, radius=size, corner=corner)
    twists, _ = _rates(motion)
    bend = _largest(np.abs(twists[:, 2]), np.hypot(twists[:, 0], twists[:, 1]))
    widened = max(1.0, bend * TIGHT * drive.radius)
    if widened > 1 and pattern is not Pattern.SQUARE:
        motion = base_motion(pattern, radius=widened * size)
    twists, changes = _rates(motion)
    free = np.array([0, 1, 2] if sideways else [0, 2])
    speed = (np.abs(twists).max(axis=0) / (SHARE * drive.twist_limit + 1e-9))[free].max()
    change = (np.abs(changes).max(axis=0) / (SHARE * drive.twist_rate + 1e-9))[free].max()
    return motion.slower(max(1.0, float(speed), float(np.sqrt(change))))


def _rates(motion: Motion) -> tuple[Array, Array]:
    """Velocities in the base's frame and their rates ``(M, 3)`` along a motion."""
    way = np.array([motion.at(t) for t in np.arange(0, motion.duration, SAMPLE)])
    twists = np.array([se2.between(a, b) for a, b in pairwise(way)]) / SAMPLE
    return twists, np.diff(twists, axis=0) / SAMPLE


def _largest(over: Array, under: Array) -> float:
    """Largest ratio where the lower number is not close to zero."""
    moves = under > 1e-2
    return float((over[moves] / under[moves]).max(initial=0.0))


def _behind(drive: Drive) -> Motion:
    """A place behind the start, the other way round, asked for from the first moment on."""
    goal = np.array([-2 * RADIUS, 0.0, np.pi])
    path = BasePath.plan(drive, np.zeros(3), goal)
    remark = f"{2 * RADIUS:g} m behind the start, asked for at once"
    return Motion(path.duration + SETTLE, lambda t: goal, remark=remark)
