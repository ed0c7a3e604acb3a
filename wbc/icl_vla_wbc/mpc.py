"""Real-time model predictive control of arms, from task targets to joint commands."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.geometry import Hull
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from . import quaternion
from .avoidance import Avoidance, moments
from .chains import moves, own_joints
from .collision import CollisionModel
from .config import MpcConfig
from .dynamics import FrameKinematics, InPlace
from .errors import WbcError
from .grippers import GripperJoints, gripper_joints, resting_places
from .horizon import Horizon
from .ladder import Ladder
from .limits import DistanceLimits, Limit, ViableLimits, departure
from .obstacles import Box, Obstacle, Sphere
from .program import Program
from .qp import QuadraticProgram
from .reference import Governor
from .request import Request, Weights, hand_factors, read_requests
from .solution import Solution, Step
from .tasks import FramePose, Posture, Task

PATIENCE = 0.1  # [s] for which measurements may be missing


class ArmMpc:
    r"""Tracks targets of one or several arms with joint accelerations optimised over a horizon.

    Each tick makes one Gauss-Newton step (real-time iteration; Diehl et al., *A real-time iteration
    scheme for nonlinear optimization in optimal feedback control*, 2005) on

    .. math:: \min_U \sum_k \sum_{tasks} \|r(q_k)\|^2 + \|w_v v_k\|^2 + \|w_a a_k\|^2

    subject to position, velocity and acceleration limits. The tasks are a :class:`FramePose` for
    each arm, a :class:`Posture`, and the caller's own; the joints are those that move the
    controlled arms and no other one, so a torso moves with all of its arms or not at all. The
    plant is a position servo, so the state is the *commanded* one; the measured one enters through
    a leash (:attr:`MpcConfig.leash`). Behind the optimiser stand, in this order, the previous plan,
    a one-step program and braking; :attr:`Command.level` names the one used. Whatever comes out
    passes :class:`ViableLimits`, so that no command breaks a limit. Not thread-safe.

    With ``hulls`` the program also keeps distances (:class:`DistanceLimits`), and whatever comes
    out of it is checked twice: after which there would be no way out any more is not done, but that
    way taken (level ``refuge``; :class:`Avoidance`), and a motion that could not be stopped in time
    is braked. While there are obstacles, plans are slow (:attr:`SafetyConfig.speed`), so that they
    can be stopped.

    Attributes:
        effectors: The arms that are controlled.
        joints: ``(n,)`` indices of the controlled joints among the actuated ones.
        solution: The last tick's plan; None before the first.
    """

    def __init__(
        self,
        model: RobotModel,
        effectors: str | Sequence[str] | None = None,
        *,
        task_axes: Sequence[bool] = (True,) * 6,
        hulls: Mapping[str, Sequence[Hull]] | None = None,
        tasks: Sequence[Task] = (),
        limits: Sequence[Limit] = (),
        config: MpcConfig = MpcConfig(),  # noqa: B008 - frozen
        period: float = 1 / 60,
        compiled: bool = True,
    ) -> None:
        """Build the symbolic kinematics and the constant parts of the program (well under 1 s).

        Args:
            model: The robot.
            effectors: Arms to control; None for all.
            task_axes: Six flags (x y z, rx ry rz in base axes) of the directions to control.
            hulls: Link -> its convex hulls (:attr:`LinkHulls.hulls`), with which the arms keep
                their distance from the robot's other links, obstacles and keep-out boxes, and
                their tools inside the workspace; None to look at no distances.
            tasks: What else is asked for, always.
            limits: What else is forbidden, always.
            config: Settings.
            period: Time between calls of :meth:`track` [s].
            compiled: Whether machine code is made in the background and takes over when it is
                ready; False where two runs must be the same to the last bit.

        Raises:
            WbcError: The robot has no arm or no usable limits, or the period exceeds ``config.dt``.
            FrameNotFound: There is no such effector.
        """
        embodiment = model.embodiment
        if not embodiment.arms:
            raise WbcError("the robot has no arm to control", where=embodiment.name)
        if not 0 < period <= config.dt:
            raise WbcError(
                "the control period must not exceed the horizon's step",
                where="period",
                value=period,
                valid=(f"0 < period <= {config.dt}",),
            )
        if len(task_axes) != 6:
            raise WbcError("six axis flags are needed", where="task_axes", value=tuple(task_axes))
        self.model, self.config, self.period = model, config, period
        chosen = [effectors] if isinstance(effectors, str) else effectors
        self.effectors = tuple(chosen or (arm.name for arm in embodiment.arms))
        self.joints = own_joints(model, self.effectors)
        self._moves = {e: moves(model, e)[self.joints] for e in self.effectors}
        self._limits = ViableLimits.of(embodiment, period)
        self._own_limits = self._limits.subset(self.joints)
        self._endless = np.isinf(self._limits.upper) & np.isinf(self._limits.lower)
        self._leash = np.full(model.n, np.inf)  # a gripper may stall on what it holds
        self._leash[self.joints] = config.leash
        self._grippers: dict[str, GripperJoints] = gripper_joints(embodiment)

        self._horizon = Horizon(config.stages, config.knots, config.dt, period)
        self._program = Program(self.joints, self._own_limits, self._horizon, config)
        self._axes = np.asarray(task_axes, dtype=float)
        self._hands = {e: self._hand(e) for e in self.effectors}
        self._posture = Posture(model.neutral, config.preference_weight)
        self._tasks = tuple(tasks)
        for task in (*self._hands.values(), self._posture, *self._tasks):
            task.bind(self.joints, config.stages, compiled)
        self._governors = {
            e: Governor(config.governor, period, self._horizon.times, compiled)
            for e in self.effectors
        }
        self._distances: DistanceLimits | None = None
        self._rows = list(limits)
        if hulls is not None:
            postures = len(moments(self._horizon, config)[0])
            collision = CollisionModel(
                model, hulls, self.joints, self.effectors, postures, config.safety
            )
            avoidance = Avoidance(collision, self._horizon, self._own_limits, self.joints, config)
            self._distances = DistanceLimits(avoidance, self._horizon)
            self._rows.append(self._distances)
        self._matrix = InPlace(quaternion.pose_matrix())

        self._started = False
        self._q = np.full(model.n, np.nan)  # commanded, all actuated joints
        self._v = np.zeros(model.n)
        self._hold = np.zeros(model.n)
        self._openings: dict[str, float] = {}
        self._ladder = Ladder(
            self._horizon, len(self.joints), period, config.shift_time, config.iterations
        )
        self.solution: Solution | None = None

    def _hand(self, effector: str) -> FramePose:
        kinematics = FrameKinematics.of(self.model, self.model.tcp_id(effector))
        config = self.config
        return FramePose(kinematics, config.position_weight, config.rotation_weight)

    def reset(self, observation: Observation) -> None:
        """Take the measured posture, at rest, for the commanded state.

        Raises:
            WbcError: The observation has no finite joint positions.
        """
        q = self._measured(observation)
        if q is None:
            raise WbcError(
                "the controller cannot start without measured joint positions",
                where="observation.q",
                value=None if observation is None else observation.q,
                valid=(f"{self.model.n} finite numbers",),
            )
        self._q, self._v, self._hold = q.copy(), np.zeros(self.model.n), q.copy()
        self._openings, self.solution, self._started = {}, None, True
        self._missed = 0  # measurements, up to now
        if self._distances is not None:
            self._distances.reset()
        self._start_anew()

    def track(
        self,
        targets: Sequence[TaskTarget],
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        obstacles: Sequence[Obstacle] = (),
        weights: Weights | None = None,
    ) -> Command:
        """Command for the next period.

        Args:
            targets: Poses, twists and postures in the base frame, gripper openings 0 to 1. A twist
                is how an arm goes on from its last pose, or from where it is. A posture is a
                preference for joints that move an arm with a pose or a twist, and a demand for the
                others; without one, an arm of which nothing is asked stays.
            observation: What was measured now; only ``q`` is used.
            times: Seconds from now at which each target is due, increasing. None: one target, to
                be reached as soon as the governor allows.
            obstacles: Spheres and boxes in the base frame, where they are now.
            weights: Factors on the arms' residuals (x y z, rx ry rz in base axes): ``(6,)``, or
                ``(6, 6)`` to weight other directions; for all arms, or effector -> factors.

        Returns:
            Positions and velocities of all actuated joints at the end of the period.

        Raises:
            WbcError: Wrong use: no :meth:`reset` before, times that do not fit the targets, poses
                of what is not controlled, or obstacles. Bad *data* (missing or not finite) brakes
                instead; measurements only when they are missing for longer than
                :data:`PATIENCE`.
        """
        start = time.thread_time()
        if not self._started:
            raise WbcError("the controller has no state", remedy="call reset(observation) first")
        self._admit(obstacles)
        factors = hand_factors(weights, self.effectors)
        requests = read_requests(targets, times, self.effectors, self.period, self.model.n)
        measured = self._measured(observation)
        self._missed = self._missed + 1 if measured is None else 0
        if 0 < self._missed <= round(PATIENCE / self.period):
            measured = self._q  # a moment's loss is passed over: it is where it was told to be
        self._ladder.advance()
        if measured is None:
            step = self._ladder.brake("no finite measured joint positions")
        elif requests is None or not all(np.isfinite(f).all() for f in factors.values()):
            step = self._ladder.brake(
                "a target or weight is not finite, or a pose is no rigid motion"
            )
        else:
            for effector, hand in self._hands.items():
                hand.factors = factors[effector] * self._axes
                self._openings.update(requests[effector].grippers)
            step = self._decide(requests, measured, obstacles)
        return self._apply(step, measured, start)

    def _admit(self, obstacles: Sequence[Obstacle]) -> None:
        """Refuse obstacles that cannot be avoided."""
        if len(obstacles) and self._distances is None:
            raise WbcError(
                "this controller does not know the robot's shape, so it avoids no obstacles",
                where="obstacles",
                value=len(obstacles),
                remedy="pass hulls=LinkHulls(embodiment).hulls to the controller",
            )
        for obstacle in obstacles:
            if not isinstance(obstacle, Sphere | Box):
                raise WbcError(
                    "an obstacle has an unknown shape",
                    where="obstacles",
                    value=obstacle,
                    valid=("Sphere", "Box"),
                )

    def _decide(
        self, requests: Mapping[str, Request], measured: Array, obstacles: Sequence[Obstacle]
    ) -> Step:
        """Plan with what is asked for, or walk down the ladder."""
        tasks = [*self._aim(requests), *self._tasks]
        v, ladder, distances = self._v[self.joints], self._ladder, self._distances
        if distances is not None:
            ladder.U = distances.around(self._q, measured, v, ladder.U, obstacles)
        # what moves can be evaded only at speeds soon stopped, but fled from at any
        cautious = len(obstacles) > 0 and not (distances is not None and distances.pressed)
        self._program.limits.speed = self._speed(cautious)
        program = self._program.track(self._program.plan(self._q, v, ladder.U), tasks, self._rows)

        def one_step() -> QuadraticProgram:
            velocities = self._program.one_step(self._q, v, tasks)
            return velocities if distances is None else distances.damped(velocities)

        return ladder.decide(v, program, one_step, distances is None or distances.kept)

    def _aim(self, requests: Mapping[str, Request]) -> list[Task]:
        """Set the tasks to what is asked for."""
        posture = next(iter(requests.values())).posture
        asked = [e for e, request in requests.items() if request.moves]
        demanded = np.full(len(self.joints), posture is not None)
        for effector in asked:
            demanded &= ~self._moves[effector]
        self._demanded = demanded
        config = self.config
        self._posture.goal = self.model.neutral if posture is None else posture
        self._posture.weights = np.where(demanded, config.posture_weight, config.preference_weight)
        tasks: list[Task] = [self._posture]
        for effector, request in requests.items():
            hand, governor = self._hands[effector], self._governors[effector]
            commanded = hand.pose(self._q)
            if posture is None or effector in asked:
                path = request.path(self._T(governor.state[:7]), float(self._horizon.times[-1]))
                hand.parameter = governor.follow(path, commanded)
                tasks.append(hand)
            else:
                governor.reset(commanded)
        return tasks

    def _speed(self, cautious: bool) -> Array:
        """Largest velocities ``(n,)`` of plans now."""
        fast = self._own_limits.velocity
        slow = self.config.posture_speed * fast
        if cautious:
            return np.minimum(slow, self.config.safety.speed)
        return np.where(self._demanded, slow, fast)

    def _apply(self, step: Step, measured: Array | None, start: float) -> Command:
        """Move the commanded state on, inside the limits, and say how it came about."""
        velocity = np.zeros(self.model.n)
        if step.level != "braking":
            velocity = self._limits.approach(
                self._q, self._v, resting_places(self._hold, self._openings, self._grippers)
            )
        velocity[self.joints] = step.velocity
        if self._distances is not None and step.level != "braking":
            velocity[self.joints] = self._filtered(step.velocity)
        q, v, own = self._q, self._v, self.joints
        near = None if measured is None else q + departure(measured, q, self._endless)
        following = self._limits.advance(q, v, velocity, near, self._leash)
        if self._distances is not None:
            escape = self._distances.escape(q, v[own], (following[0], following[1][own]))
            if escape is not None:
                step = Step("refuge", "the refuge could not be reached any more", escape)
                velocity[own] = escape
                following = self._limits.advance(q, v, velocity, near, self._leash)
            if step.level not in ("refuge", "braking") and not self._clear(step):
                danger = self._distances.danger(
                    v[own], following[1][own], self._own_limits.acceleration, self.period
                )
                if danger:
                    step = self._ladder.brake(danger)
                    rest = np.zeros(self.model.n)
                    following = self._limits.advance(q, v, rest, near, self._leash)
        self._q, self._v = following
        if step.level == "braking":
            self._start_anew()
        self.solution = self._ladder.solution(
            step,
            np.stack([q[own], v[own]]),
            np.stack([self._q[own], self._v[own]]),
            time.thread_time() - start,
        )
        return Command(
            mode="position",
            q=self._q.copy(),
            v=self._v.copy(),
            grippers=dict(self._openings),
            level=step.level,
        )

    def _filtered(self, velocity: Array) -> Array:
        """The nearest velocities ``(n,)`` that let no distance shrink too fast, if there are any.

        A plan's rows look at distances some stages ahead, linearised where the plan goes; this
        looks at those of now, against what moves as well (a control barrier function; Ames et al.,
        *Control barrier function based quadratic programs for safety critical systems*, 2017).
        """
        assert self._distances is not None
        if self._distances.damps(velocity):
            return velocity
        own = self.joints
        program = self._program.nearest(self._q[own], self._v[own], velocity)
        solved = self._distances.damped(program).solve(self.config.iterations)
        return velocity if solved is None else solved[0][: len(velocity)]

    def _clear(self, step: Step) -> bool:
        """Whether a plan keeps its distances well enough not to be braked."""
        if self._distances is None or step.level != "nominal" or step.primal is None:
            return False
        return self._distances.clear(step.primal)

    def _measured(self, observation: Observation) -> Array | None:
        """Measured positions, or None where there are none to trust."""
        if observation is None or not observation.has("q"):
            return None
        q = np.asarray(observation.q, dtype=float)
        return q if q.shape == (self.model.n,) and np.isfinite(q).all() else None

    def _T(self, pose: Array) -> Array:
        """``(4, 4)`` of a pose ``(7,)``."""
        self._matrix.inputs[0][:] = pose
        return self._matrix()[0].copy()

    def _start_anew(self) -> None:
        """Forget the plan and bring the references to the commanded poses."""
        self._ladder.forget()
        for effector, hand in self._hands.items():
            self._governors[effector].reset(hand.pose(self._q))
