"""How wheels move a base in the plane: differential, holonomic or Ackermann."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icl_vla_embodiments import Embodiment, Group, se3
from icl_vla_embodiments.embodiment import Base
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from ..errors import WbcError
from ..limits import ViableLimits
from .config import MobileConfig

PLANAR = ("planar_diff", "planar_holo", "planar_ackermann")
STEERING = 0.5  # [rad]; range of steered wheels whose file gives none
MARGIN = 0.95  # share of the curvature at the end of the steering's range
LINEAR_SHARE = 2 / 3  # of the wheels' speed that driving may take; turning has the rest


@dataclass(frozen=True)
class Drive:
    r"""A base whose velocity in the plane comes from a few double integrators.

    The pose :math:`(x, y, \theta)` is that of the *centre*, a frame fixed to the base: in the
    middle of the axle that is not steered, x forwards. Its velocity there, with the integrators'
    positions ``s`` and velocities ``w``, is

    ============ ============== ==========================================
    kind         ``s``          :math:`(v_x, v_y, \omega)`
    ============ ============== ==========================================
    differential arc, heading   :math:`(w_1, 0, w_2)`
    holonomic    x, y, heading  :math:`(w_1, w_2, w_3)`
    Ackermann    arc, curvature :math:`(w_1, 0, w_1 s_2)`
    ============ ============== ==========================================

    Attributes:
        kind: Which row of the table.
        T_base_centre: ``(4, 4)``.
        lower: ``(n,)`` of ``s``.
        upper: ``(n,)``.
        velocity: ``(n,)`` of ``|w|``.
        acceleration: ``(n,)``.
        twist_limit: ``(3,)`` largest velocities in the plane [m/s, m/s, rad/s].
        twist_rate: ``(3,)`` largest accelerations.
    """

    kind: Base
    T_base_centre: Array
    lower: Array
    upper: Array
    velocity: Array
    acceleration: Array
    twist_limit: Array
    twist_rate: Array

    @property
    def n(self) -> int:
        """Number of integrators."""
        return len(self.lower)

    @property
    def radius(self) -> float:
        """Smallest turning radius [m]; 0 where it turns in place."""
        return 1 / float(self.upper[1]) if self.kind == "planar_ackermann" else 0.0

    @property
    def corrected(self) -> tuple[int, ...]:
        """Components of the centre's twist that the first integrators' velocities are."""
        kinds = {"planar_diff": (0, 2), "planar_holo": (0, 1, 2)}
        return kinds.get(self.kind, (0,))

    @classmethod
    def of(cls, model: RobotModel, config: MobileConfig) -> Drive:
        r"""Read centre and limits off the wheels.

        A wheel's rim allows ``v + omega d <= r w`` at distance ``d`` from the centre; two thirds of
        it are for ``v``. Wheels on several parallel axles skid when they turn, about where they are
        loaded most: there, below the centre of mass, is the centre. A wheel steered by at most
        :math:`\delta`, ``L`` before and ``b`` beside the centre, allows the radius
        :math:`L / \tan \delta + b`.

        Raises:
            WbcError: The base does not roll, or a steered base has no wheel that is steered.
        """
        embodiment, kind = model.embodiment, model.embodiment.base
        if kind not in PLANAR:
            raise WbcError(
                "the robot does not roll", where=embodiment.name, value=kind, valid=PLANAR
            )
        wheels = embodiment.of_kind("wheel")
        steering = {w.name: s for w in wheels if (s := _steering(model, w.joints[-1])) is not None}
        places = {w.name: model.T_base_frame(model.neutral, w.tip_link)[:3, 3] for w in wheels}
        fixed = [w for w in wheels if w.name not in steering] or list(wheels)
        centre = np.eye(4)
        if kind != "planar_holo" and wheels:
            middle = np.mean([places[w.name] for w in fixed], axis=0)
            # a centre on the axle's line, as near to the base's origin as that allows
            forwards = _forwards(fixed[0].axle)
            along = float(middle[:2] @ forwards[:2])
            if kind == "planar_diff" and _skids(fixed, places, forwards):
                along = float(_mass_centre(model)[:2] @ forwards[:2])
            centre = se3.pose(se3.yaw(np.arctan2(forwards[1], forwards[0])), along * forwards)
            if kind == "planar_ackermann":
                centre[:2, 3] = middle[:2]
        speed, spin = config.linear_speed, config.angular_speed
        push, turn = config.linear_acceleration, config.angular_acceleration
        bend, length = 0.0, np.inf
        if kind == "planar_ackermann":
            bend, length = _curvature(embodiment, centre, steering, places)
        for wheel in wheels:
            limits = embodiment.limits.get(wheel.joints[-1])
            if limits is None or not wheel.radius:
                continue
            rim, surge = wheel.radius * limits.velocity, wheel.radius * limits.acceleration
            x, y, _ = np.abs(centre[:3, :3].T @ (places[wheel.name] - centre[:3, 3]))
            if kind == "planar_ackermann":
                share = 1 / np.hypot(1 + bend * y, bend * x)  # in the tightest curve
            else:
                share = LINEAR_SHARE
                # off the axle's line a wheel skids, which takes more speed than it gives
                reach = np.hypot(x, y) if kind == "planar_holo" else y + x**2 / max(y, 1e-3)
                reach = max(reach, 1e-3)
                spin = min(spin, (1 - share) * rim / reach)
                turn = min(turn, (1 - share) * surge / reach)
            speed, push = min(speed, share * rim), min(push, share * surge)
        if kind == "planar_ackermann":
            rate = config.steering_speed / length
            range_, velocity = np.array([np.inf, bend]), np.array([speed, rate])
            acceleration = np.array([push, 8 * rate])
            twist, change = np.array([[speed, 0, speed * bend], [push, 0, push * bend]])
        elif kind == "planar_diff":
            range_, velocity = np.full(2, np.inf), np.array([speed, spin])
            acceleration = np.array([push, turn])
            twist, change = np.array([[speed, 0, spin], [push, 0, turn]])
        else:
            range_, each = np.full(3, np.inf), np.array([np.sqrt(0.5), np.sqrt(0.5), 1.0])
            twist = velocity = each * [speed, speed, spin]
            change = acceleration = each * [push, push, turn]
        return cls(kind, centre, -range_, range_, velocity, acceleration, twist, change)

    def limits(self, joints: ViableLimits) -> ViableLimits:
        """Of the integrators, then of the joints."""
        return ViableLimits(
            np.concatenate([self.lower, joints.lower]),
            np.concatenate([self.upper, joints.upper]),
            np.concatenate([self.velocity, joints.velocity]),
            np.concatenate([self.acceleration, joints.acceleration]),
            joints.period,
        )

    def twist(self, s: Any, w: Any) -> tuple[Any, Any, Any]:
        """Velocity of the centre at positions and velocities ``(n, ...)``; CasADi's do, too."""
        if self.kind == "planar_holo":
            return w[0], w[1], w[2]
        return w[0], 0.0 * w[0], w[1] if self.kind == "planar_diff" else w[0] * s[1]

    def twist_jacobian(self, s: Array) -> Array:
        """Derivative ``(3, n)`` of :meth:`twist` by the velocities."""
        J = np.zeros((3, self.n))
        J[0, 0] = 1.0
        if self.kind == "planar_holo":
            J[1, 1] = J[2, 2] = 1.0
        elif self.kind == "planar_diff":
            J[2, 1] = 1.0
        else:
            J[2, 0] = s[1]
        return J

    def base_twist(self, s: Array, w: Array) -> Array:
        """Velocity ``(6,)`` of the base's origin in its own frame."""
        x, y, spin = self.twist(s, w)
        (a, b), (c, d), _ = self.T_base_centre[:3, :2]
        right, up = self.T_base_centre[:2, 3]
        linear = a * x + b * y + up * spin, c * x + d * y - right * spin
        return np.array([*linear, 0.0, 0.0, 0.0, spin])

    def centre_twist(self, base_twist: Array) -> Array:
        """Velocity ``(3,)`` of the centre of a base's ``(6,)``."""
        R, p = self.T_base_centre[:3, :3], self.T_base_centre[:3, 3]
        spin = base_twist[5]
        linear = (base_twist[:3] - spin * np.array([p[1], -p[0], 0.0])) @ R
        return np.array([linear[0], linear[1], spin])


def _skids(wheels: Sequence[Group], places: Mapping[str, Array], forwards: Array) -> bool:
    """Whether wheels stand on axles a tenth of their radius or more apart."""
    along = [float(places[w.name] @ forwards) for w in wheels]
    return bool(np.ptp(along) > 0.1 * min(w.radius or np.inf for w in wheels))


def _mass_centre(model: RobotModel) -> Array:
    """``(3,)`` of the whole robot in its neutral posture, in the base frame [m]."""
    model.link_poses(model.neutral)
    parts = list(zip(model.data.oMi, model.model.inertias, strict=True))
    mass = sum(inertia.mass for _, inertia in parts)
    moment = sum(inertia.mass * place.act(inertia.lever) for place, inertia in parts)
    return np.asarray(moment / max(mass, 1e-9), dtype=float)


def _forwards(axle: tuple[float, float, float] | None) -> Array:
    """Direction in which a wheel rolls, the one of the two that points more along x (or y)."""
    across = np.array([0.0, 1.0, 0.0] if axle is None else axle)
    forwards = np.array([across[1], -across[0], 0.0])
    forwards /= np.linalg.norm(forwards)
    main = forwards[0] if abs(forwards[0]) > 0.5 else forwards[1]
    return forwards if main > 0 else -forwards


def _steering(model: RobotModel, wheel: str) -> str | None:
    """The joint with an upright axis between the base and a wheel."""
    tree = model.model
    joint = tree.parents[tree.getJointId(wheel)]
    while joint > 0:
        tip = next(f.name for f in tree.frames if f.parentJoint == joint)
        name = tree.names[joint]
        if name in model.embodiment.joints:
            data = tree.joints[joint].createData()
            tree.joints[joint].calc(data, np.zeros(1) if tree.joints[joint].nq == 1 else _ONE)
            R = _rotation(model, tip)
            if abs((R @ np.asarray(data.S).reshape(-1)[3:])[2]) > 0.7:
                return str(name)
        joint = tree.parents[joint]
    return None


_ONE = np.array([1.0, 0.0])  # a continuous joint at zero


def _rotation(model: RobotModel, frame: str) -> Array:
    model.link_poses(model.neutral)
    index = model.model.frames[model.model.getFrameId(frame)].parentJoint
    return np.array(model.data.oMi[index].rotation)


def _curvature(
    embodiment: Embodiment, centre: Array, steering: dict[str, str], places: dict[str, Array]
) -> tuple[float, float]:
    """Largest curvature [1/m] and distance [m] of the steered axle from the centre."""
    if not steering:
        raise WbcError(
            "a base that is steered needs a wheel that is steered",
            where=f"{embodiment.name}, groups of kind wheel",
            value=list(places),
            remedy="name the base's kind when the robot is added",
        )
    radius, length = 0.0, 0.0
    for wheel, joint in steering.items():
        ahead, beside, _ = np.abs(centre[:3, :3].T @ (places[wheel] - centre[:3, 3]))
        limits = embodiment.limits[joint]
        ends = [abs(e) for e in (limits.lower, limits.upper) if np.isfinite(e) and e]
        angle = min([*ends, 1.4]) if ends else STEERING
        radius = max(radius, ahead / np.tan(angle) + beside)
        length = max(length, float(ahead))
    return float(MARGIN / radius), length
