"""What each tick heads for: directly where gradients lead there, else along a path first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import se2, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .. import quaternion
from ..dynamics import InPlace
from ..reference import Governor
from ..request import Request
from .config import MobileConfig
from .drive import Drive
from .guide import ARM, Guide, Standstill, distance, placement
from .program import Aim, MobileProgram, State
from .request import BaseRequest

FAR = 1.2  # [m]; a base that must go farther is driven there before the arms reach
CLOSE = 0.3  # [m]; a base nearer than this to its place is led there without a path
HAND_TOLERANCE, BASE_TOLERANCE = 0.005, 0.01  # [m]; no new way is sought for less
HEADINGS = (0.0, 0.7, -0.7, 1.4, -1.4)  # [rad]; from the target's own, tried in turn


@dataclass(frozen=True)
class Asked:
    """Everything that is asked for now.

    Attributes:
        hands: Effectors with poses.
        base: Targets of the base.
        posture: ``(m,)`` of all actuated joints.
        weights: Effector -> ``(6, 6)`` by which its residual is multiplied.
    """

    hands: Mapping[str, Request]
    base: BaseRequest
    posture: Array | None
    weights: Mapping[str, Array]


class Aims:
    """Turns requests into references over the horizon, with memory of what is under way."""

    def __init__(
        self,
        model: RobotModel,
        drive: Drive,
        program: MobileProgram,
        effectors: tuple[str, ...],
        joints: NDArray[np.intp],
        stage_times: Array,
        config: MobileConfig,
        period: float,
        compiled: bool = True,
    ) -> None:
        self._model, self._drive, self._program, self._joints = model, drive, program, joints
        self._times = stage_times
        self._governors = {
            e: Governor(config.governor, period, stage_times, compiled) for e in effectors
        }
        self._guide = Guide(drive, period, stage_times)
        self._standstill = Standstill(period)
        self._matrix = InPlace(quaternion.pose_matrix())
        self._held: dict[str, tuple[Array, Array]] = {}  # effector -> posture, T_centre_hand there
        self._sought: Array | None = None  # target that the base is being driven for
        self._stay: Array | None = None
        self._reaching: set[str] = set()

    def reset(self) -> None:
        """Forget everything under way."""
        self._guide.stop()
        self._standstill.reset()
        self._stay, self._reaching = None, set()

    def rest(self) -> None:
        """The robot was stopped: references begin anew from where it is."""
        self._reaching = set()

    def of(self, asked: Asked, state: State) -> Aim:
        """What this tick heads for."""
        posture = self._model.neutral if asked.posture is None else asked.posture
        twist, place, detour = asked.base.twist, None, False
        poses = {e: self._program.pose(e, state) for e in asked.hands}
        if asked.base.places is not None:
            place = self._base(asked.base, state.centre)
        elif asked.hands and twist is None:
            posed = {e: request for e, request in asked.hands.items() if request.poses is not None}
            place = self._detour(posed, poses, state, posture) if posed else None
            detour = place is not None
        else:
            self._guide.stop()
            twist = np.zeros(3) if twist is None else twist
        hands = {} if detour else self._hands(asked.hands, poses)
        self._reaching = set(hands)
        if asked.hands or asked.posture is not None:
            self._stay = None
        else:
            posture = self._stay = state.joints.copy() if self._stay is None else self._stay
        return Aim(posture[self._joints], not hands, hands, place, twist, asked.weights)

    def _base(self, base: BaseRequest, centre: Array) -> Array:
        """``(N, 3)``: what is asked for, or a path to it from afar or out of a standstill."""
        now, last = base.at(np.array([0.0, np.inf]), float(centre[2]))
        error = distance(se2.between(now, centre))
        rests = len(base.times) == 1 or base.times[-1] <= 0
        stuck = self._standstill.update(now, error, BASE_TOLERANCE)
        if self._guide.path is not None:
            if self._guide.leads_to(last) and not self._guide.over:
                return self._guide.advance(centre)
            self._guide.stop()
            self._standstill.restart()
        if error > CLOSE or (stuck and rests):
            self._standstill.restart()
            self._guide.start(centre, last)
            return self._guide.advance(centre)
        return base.at(self._times, float(centre[2]))

    def _detour(
        self,
        hands: Mapping[str, Request],
        poses: Mapping[str, Array],
        state: State,
        posture: Array,
    ) -> Array | None:
        """``(N, 3)`` of the base where it must drive before the first hand can reach; else None."""
        name, request = next(iter(hands.items()))
        assert request.poses is not None
        T = request.poses[min(int(np.searchsorted(request.times, 0.0)), len(request.times) - 1)]
        error = self._error(poses[name], T)
        stuck = self._standstill.update(T[:3].reshape(-1), error, HAND_TOLERANCE)
        guide, centre, tries = self._guide, state.centre, self._standstill.tries
        if guide.path is not None:
            assert self._sought is not None
            if np.abs(T - self._sought).max() > 0.01:
                self._sought = T.copy()
                guide.start(centre, self._goal(T, name, posture, centre, tries))
            if not (guide.over or self._arrived(guide.path.goal, state)):
                return guide.advance(centre)
            guide.stop()
            self._standstill.restart()
            return None
        goal = self._goal(T, name, posture, centre, tries + 1)
        gap = se2.between(centre, goal)
        far = math.hypot(gap[0], gap[1]) > FAR
        if not far and not (stuck and tries < len(HEADINGS)):
            return None
        self._standstill.tries += 1
        self._sought = T.copy()
        guide.start(centre, goal)
        return guide.advance(centre)

    def _error(self, pose: Array, T: Array) -> float:
        """Distance [m] of a hand's pose ``(7,)`` from another, its turn counted at :data:`ARM`."""
        self._matrix.inputs[0][:] = pose
        off = T - self._matrix()[0]
        # the Frobenius norm of a difference of rotations is sqrt(8) sin(angle / 2)
        turn = math.sqrt(0.5 * float((off[:3, :3] ** 2).sum()))
        return math.sqrt(float(off[:3, 3] @ off[:3, 3])) + ARM * turn

    def _goal(self, T: Array, name: str, posture: Array, centre: Array, attempt: int) -> Array:
        known = self._held.get(name)
        if known is None or not np.array_equal(known[0], posture):
            T_centre_base = se3.inverse(self._drive.T_base_centre)
            hand = T_centre_base @ self._model.poses(posture)[name]
            known = self._held[name] = (posture.copy(), hand)
        turned = HEADINGS[max(attempt - 1, 0) % len(HEADINGS)]
        return placement(T, known[1], float(centre[2]), turned)

    def _arrived(self, goal: Array, state: State) -> bool:
        speed = np.abs(state.v[: self._drive.n] / self._drive.velocity).max()
        return bool(distance(se2.between(goal, state.centre)) < 0.03 and speed < 0.05)

    def _hands(
        self, requests: Mapping[str, Request], poses: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Effector -> ``(N, 7)``, slowed by the governors."""
        references = {}
        for name, request in requests.items():
            pose, governor = poses[name], self._governors[name]
            if name not in self._reaching:
                governor.reset(pose)
            self._matrix.inputs[0][:] = governor.state[:7]
            path = request.path(self._matrix()[0], float(self._times[-1]))
            references[name] = governor.follow(path, pose)
        return references
