"""Real-time model predictive control of one arm, from task targets to joint commands."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import casadi as ca
import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.geometry import Hull
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from . import quaternion
from .avoidance import Avoidance, moments
from .collision import CollisionModel, DistanceRows
from .config import MpcConfig
from .dynamics import FrameKinematics, InPlace
from .errors import WbcError
from .grippers import GripperJoints, gripper_joints, resting_places
from .horizon import Horizon
from .limits import ViableLimits, departure
from .obstacles import Box, Obstacle, Sphere
from .qp import QuadraticProgram
from .reference import Governor, TargetPath
from .request import Request
from .solution import Solution, Step
from .tracking import TrackingProgram

ONE_STEP_ITERATIONS = 200  # ample for a program with one unknown a joint and bounds only


class ArmMpc:
    r"""Tracks end-effector targets with joint accelerations optimised over a horizon.

    Each tick makes one Gauss-Newton step (real-time iteration; Diehl et al., *A real-time iteration
    scheme for nonlinear optimization in optimal feedback control*, 2005) on

    .. math:: \min_U \sum_k \|W r(q_k, T_k)\|^2 + \|w_v v_k\|^2 + \|w_a a_k\|^2
              + \|w_q (q_k - q^0)\|^2

    subject to position, velocity and acceleration limits, with
    :math:`r = (p - p^*, 2 \sin(\theta/2)\, axis)` in base axes. The plant is a position servo, so
    the state is the *commanded* one; the measured one enters through a leash
    (:attr:`MpcConfig.leash`). Behind the optimiser stand, in this order, the previous plan, a
    one-step program and braking; :attr:`Command.level` names the one used. Whatever comes out
    passes :class:`ViableLimits`, so that no command breaks a limit. Not thread-safe.

    With ``hulls`` the program also keeps distances (:class:`CollisionModel`), and whatever comes
    out of it is checked once more: a motion that could not be stopped in time is braked. While
    there are obstacles, plans are slow (:attr:`SafetyConfig.speed`), so that they can be stopped.

    Attributes:
        effector: The arm that is controlled.
        solution: The last tick's plan; None before the first.
    """

    def __init__(
        self,
        model: RobotModel,
        effector: str | None = None,
        *,
        task_axes: Sequence[bool] = (True,) * 6,
        hulls: Mapping[str, Sequence[Hull]] | None = None,
        config: MpcConfig = MpcConfig(),  # noqa: B008 - frozen
        period: float = 1 / 60,
    ) -> None:
        """Build the symbolic kinematics and the constant parts of the program (well under 1 s).

        Args:
            model: The robot.
            effector: Arm to control; None for the first.
            task_axes: Six flags (x y z, rx ry rz in base axes) of the directions to control.
            hulls: Link -> its convex hulls (:attr:`LinkHulls.hulls`), with which the arm keeps its
                distance from the robot's other links, obstacles and keep-out boxes, and its tool
                inside the workspace; None to look at no distances.
            config: Settings.
            period: Time between calls of :meth:`track` [s].

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
        self.effector = effector or embodiment.arms[0].name
        kinematics = FrameKinematics.of(model, model.tcp_id(self.effector))
        arm = embodiment.group(self.effector)
        self._arm = np.array([embodiment.joints.index(name) for name in arm.joints])
        self._limits = ViableLimits.of(embodiment, period)
        arm_limits = self._limits.subset(self._arm)
        self._braking = arm_limits.acceleration
        self._endless = np.isinf(self._limits.upper) & np.isinf(self._limits.lower)
        self._leash = np.full(model.n, np.inf)  # a gripper may stall on what it holds
        self._leash[self._arm] = config.leash
        self._grippers: dict[str, GripperJoints] = gripper_joints(embodiment)
        weights = np.repeat([config.position_weight, config.rotation_weight], 3)
        self._weights = weights * np.asarray(task_axes, dtype=float)

        self._horizon = Horizon(config.stages, config.knots, config.dt, period)
        self._program = TrackingProgram(kinematics, self._arm, arm_limits, self._horizon, config)
        self._governor = Governor(config.governor, period, self._horizon.times)
        self._avoidance: Avoidance | None = None
        if hulls is not None:
            postures = len(moments(self._horizon, config)[0])
            collision = CollisionModel(
                model, hulls, self._arm, [self.effector], postures, config.safety
            )
            self._avoidance = Avoidance(collision, self._horizon, arm_limits, self._arm, config)
        self._pose = InPlace(ca.Function("pose", [kinematics.q], [kinematics.pose]))
        self._matrix = InPlace(quaternion.pose_matrix())

        self._started = False
        self._q = np.full(model.n, np.nan)  # commanded, all actuated joints
        self._v = np.zeros(model.n)
        self._hold = np.zeros(model.n)
        self._openings: dict[str, float] = {}
        self._U = np.zeros((config.knots, len(self._arm)))
        self._plan_age: float | None = None  # [s] since a plan was found; None: there is none
        self.solution: Solution | None = None

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
        if self._avoidance is not None:
            self._avoidance.reset()
        self._start_anew()

    def track(
        self,
        targets: Sequence[TaskTarget],
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        obstacles: Sequence[Obstacle] = (),
        weights: ArrayLike | None = None,
    ) -> Command:
        """Command for the next period.

        Args:
            targets: Poses and postures in the base frame, gripper openings 0 to 1. A posture is a
                preference beside a pose and a demand without one; with neither the arm stays.
            observation: What was measured now; only ``q`` is used.
            times: Seconds from now at which each target is due, increasing. None: one target, to
                be reached as soon as the governor allows.
            obstacles: Spheres and boxes in the base frame, where they are now.
            weights: ``(6,)`` factors on the task weights (x y z, rx ry rz in base axes).

        Returns:
            Positions and velocities of all actuated joints at the end of the period.

        Raises:
            WbcError: Wrong use: no :meth:`reset` before, times that do not fit the targets, twists
                or obstacles. Bad *data* (missing or not finite) brakes instead.
        """
        start = time.thread_time()
        if not self._started:
            raise WbcError("the controller has no state", remedy="call reset(observation) first")
        self._admit(obstacles)
        factors = np.ones(6) if weights is None else np.asarray(weights, dtype=float)
        if factors.shape != (6,):
            raise WbcError("six weights are needed", where="weights", value=factors.shape)
        request = Request.read(targets, times, self.effector, self.period, self.model.n)
        measured = self._measured(observation)
        self._U = self._horizon.shift @ self._U
        if measured is None:
            step = self._brake("no finite measured joint positions")
        elif request is None or not np.isfinite(factors).all():
            step = self._brake("a target or weight is not finite, or a pose is no rigid motion")
        else:
            self._openings.update(request.grippers)
            step = self._decide(request, measured, self._weights * factors, obstacles)
        return self._apply(step, measured, start)

    def _admit(self, obstacles: Sequence[Obstacle]) -> None:
        """Refuse obstacles that cannot be avoided."""
        if len(obstacles) and self._avoidance is None:
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
        self, request: Request, measured: Array, weights: Array, obstacles: Sequence[Obstacle]
    ) -> Step:
        """Walk down the ladder until a rung holds."""
        q, v = self._q[self._arm], self._v[self._arm]
        rows: DistanceRows | None = None
        if self._avoidance is not None:
            self._U, rows = self._avoidance.around(self._q, measured, v, self._U, obstacles)
        posture = self.model.neutral if request.posture is None else request.posture
        posture = posture[self._arm]
        commanded = self._pose_of(self._q)
        if request.poses is None and request.posture is not None:
            self._governor.reset(commanded)
            references = np.tile(commanded, (self.config.stages, 1))
            program = self._program.posture(q, v, self._U, posture)
        else:
            references = self._governor.follow(self._path(request), commanded)
            # what moves can be evaded only at speeds soon stopped, but fled from at any
            cautious = len(obstacles) > 0 and not (self._avoidance and self._avoidance.pressed)
            program = self._program.poses(
                q, v, self._U, self._q, references, weights, posture, cautious
            )
        if rows is not None:
            program = self._program.avoiding(program, rows)

        solved = program.solve(self.config.iterations)
        if solved is not None:
            self._U = self._U + solved[0].reshape(self._U.shape)
            self._plan_age = 0.0
            velocity = v + self.period * self._U[0]
            clear = self._clear(program, rows, solved[0])
            return Step("nominal", "", velocity, program, *solved, clear)
        reason = "the solver found no plan"
        young = (
            self._plan_age is not None and self._plan_age + self.period <= self.config.shift_time
        )
        if young and (rows is None or not (rows.broken > 1 - self.config.safety.stop).any()):
            assert self._plan_age is not None
            self._plan_age += self.period
            return Step("shifted", reason, v + self.period * self._U[0])
        self._U[:], self._plan_age = 0.0, None
        program = self._program.one_step(q, v, self._q, references[0], weights)
        if self._avoidance is not None:
            program = self._avoidance.collision.damped(program)
        solved = program.solve(ONE_STEP_ITERATIONS)
        if solved is not None:
            return Step("one_step", reason, solved[0], program, *solved)
        return self._brake(reason)

    def _clear(self, program: QuadraticProgram, rows: DistanceRows | None, x: Array) -> bool:
        """Whether a solved program keeps every distance well enough not to be braked."""
        if rows is None or not len(rows.stage):
            return True
        planned = rows.distance + program.C[-len(rows.stage) :] @ x
        return bool((planned >= self.config.safety.stop * rows.margin).all())

    def _brake(self, reason: str) -> Step:
        """Bring the arm to rest as fast as its acceleration limits allow."""
        return Step("braking", reason, np.zeros(len(self._arm)))

    def _apply(self, step: Step, measured: Array | None, start: float) -> Command:
        """Move the commanded state on, inside the limits, and say how it came about."""
        velocity = np.zeros(self.model.n)
        if step.level != "braking":
            velocity = self._limits.approach(
                self._q, self._v, resting_places(self._hold, self._openings, self._grippers)
            )
        velocity[self._arm] = step.velocity
        q, v = self._q, self._v
        near = None if measured is None else q + departure(measured, q, self._endless)
        following = self._limits.advance(q, v, velocity, near, self._leash)
        if step.level != "braking" and self._avoidance is not None and not step.clear:
            danger = self._avoidance.collision.danger(
                v[self._arm], following[1][self._arm], self._braking, self.period
            )
            if danger:
                step = self._brake(danger)
                rest = np.zeros(self.model.n)
                following = self._limits.advance(q, v, rest, near, self._leash)
        self._q, self._v = following
        if step.level == "braking":
            self._start_anew()
        self.solution = self._solution(step, q[self._arm], v[self._arm], start)
        return Command(
            mode="position",
            q=self._q.copy(),
            v=self._v.copy(),
            grippers=dict(self._openings),
            level=step.level,
        )

    def _solution(self, step: Step, q: Array, v: Array, start: float) -> Solution:
        if step.level in ("nominal", "shifted"):
            X, horizon = np.concatenate([q[None], v[None], self._U]), self._horizon
            Q, V, a, times = horizon.P @ X, horizon.V @ X, horizon.A @ X, horizon.times
        else:
            Q, V = self._q[self._arm][None], self._v[self._arm][None]
            a, times = (V - v) / self.period, np.array([self.period])
        return Solution(
            level=step.level,
            reason=step.reason,
            times=np.concatenate([[0.0], times]),
            q=np.concatenate([q[None], Q]),
            v=np.concatenate([v[None], V]),
            a=a,
            seconds=time.thread_time() - start,
            program=step.program,
            primal=step.primal,
            multipliers=step.multipliers,
        )

    def _measured(self, observation: Observation) -> Array | None:
        """Measured positions, or None where there are none to trust."""
        if observation is None or not observation.has("q"):
            return None
        q = np.asarray(observation.q, dtype=float)
        return q if q.shape == (self.model.n,) and np.isfinite(q).all() else None

    def _pose_of(self, q: Array) -> Array:
        """Pose ``(7,)`` of the effector."""
        self._pose.inputs[0][:] = q
        return self._pose()[0][0].copy()

    def _T(self, pose: Array) -> Array:
        """``(1, 4, 4)`` of a pose ``(7,)``."""
        self._matrix.inputs[0][:] = pose
        return self._matrix()[0][None].copy()

    def _path(self, request: Request) -> TargetPath:
        """The requested poses, starting from the reference now where the first is due later."""
        if request.poses is not None and request.times[0] <= 0:
            return TargetPath(request.times, request.poses)
        here = self._T(self._governor.state[:7])
        if request.poses is None:
            return TargetPath(np.zeros(1), here)
        times = np.concatenate([[0.0], request.times])
        return TargetPath(times, np.concatenate([here, request.poses]))

    def _start_anew(self) -> None:
        """Forget the plan and bring the reference to the commanded pose."""
        self._U[:], self._plan_age = 0.0, None
        self._governor.reset(self._pose_of(self._q))
