"""Real-time model predictive control of a wheeled robot: base, torso and arms together."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..chains import moving
from ..dynamics import InPlace
from ..errors import WbcError
from ..grippers import gripper_joints, resting_places
from ..horizon import Horizon
from ..ladder import Ladder
from ..limits import ViableLimits, departure
from ..request import ROTATION_TOLERANCE, Weights, hand_factors, read_requests
from ..solution import Solution, Step
from .aims import Aims, Asked
from .config import MobileConfig
from .drive import Drive
from .kinematics import footing
from .program import MobileProgram, State
from .request import BaseRequest
from .slip import Slip

CREEP = 1e-6  # [m/s]; a steered base's least speed: its twist tells the curvature at rest too


class MobileMpc:
    r"""Drives a base and moves its arms and torso in one problem over a horizon.

    As :class:`icl_vla_wbc.ArmMpc`, with the drive's integrators (:class:`Drive`) among the joints
    and all poses **in the world** (``T_world_ee = T_world_base @ T_base_ee``), for the base's own
    frame moves. The base's pose is the measured one, its height and tilt included; joints and
    velocities are the commanded ones. What the base does beyond or short of its velocities, where
    it is measured (``Observation.base_twist``), is made up for (:class:`Slip`). Each tick is one
    Gauss-Newton step.

    A wheeled base has no gradient sideways. Where the hand's target is far, or a target at rest
    does not come nearer, the base is driven along a path (curve, straight, curve, or turn,
    straight, turn) to where the neutral posture holds the hand at the target; then all reach.

    Behind the optimiser stand the previous plan, a one-step program and braking
    (:attr:`Command.level`). Everything passes :class:`ViableLimits`. Not thread-safe.

    Attributes:
        effectors: The arms in the problem.
        joints: ``(n,)`` indices of the controlled joints.
        drive: The base.
        solution: The last tick's plan, with the drive's integrators before the joints.
    """

    def __init__(
        self,
        model: RobotModel,
        effectors: Sequence[str] | None = None,
        *,
        config: MobileConfig = MobileConfig(),  # noqa: B008 - frozen
        period: float = 0.02,
        compiled: bool = True,
    ) -> None:
        """Build the symbolic kinematics and the constant parts of the program.

        Args:
            model: The robot.
            effectors: Arms to control; None for all. A base without arms has none.
            config: Settings.
            period: Time between calls of :meth:`track` [s].
            compiled: Whether machine code is made in the background and takes over when it is
                ready; without, every run is the same to the last bit.

        Raises:
            WbcError: The base does not roll, limits are missing, or the period is too long.
            FrameNotFound: There is no such effector.
        """
        if not 0 < period <= config.dt:
            raise WbcError(
                "the control period must not exceed the horizon's step",
                where="period",
                value=period,
                valid=(f"0 < period <= {config.dt}",),
            )
        embodiment = model.embodiment
        self.model, self.config, self.period = model, config, period
        arms = (arm.name for arm in embodiment.arms)
        self.effectors = tuple(arms if effectors is None else effectors)
        self.drive = Drive.of(model, config)
        self.joints = np.flatnonzero(moving(model, self.effectors)).astype(np.intp)
        self._limits = self.drive.limits(ViableLimits.of(embodiment, period))
        b = self.drive.n
        self._inside = np.concatenate([np.arange(b), b + self.joints])  # of all the ones limited
        self._endless = np.isinf(self._limits.upper) & np.isinf(self._limits.lower)
        self._leash = np.full(b + model.n, np.inf)
        self._leash[b + self.joints] = config.leash
        self._grippers = gripper_joints(embodiment)
        self._horizon = Horizon(config.stages, config.knots, config.dt, period)
        self._program = MobileProgram(
            model,
            self.effectors,
            self.joints,
            self.drive,
            self._limits.subset(self._inside),
            self._horizon,
            config,
            compiled,
        )
        self._aims = Aims(
            model,
            self.drive,
            self._program,
            self.effectors,
            self.joints,
            self._horizon.times,
            config,
            period,
            compiled,
        )
        self._slip = Slip(self.drive, period)
        self._footing = InPlace(footing(self.drive.T_base_centre))
        self._weights = np.repeat([config.position_weight, config.rotation_weight], 3)
        self._ladder = Ladder(
            self._horizon, len(self._inside), period, config.shift_time, config.iterations
        )
        self._started = False
        self.solution: Solution | None = None

    def reset(self, observation: Observation) -> None:
        """Take the measured posture and place, at rest, for the commanded state.

        Raises:
            WbcError: The observation lacks finite joint positions or the base's pose.
        """
        measured = self._measured(observation)
        if measured is None:
            raise WbcError(
                "the controller cannot start without joint positions and the base's pose",
                where="observation",
                valid=(f"q: {self.model.n} finite numbers", "T_world_base: a rigid motion"),
            )
        q, *place = measured
        b = self.drive.n
        self._q, self._v = np.concatenate([np.zeros(b), q]), np.zeros(b + self.model.n)
        self._hold = q.copy()
        self._centre = np.zeros(3)
        self._stand(*place)
        self._ladder.forget()
        self._openings: dict[str, float] = {}
        self._aims.reset()
        self._slip.reset()
        self.solution, self._started = None, True

    def track(
        self,
        targets: Sequence[TaskTarget] | TaskTarget,
        observation: Observation,
        *,
        times: ArrayLike | None = None,
        obstacles: Sequence[object] = (),
        weights: Weights | None = None,
    ) -> Command:
        """Command for the next period.

        Args:
            targets: ``poses`` and ``twists`` of effectors in the world, ``T_world_base``,
                ``base_twist`` in the base's frame, postures and gripper openings; each alone or
                together. What is not
                asked for stays. With poses, the base goes where they need it, unless it has a
                target of its own.
            observation: ``q`` and ``T_world_base`` as measured now.
            times: Seconds from now at which each target is due, increasing. None: one target.
            obstacles: Must be empty.
            weights: Factors on the hands' residuals (x y z, rx ry rz in world axes): ``(6,)``, or
                ``(6, 6)`` to weight other directions; for all, or effector -> factors.

        Returns:
            Joint positions and velocities at the end of the period, and the ``base_twist`` to hold
            during it. Wheels and their steering follow the twist, not ``q``.

        Raises:
            WbcError: Wrong use. Bad *data* (missing or not finite) brakes instead.
        """
        start = time.thread_time()
        if not self._started:
            raise WbcError("the controller has no state", remedy="call reset(observation) first")
        if len(obstacles):
            raise WbcError(
                "this controller does not avoid obstacles", where="obstacles", value=len(obstacles)
            )
        asked = self._read(
            [targets] if isinstance(targets, TaskTarget) else targets, times, weights
        )
        measured = self._measured(observation)
        self._ladder.advance()
        if measured is None:
            step = self._ladder.brake("no finite measured joint positions or base pose")
        elif asked is None:
            step = self._ladder.brake(
                "a target or weight is not finite, or a pose is no rigid motion"
            )
        else:
            self._stand(*measured[1:])
            self._slip.observe(observation.base_twist)
            step = self._decide(asked)
        return self._apply(step, None if measured is None else measured[0], start)

    def _read(
        self,
        targets: Sequence[TaskTarget],
        times: ArrayLike | None,
        weights: Weights | None,
    ) -> Asked | None:
        """What is asked for; None where it is no good."""
        factors = hand_factors(weights, self.effectors)
        found = read_requests(targets, times, self.effectors, self.period, self.model.n)
        if found is None or not all(np.isfinite(f).all() for f in factors.values()):
            return None
        due = np.zeros(1) if times is None else np.atleast_1d(np.asarray(times, dtype=float))
        base = BaseRequest.read(targets, due, self.period, self.drive)
        if base is None:
            return None
        for request in found.values():
            self._openings.update(request.grippers)
        first = next(iter(found.values()))
        hands = {e: r for e, r in found.items() if r.moves}
        matrices = {e: f if f.ndim == 2 else np.diag(f) for e, f in factors.items()}
        weighted = {e: F * self._weights for e, F in matrices.items()}
        return Asked(hands, base, first.posture, weighted)

    def _decide(self, asked: Asked) -> Step:
        """Plan with what is asked for, or walk down the ladder."""
        state = self._state()
        aim = self._aims.of(asked, state)
        program = self._program.plan(state, self._ladder.U, aim)
        return self._ladder.decide(state.v, program, lambda: self._program.one_step(state, aim))

    def _state(self) -> State:
        return State(
            self._centre,
            self._lift,
            self._q[self._inside],
            self._v[self._inside],
            self._q[self.drive.n :],
        )

    def _stand(self, centre: Array, lift: Array) -> None:
        """Take a measured base pose; the heading is counted on from the last one."""
        x, y, heading = centre
        turned = math.remainder(heading - self._centre[2], 2 * math.pi)
        self._centre, self._lift = np.array([x, y, self._centre[2] + turned]), lift

    def _apply(self, step: Step, measured: Array | None, start: float) -> Command:
        """Move the commanded state on, inside the limits, and say how it came about."""
        b, q, v = self.drive.n, self._q, self._v
        velocity = np.zeros(len(v))
        if step.level != "braking":
            goal = np.concatenate(
                [q[:b], resting_places(self._hold, self._openings, self._grippers)]
            )
            velocity = self._limits.approach(q, v, goal)
        velocity[self._inside] = step.velocity
        near = None
        if measured is not None:
            near = np.concatenate([q[:b], q[b:] + departure(measured, q[b:], self._endless[b:])])
        self._q, self._v = self._limits.advance(q, v, velocity, near, self._leash)
        if step.level == "braking":
            self._ladder.forget()
            self._aims.rest()
        own = self._inside
        self.solution = self._ladder.solution(
            step,
            np.stack([q[own], v[own]]),
            np.stack([self._q[own], self._v[own]]),
            time.thread_time() - start,
        )
        s, w = 0.5 * (q + self._q)[:b], self._slip.correct(0.5 * (v + self._v)[:b])
        if self.drive.kind == "planar_ackermann" and abs(w[0]) < CREEP:
            w = np.array([np.copysign(CREEP, w[0]), w[1]])
        return Command(
            mode="position",
            q=self._q[b:].copy(),
            v=self._v[b:].copy(),
            grippers=dict(self._openings),
            base_twist=self.drive.base_twist(s, w),
            level=step.level,
        )

    def _measured(self, observation: Observation) -> tuple[Array, Array, Array] | None:
        """Measured joints, :attr:`State.centre` and ``lift``; None: there are none to trust."""
        if observation is None or not (observation.has("q") and observation.has("T_world_base")):
            return None
        q = np.asarray(observation.q, dtype=float)
        T = np.asarray(observation.T_world_base, dtype=float)
        if q.shape != (self.model.n,) or T.shape != (4, 4):
            return None
        if not (np.isfinite(q).all() and np.isfinite(T[:3]).all()):
            return None
        self._footing.inputs[0][:] = T
        (centre,), (lift,), ((off,),) = self._footing()
        return (q, centre.copy(), lift.copy()) if off < ROTATION_TOLERANCE**2 else None
