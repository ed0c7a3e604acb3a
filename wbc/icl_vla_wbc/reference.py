"""The reference governor: what is asked for, slowed to what a robot may be asked to follow.

It stands in front of the MPC because a jump of half a turn leaves the rotation residual without a
gradient, and because a target that appears far away must not be chased at full joint speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np

from icl_vla_embodiments.types import Array

from . import quaternion
from .compiled import CompiledInPlace
from .dynamics import InPlace
from .errors import WbcError
from .limits import stopping_velocity


@dataclass(frozen=True)
class GovernorConfig:
    """Limits of the reference.

    Attributes:
        linear_speed: [m/s].
        angular_speed: [rad/s].
        linear_acceleration: Of the catching up with a target [m/s^2].
        angular_acceleration: [rad/s^2].
        linear_lead: How far the reference may be ahead of the commanded pose [m].
        angular_lead: [rad].
    """

    linear_speed: float = 0.6
    angular_speed: float = 2.5
    linear_acceleration: float = 3.0
    angular_acceleration: float = 12.0
    linear_lead: float = 0.15
    angular_lead: float = 0.8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise WbcError("the governor needs positive numbers", where=name, value=value)


@dataclass(frozen=True)
class TargetPath:
    """Poses ``T_base_ee`` that are due at given times, held after the last.

    Positions are interpolated on straight lines and rotations on geodesics.

    Attributes:
        times: ``(M,)`` strictly increasing, seconds from now.
        poses: ``(M, 4, 4)``.
    """

    times: Array
    poses: Array

    def at(self, times: Array) -> tuple[Array, Array, Array]:
        """Pose before, pose after and share of the way, ``(n, 4, 4), (n, 4, 4), (n,)``."""
        last = len(self.times) - 1
        if last == 0:
            held = np.broadcast_to(self.poses, (len(times), 4, 4))
            return held, held, np.zeros(len(times))
        before = np.searchsorted(self.times[1:-1], times, side="right")
        start, span = self.times[before], self.times[before + 1] - self.times[before]
        share = np.minimum(np.maximum((times - start) / span, 0.0), 1.0)
        return self.poses[before], self.poses[before + 1], share


class Governor:
    """Follows a target path at limited speed, and catches up with it at limited acceleration.

    With :math:`w^*` the path's own velocity cut to the speed limit and ``e`` the lag behind it,
    each step moves the reference by :math:`w^* + u`, where ``u`` points along ``e``, is never
    larger than what can be stopped in time, and changes by no more than the acceleration limit. A
    path inside the speed limit is therefore passed straight through, and a jump becomes a smooth
    motion at bounded speed; the same for position and rotation (rotation vectors in base axes).

    Attributes:
        state: ``(13,)`` position, orientation ``(x, y, z, w)``, linear and angular ``u``.
    """

    def __init__(
        self, config: GovernorConfig, period: float, stage_times: Array, compiled: bool = True
    ) -> None:
        n = len(stage_times)
        self._times = np.concatenate([[0.0, period], stage_times])
        self._interpolate = CompiledInPlace(_interpolation().map(n + 2), wanted=compiled)
        self._preview = CompiledInPlace(_governor_step(config).mapaccum(n), wanted=compiled)
        self._step = InPlace(_governor_step(config))
        self._confine = InPlace(_confinement(config))
        self._preview.inputs[3][:, 0] = np.diff(stage_times, prepend=0.0)
        self._step.inputs[3][:], self._step.inputs[4][:] = period, 1.0
        self.state = np.zeros(13)
        self.reset(np.array([0.0, 0, 0, 0, 0, 0, 1]))

    def reset(self, pose: Array) -> None:
        """Put the reference to rest at ``pose`` ``(7,)``."""
        self.state[:7], self.state[7:] = pose, 0.0

    def follow(self, path: TargetPath, commanded: Array) -> Array:
        """Advance the reference by one period.

        Args:
            path: What is asked for, from now on.
            commanded: ``(7,)`` pose that the reference must stay near to.

        Returns:
            ``(N, 7)`` reference at the stage times, as seen from before the advance.
        """
        before, after, share = path.at(self._times)
        inputs = self._interpolate.inputs
        inputs[0][:] = before[:, :3].reshape(-1, 12)
        inputs[1][:] = after[:, :3].reshape(-1, 12)
        inputs[2][:, 0] = share
        (targets,) = self._interpolate()

        self._confine.inputs[0][0], self._confine.inputs[1][0] = self.state, commanded
        state, room = self._confine()
        self._preview.inputs[0][0] = state
        self._preview.inputs[1][0], self._preview.inputs[1][1:] = targets[0], targets[2:-1]
        self._preview.inputs[2][:] = targets[2:]
        self._preview.inputs[4][:] = room
        stages = self._preview()[0][:, :7].copy()
        self._step.inputs[0][:] = state
        self._step.inputs[1][0], self._step.inputs[2][0] = targets[0], targets[1]
        self.state[:] = self._step()[0][0]
        self.state[3:7] /= np.linalg.norm(self.state[3:7])
        return stages


def _interpolation() -> ca.Function:
    """``(12,), (12,), () -> (7,)``: top rows of two poses, row-major, and the share between."""
    a, b, share = ca.SX.sym("a", 12), ca.SX.sym("b", 12), ca.SX.sym("share")
    A, B = ca.reshape(a, 4, 3).T, ca.reshape(b, 4, 3).T
    start = quaternion.from_matrix(A[:, :3])
    turn = quaternion.log(quaternion.short_way(quaternion.from_matrix(B[:, :3]), start))
    position = A[:, 3] + share * (B[:, 3] - A[:, 3])
    orientation = quaternion.product(quaternion.exp(share * turn), start)
    return ca.Function(
        "interpolate", [a, b, share], [ca.vertcat(position, orientation)], {"cse": True}
    )


def _limited(vector: ca.SX, limit: float | ca.SX) -> ca.SX:
    """The vector, shortened to ``limit``."""
    return vector * ca.fmin(1, limit / (ca.norm_2(vector) + quaternion.TINY))


def _catch_up(
    lag: ca.SX, own: ca.SX, u: ca.SX, dt: ca.SX, speed: float, acceleration: float
) -> tuple[ca.SX, ca.SX]:
    """Velocity over the next step, and the part of it that catches up."""
    own = _limited(own, speed)
    distance = ca.sqrt(ca.sumsqr(lag) + quaternion.TINY**2)
    wanted = lag / distance * stopping_velocity(distance, acceleration, dt)
    u = u + _limited(wanted - u, acceleration * dt)
    w = _limited(own + u, speed)
    return w, w - own


def _governor_step(config: GovernorConfig) -> ca.Function:
    """``state (13,), path now (7,), path after dt (7,), dt, share of the way (2,) -> state``."""
    x, now, after = ca.SX.sym("x", 13), ca.SX.sym("now", 7), ca.SX.sym("after", 7)
    dt, share = ca.SX.sym("dt"), ca.SX.sym("share", 2)
    v, u_linear = _catch_up(
        now[:3] - x[:3],
        (after[:3] - now[:3]) / dt,
        x[7:10],
        dt,
        config.linear_speed,
        config.linear_acceleration,
    )
    w, u_angular = _catch_up(
        quaternion.log(quaternion.short_way(now[3:], x[3:7])),
        quaternion.log(quaternion.short_way(after[3:], now[3:])) / dt,
        x[10:],
        dt,
        config.angular_speed,
        config.angular_acceleration,
    )
    orientation = quaternion.product(quaternion.exp(share[1] * dt * w), x[3:7])
    result = ca.vertcat(x[:3] + share[0] * dt * v, orientation, u_linear, u_angular)
    return ca.Function("governor_step", [x, now, after, dt, share], [result], {"cse": True})


def _confinement(config: GovernorConfig) -> ca.Function:
    """``state (13,), commanded pose (7,) -> state, room (2,)``.

    The state is pulled to within the lead of that pose, without which the reference winds up where
    the arm cannot follow: out of reach, at a joint's end. The room (linear, angular) says how much
    of the preview to believe: 1 up to half the lead, 0 at the lead.
    """
    x, near = ca.SX.sym("x", 13), ca.SX.sym("near", 7)
    ahead = x[:3] - near[:3]
    turned = quaternion.log(quaternion.short_way(x[3:7], near[3:]))
    far = ca.norm_2(ahead) > config.linear_lead
    twisted = ca.norm_2(turned) > config.angular_lead
    position = near[:3] + _limited(ahead, config.linear_lead)
    held = quaternion.product(quaternion.exp(_limited(turned, config.angular_lead)), near[3:])
    result = ca.vertcat(
        ca.if_else(far, position, x[:3]),
        ca.if_else(twisted, held, x[3:7]),
        ca.if_else(far, 0, x[7:10]),
        ca.if_else(twisted, 0, x[10:]),
    )
    used = ca.vertcat(
        ca.norm_2(ahead) / config.linear_lead, ca.norm_2(turned) / config.angular_lead
    )
    room = ca.fmin(1, ca.fmax(0, 2 - 2 * used))
    return ca.Function("confine", [x, near], [result, room], {"cse": True})
