"""Control of a legged robot: from a commanded base velocity and hand poses to joint torques."""

from __future__ import annotations

import time

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..errors import WbcError
from .config import LegConfig
from .disturbance import FrictionObserver, TorqueEstimator, WrenchEstimator
from .dynamics import FloatingDynamics
from .feet import find_feet
from .forces import GRAVITY, BodyState, ForceMpc
from .gait import Gait
from .hands import HandTask
from .reference import BodyReference, Ground
from .stance import Stance
from .stepping import Stepping
from .tasks import Aim, FootTask, com_task, joint_bounds, posture_task
from .whole_body import solve_whole_body

CLEAR = 0.03  # of the standing height: farther over the ground a foot does not touch it
FORCE_WEIGHT = 15.0  # of the whole-body program's forces, over the robot's weight squared
PATIENCE = 10  # ticks without a solution for which the last torques are kept


class LegMpc:
    """Stands, walks and reaches with any robot on legs; one set of parameters for all.

    Every :attr:`LegConfig.replan` ticks :class:`ForceMpc` plans contact forces; every tick a
    whole-body program turns them, the swinging feet and the hands into torques. What the model
    does not know is estimated as a wrench on the body and enters both. A robot with four feet or
    more trots when it is asked to move or loses its balance; one with two stands.

    Poses of hands are given in the frame of the *reference* body: where the base should be, level,
    so that a hand stays in place while the body sways. Not thread-safe.

    Attributes:
        dynamics: The robot's numbers at the last tick.
        height: Of the base over the ground when the robot stands [m].
        seconds: CPU time of the last tick's force plan (0 without one) and whole-body program.
    """

    def __init__(
        self,
        model: RobotModel,
        *,
        config: LegConfig = LegConfig(),  # noqa: B008 - frozen
        gait: Gait | None = None,
        period: float = 1 / 500,
    ) -> None:
        """Find the feet and the standing posture.

        Args:
            model: The robot.
            config: Settings.
            gait: How to walk; None for a trot.
            period: Time between calls of :meth:`track` [s].

        Raises:
            WbcError: The robot has no legs, its base does not float, or its neutral posture does
                not stand.
        """
        feet = find_feet(model)
        if not feet:
            raise WbcError("the robot has no legs to stand on", where=model.embodiment.name)
        self.model, self.config, self.period = model, config, period
        self.dynamics = FloatingDynamics(model, feet)
        self._mpc = ForceMpc(self.dynamics.mass, config)
        self._efforts = model.embodiment.array("effort")
        self._ranges = (model.embodiment.array("lower"), model.embodiment.array("upper"))
        self.dynamics.update(_at_rest(model))
        self._stance = Stance.of(model, self.dynamics)
        self.height = self._stance.height
        self._walks = len(feet) >= 4
        owner, below = self.dynamics.owner, self._stance.below
        centres = np.array([below[owner == f, :2].mean(axis=0) for f in range(len(feet))])
        self._gait = gait or (Gait.trot(centres) if self._walks else Gait.stand(len(feet)))
        joints = model.embodiment.joints
        self._arm_columns = np.array(
            [6 + joints.index(j) for arm in model.embodiment.arms for j in arm.joints], dtype=int
        )
        self.seconds = (0.0, 0.0)
        self._reference: BodyReference | None = None
        self._torques = np.zeros(model.n)  # of the last tick

    def reset(self, observation: Observation) -> None:
        """Take the measured state for the reference, standing."""
        self.dynamics.update(observation)
        d = self.dynamics
        self._reference = BodyReference(d.base, self.config)
        self._ground = Ground(self._stance.soles(d))
        self._aim = Aim.of(self._reference, self._ground, self._stance)
        self._stepping = Stepping(self._stance, self._gait, self._walks, self.period)
        self._feet = FootTask(self._stance, self.config, self.period)
        self._hands = HandTask(self.model, self.config, self.period)
        self._estimator = WrenchEstimator(self.config.estimator, self.period, d.mass)
        self._loads = TorqueEstimator(
            self.config.estimator,
            self.period,
            np.concatenate([self._arm_columns, 6 + self._stance.trunk]),
            self._efforts,
            self._stance.armature,
        )
        self._slip = FrictionObserver(self.config, self.period)
        self._forces = np.zeros_like(d.points)
        self._forces[:, 2] = d.mass * 9.81 / len(d.points)
        self._applied = self._forces
        self._acceleration = np.zeros(len(d.u))
        self._tick, self._failures, self._time = 0, 0, observation.time

    @property
    def friction(self) -> float:
        """What the ground is believed to hold."""
        return self.config.friction if self._reference is None else self._slip.friction

    def track(self, target: TaskTarget, observation: Observation) -> Command:
        """Torques for the next period.

        Args:
            target: ``base_twist`` (x, y, turn), ``poses`` and ``twists`` of hands in the frame of
                the reference body; what is absent means: stand, hold.
            observation: Joints, base pose and base velocity.

        Returns:
            Torques inside the limits. Where a number of target or observation is not finite, those
            of the last tick, fading (level ``braking``); where no program was solved, those of the
            last tick for a moment (``shifted``), then damping (``braking``).
        """
        if not _finite(target, observation):
            self._torques = 0.9 * self._torques  # a moment's loss is passed over, a long one is not
            return Command(mode="torque", tau=self._torques.copy(), level="braking")
        if self._reference is None:
            self.reset(observation)
        reference, stepping, d = self._reference, self._stepping, self.dynamics
        assert reference is not None
        start = time.thread_time()
        elapsed = observation.time - self._time
        self._time = observation.time
        late = elapsed > 3 * self.period
        if late:  # the feet went on, or stood, without us
            stepping.advance(min(elapsed, 0.5) - self.period)
        d.update(observation)
        twist = np.zeros(6) if target.base_twist is None else np.asarray(target.base_twist)
        stepping.choose(d, reference, twist)
        reference.advance(twist if stepping.walking else np.zeros(6), d.base, self.period)
        aim = self._aim = Aim.of(reference, self._ground, self._stance)
        stands = stepping.contacts()
        points = stands[d.owner]
        wrench = self._estimator.update(d, self._applied, late)
        loads = self._loads.update(d, None if late or self._failures else self._acceleration)
        lifted = self._lifted()
        self._slip.update(d, self._applied, points & ~lifted & ~stepping.fresh()[d.owner])
        planned = 0.0
        if self._tick % self.config.replan == 0:
            before = time.thread_time()
            rate = min(1.0, 10 * self.config.replan * self.period)
            self._ground.update(self._stance.soles(d), points, rate)
            self._plan_forces(stands, wrench)
            planned = time.thread_time() - before
        acceleration = (self._forces.sum(axis=0) + wrench[:3]) / d.mass + GRAVITY
        solution = solve_whole_body(
            d,
            [
                com_task(d, aim, acceleration, self.config),
                posture_task(d, aim, self._stance, stands, self.config),
                self._feet.at(d, aim, stepping, stands, lifted, self._ground),
                *self._hands.at(d, aim, target),
            ],
            points,
            self._forces,
            FORCE_WEIGHT / (d.mass * 9.81) ** 2,
            wrench,
            loads,
            self._efforts,
            self._slip.friction,
            stepping.bearing(d),
            self._stance.armature,
            joint_bounds(d, self._ranges, self.config),
        )
        self._tick += 1
        stepping.advance(self.period)
        if solution is None:
            self._failures += 1
            level = "shifted" if self._failures <= PATIENCE else "braking"
            torques = self._torques if level == "shifted" else self._damped()
        else:
            self._failures, level = 0, "nominal"
            torques = solution.torques
            self._applied, self._acceleration = solution.forces, solution.accelerations
        self._torques = np.minimum(np.maximum(torques, -self._efforts), self._efforts)
        self.seconds = (planned, time.thread_time() - start - planned)
        return Command(mode="torque", tau=self._torques.copy(), level=level)

    def height_over_ground(self) -> float:
        """Of the base, at the last tick [m]."""
        x, y, z = self.dynamics.base[:3, 3]
        return float(z - self._ground.at(np.array([x, y])))

    def hand_error(self, target: TaskTarget) -> dict[str, float]:
        """Distance of each hand from its target at the last tick [m]."""
        return {
            name: float(np.linalg.norm(self.goal(T)[:3, 3] - self.dynamics.tool(name)[0][:3, 3]))
            for name, T in target.poses.items()
        }

    def goal(self, T_body_hand: Array) -> Array:
        """``T_world_hand`` of a target in the reference body's frame, at the last tick."""
        return self._aim.goal(T_body_hand)

    def _lifted(self) -> NDArray[np.bool_]:
        """``(C,)`` points that are clearly off the ground, whatever the schedule says."""
        points = self.dynamics.points
        over = points[:, 2] - self._stance.radius - self._ground.at(points[:, :2])
        return np.asarray(over > CLEAR * self.height)

    def _plan_forces(self, stands: NDArray[np.bool_], wrench: Array) -> None:
        d, aim, stance = self.dynamics, self._aim, self._stance
        v = np.append(aim.velocity[:2], 0.0)
        times = np.arange(self.config.stages) * self.config.dt
        schedule = self._stepping.schedule(times + 0.01 * self.config.dt)
        schedule[0] = stands
        later = stance.hips(d.base[:2, 3] + np.multiply.outer(times, v[:2]), aim.R)
        heights = self._ground.at(later) + stance.radius
        later = np.concatenate([later, heights[..., None]], axis=2)  # (N, C, 3)
        # a foot stays where it is until its first swing
        same = np.logical_and.accumulate(schedule, axis=0)[:, d.owner]
        feet = np.where(same[..., None], d.points, later)
        coms = d.com + np.multiply.outer(times, v)  # (N, 3)
        forces = self._mpc.plan(
            self._body(wrench),
            aim.com + np.multiply.outer(self._mpc.times, v),
            v,
            np.array([0.0, 0.0, aim.spin]),
            feet - coms[:, None],
            schedule[:, d.owner],
            self._slip.friction,
        )
        if forces is not None:
            self._forces = forces

    def _body(self, wrench: Array) -> BodyState:
        """The body as the force plan sees it.

        The wrench at a hand is part of the estimated one, which knows the whole robot's momentum;
        moving arms push back on the body by the rate of their share of the momentum.
        """
        d, columns = self.dynamics, self._arm_columns
        push = wrench.copy()
        push[3:] -= d.momentum_map[3:, columns] @ self._acceleration[columns]
        return BodyState(
            tilt=pin.log3(d.base[:3, :3] @ self._aim.tilted.T),
            com=d.com,
            spin=d.base[:3, :3] @ d.u[3:6],
            velocity=d.com_velocity,
            inertia=d.inertia,
            wrench=push,
        )

    def _damped(self) -> Array:
        """Torques that hold the neutral posture softly, when no program was solved for long."""
        d = self.dynamics
        return np.asarray(self._efforts * (0.5 * (self._stance.q - d.q) - 0.025 * d.u[6:]))


def _finite(target: TaskTarget, observation: Observation) -> bool:
    """Whether every number that the controller reads is finite; what is missing passes."""
    o = observation
    numbers = (
        *(o.q, o.v, o.T_world_base, o.base_twist, target.base_twist),
        *target.poses.values(),
        *target.twists.values(),
    )
    return all(x is None or bool(np.isfinite(x).all()) for x in numbers)


def _at_rest(model: RobotModel) -> Observation:
    return Observation(
        time=0.0,
        q=model.neutral,
        v=np.zeros(model.n),
        T_world_base=np.eye(4),
        base_twist=np.zeros(6),
    )
