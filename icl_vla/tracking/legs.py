"""A robot on legs: its base walks a pattern, its hand, if it has one, draws it on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Embodiment, ReportedError, TaskTarget, se2, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import simulation_urdf
from icl_vla_wbc.legs import LegMpc

from ..sim.legged import LeggedDriver
from . import Actuation, Pattern
from .patterns import SIDES, Motion, base_motion, hand_motion
from .run import BASE, Moment

SIZE = 0.08  # [m] radius of a hand's figure
GAIN = 1.5  # [1/s] by which a misplaced base is called back
FASTEST = 0.6  # [m/s] that a base may be asked for
KICK, KICK_TIME = 1.0, 0.1  # [m/s] change of velocity, [s]
FORCE, FORCE_TIME = 20.0, 1.0  # [N], [s] at a robot that stands on two legs
FALLEN = 0.4  # of the standing height
UPRIGHT = 0.5  # cosine of the greatest tilt
DIFFERENCE = 1e-3  # [s] of the velocities' differences


class LegRig:
    """:class:`LegMpc` on a :class:`LeggedDriver`; a :class:`~.run.Rig`.

    Four legs or more walk; two stand while a hand draws. The controller takes velocities, so the
    way is followed by feedback on the base's place.

    Args:
        embodiment: A robot on legs.
        pattern: What is walked and drawn.
        folder: Where the light URDF is written.
        effector: The arm that draws; None for the first.

    Raises:
        ReportedError: Two legs, and nothing to draw with.
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
        self.actuation = Actuation.TORQUE
        self.controller = "LegMpc"
        model = RobotModel(embodiment)
        self._mpc = LegMpc(model)
        self.period = self._mpc.period
        self._walks = len(embodiment.of_kind("leg")) >= 4
        arms = [a.name for a in embodiment.arms]
        self._hand = effector or (arms[0] if arms else None)
        base = base_motion(pattern)
        self._course = base
        remarks = [base.remark]
        if not self._walks:
            self._course = Motion(base.duration, lambda t: np.zeros(3), base.pushes)
            remarks = ["stands"]
            if pattern is Pattern.BEHIND or (self._hand is None and pattern is not Pattern.PUSH):
                raise ReportedError(
                    "a robot on two legs stands: it cannot walk this pattern",
                    where=embodiment.name,
                    value=pattern.value,
                    valid=("push",)
                    if self._hand is None
                    else ("circle", "square", "eight", "push"),
                )
        if base.pushes:
            kick = f"pushed by {KICK:g} m/s" if self._walks else f"pushed with {FORCE:g} N"
            remarks.append(f"{kick}, three ways")
        self._drawing: Motion | None = None
        if self._hand is not None:
            home = model.poses(model.neutral)[self._hand]
            still = pattern in (Pattern.BEHIND, Pattern.PUSH)
            self._drawing = hand_motion(Pattern.PUSH if still else pattern, home, SIZE)
            remarks.append("hand held still" if still else f"hand: {self._drawing.remark}")
            if not self._walks and not still:
                self._course = Motion(self._drawing.duration, lambda t: np.zeros(3))
        self.duration = self._course.duration
        self.remarks = tuple(r for r in remarks if r)
        way = np.array([self._course.at(t) for t in np.arange(0, self.duration, 0.02)])
        self.course = np.column_stack([way[:, :2], np.zeros(len(way))])
        self._driver = LeggedDriver(model, simulation_urdf(embodiment, folder), self._mpc.height)
        self._pushing: Array | None = None

    def start(self) -> None:
        """Standing at the origin."""
        self._seen = self._driver.reset()
        self.client, self.body = self._driver.client, self._driver.body
        self._mpc.reset(self._seen)
        self._pushed: set[float] = set()
        self._pushing_until = 0.0
        self._in_world: dict[str, tuple[Array, Array]] = {}

    def tick(self, t: float) -> Moment:
        """One control period."""
        target = TaskTarget(
            base_twist=self._twist(t), poses=self._poses(t), twists=self._hand_twists(t)
        )
        command = self._mpc.track(target, self._seen)
        # the hand as the controller saw it: in this tick's reference body
        hands = self._hand_poses(target)
        self._act(t)
        self._driver.command(command, self.period)
        self._seen = self._driver.observe()
        o = self._seen
        assert o.T_world_base is not None and o.q is not None and o.v is not None
        height = self._mpc.height_over_ground()
        fell = o.T_world_base[2, 2] < UPRIGHT or height < FALLEN * self._mpc.height
        due = self._T(self._course.at(t + self.period))
        return Moment(
            parts={BASE: (due, o.T_world_base), **hands},
            q=o.q,
            v=o.v,
            tau=command.tau,
            a=None,
            seconds=sum(self._mpc.seconds),
            level=command.level,
            fell=bool(fell),
        )

    def _T(self, place: Array) -> Array:
        """``(4, 4)`` of x, y and heading at standing height."""
        R = se3.from_euler_xyz([0.0, 0.0, place[2]])
        return se3.pose(R, np.array([place[0], place[1], self._mpc.height]))

    def _twist(self, t: float) -> Array:
        """Velocity of the way, and back to it, in the base's heading ``(6,)``."""
        out = np.zeros(6)
        T = self._seen.T_world_base
        if not self._walks or T is None:
            return out
        due, rate = self._course.at(t), _rate(self._course.at, t)
        heading = float(np.arctan2(T[1, 0], T[0, 0]))
        wanted = rate[:2] + GAIN * (due[:2] - T[:2, 3])
        wanted *= min(1.0, FASTEST / max(float(np.linalg.norm(wanted)), 1e-9))
        c, s = np.cos(heading), np.sin(heading)
        out[:2] = np.array([[c, s], [-s, c]]) @ wanted
        gap = float(se2.wrap(due[2] - heading))
        out[5] = rate[2] + GAIN * gap
        return out

    def _poses(self, t: float) -> dict[str, Array]:
        if self._drawing is None or self._hand is None:
            return {}
        return {self._hand: self._drawing.at(t)}

    def _hand_twists(self, t: float) -> dict[str, Array]:
        if self._drawing is None or self._hand is None:
            return {}
        drawing = self._drawing
        speed = _rate(lambda s: drawing.at(s)[:3, 3], t)
        return {self._hand: np.concatenate([speed, np.zeros(3)])}

    def _hand_poses(self, target: TaskTarget) -> dict[str, tuple[Array, Array]]:
        """Due and reached pose of the hand in the reference body's frame."""
        found = {}
        for name, due in target.poses.items():
            goal = self._mpc.goal(due)
            reached = self._mpc.dynamics.tool(name)[0]
            self._in_world[name] = (goal[:3, 3], reached[:3, 3])
            found[name] = (due, due @ se3.inverse(goal) @ reached)
        return found

    def _act(self, t: float) -> None:
        """Begin a push where it is time."""
        for k, begin in enumerate(self._course.pushes):
            if t >= begin and begin not in self._pushed:
                self._pushed.add(begin)
                angle = SIDES[k % len(SIDES)]
                direction = np.array([np.cos(angle), np.sin(angle), 0.0])
                mass = self._mpc.dynamics.mass
                strength = mass * KICK / KICK_TIME if self._walks else FORCE
                lasts = KICK_TIME if self._walks else FORCE_TIME
                self._driver.push(strength * direction, lasts)
                self._pushing, self._pushing_until = strength * direction, t + lasts
        if t >= self._pushing_until:
            self._pushing = None

    def push(self) -> tuple[Array, Array] | None:
        """See :class:`~.run.Rig`."""
        T = self._seen.T_world_base
        return None if self._pushing is None or T is None else (T[:3, 3], self._pushing)

    def points(self) -> dict[str, tuple[Array, Array]]:
        """See :class:`~.run.Rig`; the base's are on the ground."""
        T = self._seen.T_world_base
        assert T is not None
        due = self._course.at(self._seen.time)
        flat = np.array([1.0, 1.0, 0.0])
        found = {BASE: (np.array([due[0], due[1], 0.0]), flat * T[:3, 3])}
        return found | self._in_world

    def close(self) -> None:
        """Free the physics client."""
        self._driver.close()


def _rate(at: Callable[[float], Array], t: float) -> Array:
    return (at(t + DIFFERENCE) - at(t - DIFFERENCE)) / (2 * DIFFERENCE)
