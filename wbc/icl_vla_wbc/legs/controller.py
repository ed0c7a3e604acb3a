"""Control of a legged robot: from a commanded base velocity and hand poses to joint torques."""

from __future__ import annotations

import time

import numpy as np
import pinocchio as pin
from numpy.typing import NDArray

from icl_vla_embodiments import Command, Observation, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..errors import WbcError
from .config import LegConfig
from .disturbance import WrenchEstimator
from .dynamics import FloatingDynamics
from .feet import find_feet
from .forces import GRAVITY, BodyState, ForceMpc
from .gait import Gait
from .reference import BodyReference, Ground
from .swing import arc, footholds
from .whole_body import AccelerationTask, solve_whole_body

STILL = 0.02  # [m/s, rad/s] below which a commanded velocity means: stand
BALANCE = 0.5  # share of the support's half-width that the capture point may use while standing
SLIP = 0.25  # [m/s] of a standing foot
REACH = 0.6  # of the standing height: the longest step from below the hip
RAMP = 0.04  # [s] in which a foot takes up and gives away its load
CLEAR = 0.03  # of the standing height: farther over the ground a foot does not touch it
LANDING = 0.3  # [m/s] at which a foot that should stand seeks the ground
STOPPED = 0.1  # [m/s] downwards
EARLY = 0.06  # of the standing height that a foot is above its arc when the ground holds it up
FORCE_WEIGHT = 15.0  # of the whole-body program's forces, over the robot's weight squared


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
        seconds: CPU time of the last tick's force plan (0 without one) and whole-body program.
        friction: What the ground is believed to hold.
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
        self._neutral = model.neutral
        self.dynamics.update(_at_rest(model))
        owner = self.dynamics.owner
        radius = np.array([f.radius for f in feet])[owner]
        self._below = self.dynamics.points.copy()  # (C, 3) contact points in the base frame
        self._radius = radius
        self.height = float(-(self._below[:, 2] - radius).min())
        self._com = self.dynamics.com.copy()
        self._check_stance()
        centres = np.array([self._below[owner == f].mean(axis=0) for f in range(len(feet))])
        self._walks = len(feet) >= 4
        self._gait = gait or (Gait.trot(centres[:, :2]) if self._walks else Gait.stand(len(feet)))
        self._arms = {
            a.name: np.array([model.embodiment.joints.index(j) for j in a.joints])
            for a in model.embodiment.arms
        }
        self.friction = config.friction
        self.seconds = (0.0, 0.0)
        self._reference: BodyReference | None = None
        self._torques = np.zeros(model.n)  # of the last tick

    def _check_stance(self) -> None:
        low, high = self._below.min(axis=0), self._below.max(axis=0)
        slack = 0.25 * (high - low)[:2]
        over = (self._com[:2] > low[:2] - slack).all() and (self._com[:2] < high[:2] + slack).all()
        if high[2] > self._com[2] or not over:
            raise WbcError(
                "the neutral posture does not stand: its centre of mass is not above its feet",
                where=self.model.embodiment.name,
                value=[round(float(x), 3) for x in self._com - self._below.mean(axis=0)],
                remedy="give a standing posture (neutral), or a URDF whose z axis points up",
            )

    def reset(self, observation: Observation) -> None:
        """Take the measured state for the reference, standing."""
        self.dynamics.update(observation)
        d = self.dynamics
        self._reference = BodyReference(d.base, self.config)
        self._ground = Ground(d.points - np.outer(self._radius, [0, 0, 1]))
        self._estimator = WrenchEstimator(self.config.estimator, self.period, d.mass)
        self.friction = self.config.friction
        self._forces = np.zeros_like(d.points)
        self._forces[:, 2] = d.mass * 9.81 / len(d.points)
        self._applied = self._forces
        self._acceleration = np.zeros(len(d.u))
        self._tick, self._clock = 0, 0.0
        self._walking, self._calm = False, 0.0
        self._lift: list[Array | None] = [None] * len(d.feet)
        self._landed = np.zeros(len(d.feet), dtype=bool)

    def track(self, target: TaskTarget, observation: Observation) -> Command:
        """Torques for the next period.

        Args:
            target: ``base_twist`` (x, y, turn), ``poses`` and ``twists`` of hands in the frame of
                the reference body; what is absent means: stand, hold.
            observation: Joints, base pose and base velocity.

        Returns:
            Torques inside the limits. Where a number of target or observation is not finite, those
            of the last tick, fading (level ``braking``).
        """
        if not _finite(target, observation):
            self._torques = 0.9 * self._torques  # a moment's loss is passed over, a long one is not
            return Command(mode="torque", tau=self._torques.copy(), level="braking")
        if self._reference is None:
            self.reset(observation)
        reference = self._reference
        assert reference is not None
        start = time.thread_time()
        d = self.dynamics
        d.update(observation)
        twist = np.zeros(6) if target.base_twist is None else np.asarray(target.base_twist)
        self._choose_gait(twist)
        reference.advance(twist if self._walking else np.zeros(6), d.base, self.period)
        stands = self._contacts()
        points = stands[d.owner]
        wrench = self._estimator.update(d, self._applied)
        self._watch_slip(points)
        planned = 0.0
        if self._tick % self.config.replan == 0:
            before = time.thread_time()
            soles = d.points - np.outer(self._radius, [0, 0, 1])
            self._ground.update(soles, points, min(1.0, 10 * self.config.replan * self.period))
            self._plan_forces(stands, wrench)
            planned = time.thread_time() - before
        tasks = [
            self._joint_task(wrench),
            self._foot_task(stands),
            *self._hand_tasks(target),
        ]
        solution = solve_whole_body(
            d,
            tasks,
            points,
            self._forces,
            FORCE_WEIGHT / (d.mass * 9.81) ** 2,
            wrench,
            self._efforts,
            self.friction,
            self._bearing(),
        )
        self._tick += 1
        self._clock += self.period if self._walking else 0.0
        level = "nominal"
        if solution is None:
            level = "braking"
            torques = self._damped(observation)
            self._applied = self._forces * points[:, None]
        else:
            torques = solution.torques
            self._applied, self._acceleration = solution.forces, solution.accelerations
        self.seconds = (planned, time.thread_time() - start - planned)
        self._torques = np.clip(torques, -self._efforts, self._efforts)
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
        assert self._reference is not None
        return se3.pose(self._reference.R, self._body_place()) @ T_body_hand

    def _choose_gait(self, twist: Array) -> None:
        """Walk when asked or off balance; stand again when calm with all feet down."""
        d, reference = self.dynamics, self._reference
        assert reference is not None
        if not self._walks:
            return
        asked = float(np.abs(twist[[0, 1, 5]]).max()) > STILL
        capture = d.com[:2] + d.com_velocity[:2] * np.sqrt(self.height / 9.81)
        centre = d.points[:, :2].mean(axis=0)
        half = 0.5 * np.ptp(self._below[:, :2], axis=0)
        off = np.abs(reference.R[:2, :2].T @ (capture - centre) - self._lean()) / half
        unsteady = bool((off > BALANCE).any())
        if asked or unsteady:
            self._calm = 0.0
            if not self._walking:
                self._walking, self._clock = True, 0.0
        elif self._walking:
            self._calm += self.period
            settled = self._calm > self._gait.period and np.abs(reference.velocity).max() < STILL
            if settled and self._gait.stands(self._clock).all():
                self._walking = False

    def _lean(self) -> Array:
        """``(2,)`` of the centre of mass over the middle of the feet in the neutral posture."""
        return np.asarray((self._com - self._below.mean(axis=0))[:2])

    def _bearing(self) -> Array:
        """``(C,)`` largest normal forces: a foot takes its load and gives it away bit by bit.

        Actuators that act late would otherwise drop the body at each change of feet.
        """
        d, gait = self.dynamics, self._gait
        share = np.ones(len(d.feet))
        if self._walking and gait.duty < 1:
            phases = gait.phases(self._clock)
            edge = np.minimum(phases, gait.duty - phases) * gait.period
            share = np.where(phases < gait.duty, np.clip(edge / RAMP, 0.02, 1.0), 1.0)
        return np.asarray(2.0 * d.mass * 9.81 * share[d.owner])

    def _contacts(self) -> NDArray[np.bool_]:
        """``(F,)`` feet that stand: those scheduled, and those that met the ground early."""
        count = len(self.dynamics.feet)
        if not self._walking:
            self._lift = [None] * count
            return np.ones(count, dtype=bool)
        scheduled = self._gait.stands(self._clock)
        self._landed &= ~scheduled
        return scheduled | self._landed

    def _lifted(self) -> NDArray[np.bool_]:
        """``(C,)`` points that are clearly off the ground, whatever the schedule says."""
        soles = self.dynamics.points[:, 2] - self._radius
        over = soles - self._ground.at(self.dynamics.points[:, :2])
        return np.asarray(over > CLEAR * self.height)

    def _watch_slip(self, points: NDArray[np.bool_]) -> None:
        """Believe in less friction where a loaded foot slides, slowly in more again."""
        d = self.dynamics
        loaded = points & ~self._lifted() & (self._applied[:, 2] > 0.05 * d.mass * 9.81)
        speed = np.sqrt((d.point_velocities[:, :2] ** 2).sum(axis=1))
        if self._walking:  # a foot that has just come down still slides a little
            fresh = self._gait.phases(self._clock) < 0.15
            loaded &= ~fresh[d.owner]
        sliding = loaded & (speed > SLIP)
        if sliding.any():
            f = self._applied[sliding]
            held = float((np.sqrt((f[:, :2] ** 2).sum(axis=1)) / f[:, 2]).max())
            believed = max(self.config.least_friction, 0.9 * held)
            self.friction += 10 * self.period * min(0.0, believed - self.friction)
        else:
            self.friction = min(self.config.friction, self.friction + 0.02 * self.period)

    def _plan_forces(self, stands: NDArray[np.bool_], wrench: Array) -> None:
        d, reference, c = self.dynamics, self._reference, self.config
        assert reference is not None
        N = c.stages
        R = reference.R
        v = np.append(reference.world_velocity, 0.0)
        offset = d.com - d.base[:3, 3]
        body = self._body_place()
        times = np.arange(N) * c.dt
        schedule = (
            self._gait.stands(self._clock + times + 0.01 * c.dt)
            if self._walking
            else np.ones((N, len(d.feet)), dtype=bool)
        )
        schedule[0] = stands
        spin = np.array([0.0, 0.0, reference.spin])
        places = body + offset + np.multiply.outer(self._mpc.times, v)
        coms = d.com + np.multiply.outer(times, v)  # (N, 3)
        ahead = d.base[:2, 3] + np.multiply.outer(times, v[:2])
        later = ahead[:, None, :] + (self._below[:, :2] @ R[:2, :2].T)
        later = np.concatenate(
            [later, (self._ground.at(later) + self._radius)[..., None]], axis=2
        )  # (N, C, 3)
        # a foot stays where it is until its first swing
        same = np.logical_and.accumulate(schedule, axis=0)[:, d.owner]
        feet = np.where(same[..., None], d.points, later)
        rate = np.zeros(6)
        for joints in self._arms.values():  # moving arms push back on the body
            columns = 6 + joints
            rate += d.momentum_map[:, columns] @ self._acceleration[columns]
        push = wrench.copy()
        push[3:] -= rate[3:]
        R_wanted = self._ground.tilt(R)
        state = BodyState(
            tilt=pin.log3(d.base[:3, :3] @ R_wanted.T),
            com=d.com,
            spin=d.base[:3, :3] @ d.u[3:6],
            velocity=d.com_velocity,
            inertia=d.inertia,
            wrench=push,
        )
        forces = self._mpc.plan(
            state, places, v, spin, feet - coms[:, None], schedule[:, d.owner], self.friction
        )
        if forces is not None:
            self._forces = forces

    def _body_place(self) -> Array:
        """``(3,)`` where the base should be now."""
        reference = self._reference
        assert reference is not None
        z = float(self._ground.at(reference.place)) + self.height
        return np.append(reference.place, z)

    def _joint_task(self, wrench: Array) -> AccelerationTask:
        """The body's acceleration, and the joints' back to the neutral posture."""
        d, reference, c = self.dynamics, self._reference, self.config
        assert reference is not None
        R = d.base[:3, :3]
        v = R @ d.u[:3]
        planned = (self._forces.sum(axis=0) + wrench[:3]) / d.mass + GRAVITY
        gap = np.clip(self._body_place() - d.base[:3, 3], -0.1, 0.1)
        wanted = np.append(reference.world_velocity, self._ground.slope @ reference.world_velocity)
        fix = np.array([c.place_gain, c.place_gain, c.height_gain]) * gap
        fix += np.array([6.0, 6.0, 15.0]) * (wanted - v)
        b = np.empty(len(d.u))
        b[:3] = R.T @ (0.5 * planned + 0.5 * fix) - pin.skew(d.u[3:6]) @ d.u[:3]
        error = R.T @ pin.log3(self._ground.tilt(reference.R) @ R.T)
        turn = R[2] * reference.spin
        b[3:6] = c.tilt_gain * error + 20.0 * (turn - d.u[3:6])
        b[6:] = c.joint_gain * (self._neutral - d.q) - 8.0 * d.u[6:]
        weight = np.full(len(d.u), 1e-3)
        weight[:6] = [2.0, 2.0, 8.0, 20.0, 20.0, 10.0]
        return AccelerationTask(None, b, weight)

    def _foot_task(self, stands: NDArray[np.bool_]) -> AccelerationTask:
        """Standing points stay where they are; swinging ones follow their arcs."""
        d, reference, c = self.dynamics, self._reference, self.config
        assert reference is not None
        sought = np.zeros_like(d.points)  # velocity of a foot that stands, or should
        sought[self._lifted(), 2] = -LANDING
        b = 8.0 * (sought - d.point_velocities) - d.drift
        weight = np.where(stands[d.owner], 50.0, 2.0)
        gait, k = self._gait, c.swing_gain
        shares = (gait.phases(self._clock) - gait.duty) / (1 - gait.duty) if gait.duty < 1 else None
        v = (d.base[:3, :3] @ d.u[:3])[:2]
        for f in range(len(d.feet)):
            if stands[f] or shares is None:
                self._lift[f] = None
                continue
            mine = d.owner == f
            here = d.points[mine]
            lift = self._lift[f]
            if lift is None:
                lift = self._lift[f] = here
            left = (1 - shares[f]) * gait.swing_time
            centre = d.base[:2, 3] + left * v
            xy = footholds(
                centre + self._below[mine][:, :2] @ reference.R[:2, :2].T,
                v,
                reference.world_velocity,
                reference.spin,
                centre,
                gait.stance_time,
                self.height,
                REACH * self.height,
            )
            z = self._ground.at(xy) + self._radius[mine] - 0.01 * self.height
            way = arc(
                lift,
                np.column_stack([xy, z]),
                c.swing_height * self.height,
                shares[f],
                gait.swing_time,
            )
            speed = way.velocity - d.point_velocities[mine]
            held_up = (here - way.place)[:, 2].min() > EARLY * self.height
            if shares[f] > 0.7 and held_up and d.point_velocities[mine, 2].min() > -STOPPED:
                self._landed[f] = True
            b[mine] = (
                way.acceleration + k * (way.place - here) + 2 * np.sqrt(k) * speed - d.drift[mine]
            )
        return AccelerationTask(d.J.reshape(-1, len(d.u)), b.reshape(-1), np.repeat(weight, 3))

    def _hand_tasks(self, target: TaskTarget) -> list[AccelerationTask]:
        d, reference, c = self.dynamics, self._reference, self.config
        assert reference is not None
        if not target.poses:
            return []
        place = self._body_place()
        spin = np.array([0.0, 0.0, reference.spin])
        tasks = []
        for name, T_body_hand in target.poses.items():
            T_goal = self.goal(T_body_hand)
            T, J, drift = d.tool(name)
            error = np.concatenate(
                [T_goal[:3, 3] - T[:3, 3], pin.log3(T_goal[:3, :3] @ T[:3, :3].T)]
            )
            twist = np.asarray(target.twists.get(name, np.zeros(6)))
            wanted = np.concatenate([reference.R @ twist[:3], reference.R @ twist[3:] + spin])
            wanted[:2] += reference.world_velocity
            wanted[:3] += np.cross(spin, T_goal[:3, 3] - place)
            b = c.hand_gain * error + 2 * np.sqrt(c.hand_gain) * (wanted - J @ d.u) - drift
            tasks.append(AccelerationTask(J, b, np.array([2.0] * 3 + [0.5] * 3)))
        return tasks

    def _damped(self, observation: Observation) -> Array:
        """Torques that hold the neutral posture softly, when no program was solved."""
        assert observation.q is not None and observation.v is not None
        stiff = 0.5 * self._efforts
        return np.asarray(stiff * (self._neutral - observation.q) - 0.05 * stiff * observation.v)


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
