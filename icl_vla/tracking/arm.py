"""Arms that draw a pattern, their base held, under position or torque actuation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pinocchio as pin

from icl_vla_embodiments import Embodiment, Observation, ReportedError, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_embodiments.urdf import simulation_urdf
from icl_vla_wbc import ArmMpc
from icl_vla_wbc.torque import ArmTorqueMpc

from ..sim.bullet import pybullet
from ..sim.driver import PyBulletDriver
from ..sim.scene import Scene
from ..sim.world import STEP
from . import Actuation, Pattern
from .patterns import Motion, hand_motion
from .run import Moment

PERIOD = 1 / 60  # [s] of commanded positions; torques go out at every step of physics
AHEAD = 0.05 * np.arange(21)  # [s] at which the controller is told where to be
SIZE = 0.14  # of the arm's length: radius of a figure
SMALLER = (1.0, 0.7, 0.5, 0.35, 0.25)  # tried in this order until the controller can follow
SWINGS = np.radians([180, 160, 140, 120, 100, 80, 60, 40])
FOLLOWED = 2e-3  # [m] that the controller may be off where its commands are the truth
PUSH, PUSH_TIME = 10.0, 0.3  # [m/s^2] of a hand whose joints are free, [s]
GREATEST_PUSH, EFFORT = 40.0, 0.3  # [N], share of the efforts
DIRECTIONS = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])  # in world axes


class ArmRig:
    """:class:`ArmMpc` or :class:`ArmTorqueMpc` on a :class:`PyBulletDriver`; a :class:`~.run.Rig`.

    The pattern is made smaller until the controller follows it with a plant that does what it is
    told; what then is lost in physics is the actuation's.

    Args:
        embodiment: A robot with an arm; a base that moves is held.
        pattern: What is drawn.
        folder: Where the light URDF is written.
        actuation: ``position``: PyBullet's joint servos. ``torque``: :class:`ArmTorqueMpc`.
        effector: The arm; None for all, which draw at once and share the torso.

    Raises:
        ReportedError: Not even the smallest pattern can be followed.
    """

    def __init__(
        self,
        embodiment: Embodiment,
        pattern: Pattern,
        folder: Path,
        *,
        actuation: Actuation = Actuation.POSITION,
        effector: str | None = None,
    ) -> None:
        self.robot = embodiment.with_(base="fixed")
        torque = actuation is Actuation.TORQUE
        self.actuation, self.period = actuation, STEP if torque else PERIOD
        self._model = RobotModel(self.robot)
        self._effectors = (effector,) if effector else tuple(a.name for a in self.robot.arms)
        kind = ArmTorqueMpc if torque else ArmMpc
        self.controller = kind.__name__
        # fewer than six joints cannot hold an orientation beside a place
        fewest = min(len(self.robot.group(e).joints) for e in self._effectors)
        self._turns = fewest >= 6
        axes = (True,) * 3 + (self._turns,) * 3
        self._mpc = kind(self._model, self._effectors, task_axes=axes, period=self.period)
        dry = ArmMpc(self._model, self._effectors, task_axes=axes, period=PERIOD)
        self._motions = self._followable(pattern, dry)
        first = self._motions[self._effectors[0]]
        self.duration = first.duration
        remarks = [first.remark]
        remarks += ["pushed at the hand, three ways"] if first.pushes else []
        remarks += [] if self._turns else ["orientation left free"]
        remarks += [] if embodiment.base == "fixed" else ["base held"]
        remarks += self._too_weak()
        self.remarks = tuple(r for r in remarks if r)
        self._mount = self.robot.mount.matrix
        times = np.arange(0, self.duration, 0.02)
        gap = np.full((1, 3), np.nan)  # a line ends there
        ways = [[*(m.at(t)[:3, 3] for t in times), gap[0]] for m in self._motions.values()]
        self.course = se3.act(self._mount, np.concatenate(ways)[:-1])
        self._driver = PyBulletDriver(
            self._model, simulation_urdf(self.robot, folder), lambda _: Scene((), {})
        )
        self._pushing: tuple[Array, Array] | None = None

    def _followable(self, pattern: Pattern, controller: ArmMpc) -> dict[str, Motion]:
        """The largest form of a pattern that the controller follows without physics."""
        for size, swing in self._forms(pattern):
            motions = {}
            for effector in self._effectors:
                home = self._model.poses(self._model.neutral)[effector]
                shoulder, length = self._shoulder(effector)
                motions[effector] = hand_motion(pattern, home, size * length, swing, shoulder)
            if pattern is Pattern.PUSH or self._misses(motions, controller) < FOLLOWED:
                return motions
        raise ReportedError(
            "the arm cannot follow this pattern from its neutral posture",
            where=f"{self.robot.name}, {', '.join(self._effectors)}",
            value=pattern.value,
            remedy="give it a posture with room around the hand: set `neutral` in the embodiment",
        )

    @staticmethod
    def _forms(pattern: Pattern) -> list[tuple[float, float]]:
        """Sizes (share of the arm) and swings [rad] of a pattern, in the order they are tried."""
        if pattern is Pattern.PUSH:
            return [(0.0, 0.0)]
        if pattern is Pattern.BEHIND:
            return [(0.0, sign * angle) for angle in SWINGS for sign in (1, -1)]
        return [(SIZE * share, 0.0) for share in SMALLER]

    def _shoulder(self, effector: str) -> tuple[Array, float]:
        """``(2,)`` of the first joint in the base frame, and the stretched length [m]."""
        model = self._model
        home = model.poses(model.neutral)[effector]
        names = self.robot.group(effector).joints
        places = [model.data.oMi[model.model.getJointId(j)].translation.copy() for j in names]
        steps = np.diff([*places, home[:3, 3]], axis=0)
        return places[0][:2], float(np.linalg.norm(steps, axis=1).sum())

    def _misses(self, motions: Mapping[str, Motion], controller: ArmMpc) -> float:
        """Largest distance [m] from a pattern where commands are the truth."""
        q, worst = self._model.neutral, 0.0
        controller.reset(Observation(0.0, q=q))
        for t in np.arange(0, next(iter(motions.values())).duration, PERIOD):
            seen = Observation(t, q=q)
            command = controller.track(_targets(motions, t), seen, times=AHEAD)
            assert command.q is not None
            q = command.q
            poses = self._model.poses(q)
            for effector, motion in motions.items():
                gap = poses[effector] - motion.at(t + PERIOD)
                worst = max(worst, float(np.linalg.norm(gap[:3, 3])))
            if worst > FOLLOWED:
                break
        return worst

    def start(self) -> None:
        """The neutral posture in empty space."""
        driver = self._driver
        driver.reset(0)
        driver.world.client.removeBody(driver.world.table)
        driver.place(self._model.neutral)
        self.client, self.body = driver.world.client, driver.body
        names = [self.client.getJointInfo(self.body, i)[12].decode() for i in self._links()]
        tips = (self.robot.group(e).tip_link for e in self._effectors)
        self._tips = [names.index(tip) if tip in names else -1 for tip in tips]
        self._mpc.reset(driver.observe(cameras=False))
        self._v = np.zeros(self._model.n)
        self._due = {e: motion.at(0.0) for e, motion in self._motions.items()}
        self._reached = self._due

    def _links(self) -> range:
        return range(self.client.getNumJoints(self.body))

    def tick(self, t: float) -> Moment:
        """One control period, in steps of physics."""
        driver = self._driver
        command = self._mpc.track(
            _targets(self._motions, t), driver.observe(cameras=False), times=AHEAD
        )
        assert command.q is not None and command.v is not None and self._mpc.solution is not None
        a = (command.v - self._v) / self.period
        for k in range(round(self.period / STEP)):
            self._act(t + k * STEP)
            driver.command(command, STEP)
        self._v = command.v
        observed = driver.observe(cameras=False)
        assert observed.q is not None
        poses = self._model.poses(observed.q)
        self._due = {e: m.at(t + self.period) for e, m in self._motions.items()}
        self._reached = {e: poses[e] for e in self._effectors}
        parts = {}
        for effector, due in self._due.items():
            here = self._reached[effector]
            wanted = due if self._turns else se3.pose(here[:3, :3], due[:3, 3])
            parts[effector] = (wanted, here)
        return Moment(
            parts=parts,
            q=command.q,
            v=command.v,
            tau=command.tau,
            a=a,
            seconds=self._mpc.solution.seconds,
            level=command.level,
        )

    def _act(self, t: float) -> None:
        """Push the first hand for the coming step of physics, where it is time."""
        self._pushing = None
        effector = self._effectors[0]
        for k, begin in enumerate(self._motions[effector].pushes):
            if begin <= t < begin + PUSH_TIME:
                direction = DIRECTIONS[k % len(DIRECTIONS)]
                q = self._driver.observe(cameras=False).q
                assert q is not None
                tool = se3.act(self._mount, self._model.poses(q)[effector][None, :3, 3])[0]
                force = self._strength(q, effector, direction) * direction
                self.client.applyExternalForce(
                    self.body, self._tips[0], force, tool, pybullet.WORLD_FRAME
                )
                self._pushing = (tool, force)

    def _strength(self, q: Array, effector: str, direction: Array) -> float:
        """Force [N] after the mass that a hand shows in a direction (Khatib 1987)."""
        local = self._mount[:3, :3].T @ direction
        loads = self._model.jacobian(q, effector)[:3].T @ local
        arm = np.abs(loads) > 1e-3
        inertia = self._inertia(q)[np.ix_(arm, arm)]
        mass = 1.0 / float(loads[arm] @ np.linalg.solve(inertia, loads[arm]))
        bearable = EFFORT * np.min(self.robot.array("effort")[arm] / np.abs(loads[arm]))
        return min(PUSH * mass, GREATEST_PUSH, float(bearable))

    def _too_weak(self) -> list[str]:
        """Joints whose effort does not hold the neutral posture: the robot may have springs."""
        model, robot = self._model, self.robot
        weight = pin.computeGeneralizedGravity(model.model, model.data, model.full(model.neutral))
        load, effort = np.abs(model.G.T @ weight), robot.array("effort")
        return [
            f"{joint} cannot carry its load ({load[i]:.0f} of {effort[i]:.0f} N m)"
            for i, joint in enumerate(robot.joints)
            if 0 < effort[i] < load[i]
        ]

    def _inertia(self, q: Array) -> Array:
        """``(n, n)`` of the actuated joints."""
        model = self._model
        M = pin.crba(model.model, model.data, model.full(q))
        M = np.triu(M) + np.triu(M, 1).T  # Pinocchio fills the upper triangle only
        return np.asarray(model.G.T @ M @ model.G)

    def push(self) -> tuple[Array, Array] | None:
        """See :class:`~.run.Rig`."""
        return self._pushing

    def points(self) -> dict[str, tuple[Array, Array]]:
        """See :class:`~.run.Rig`."""
        points = {}
        for effector, due in self._due.items():
            both = np.array([due[:3, 3], self._reached[effector][:3, 3]])
            placed = se3.act(self._mount, both)
            points[effector] = (placed[0], placed[1])
        return points

    def close(self) -> None:
        """Free the physics client."""
        self._driver.close()


def _targets(motions: Mapping[str, Motion], t: float) -> list[TaskTarget]:
    """Where the hands should be during the controller's horizon."""
    return [TaskTarget(poses={e: m.at(t + dt) for e, m in motions.items()}) for dt in AHEAD]
