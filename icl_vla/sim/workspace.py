"""Where on the table a robot can work, from its kinematics alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .scene import CameraSpec


@dataclass(frozen=True)
class Workspace:
    """A patch of table in front of one arm.

    Attributes:
        effector: The arm.
        center: Of the patch in the base frame ``(x, y)`` [m].
        half: Half extents ``(x, y)`` [m].
        aperture: Width between the fingers when open [m]; sizes of things follow it.
        grasp: ``R_base_ee`` ``(3, 3)``: tool pointing down, fingers closing along the base's y.
        start_height: Of the TCP at the beginning [m].
    """

    effector: str
    center: tuple[float, float]
    half: tuple[float, float]
    aperture: float
    grasp: Array
    start_height: float

    @classmethod
    def of(cls, model: RobotModel, effector: str | None = None) -> Workspace:
        """Derive it: the patch lies at 0.55 to 0.6 of the arm's reach, ahead of its neutral pose.

        Raises:
            ReportedError: The robot has no arm with a gripper, or it cannot point down there.
        """
        robot = model.embodiment
        arms = [a.name for a in robot.arms if robot.gripper_of(a.name)]
        if effector is None and not arms:
            raise ReportedError(
                f"{robot.name} has no arm with a gripper, which table-top scenes need",
                value=[f"{g.name} ({g.kind})" for g in robot.groups],
            )
        effector = effector or arms[0]
        tip = model.poses(model.neutral)[effector]
        shoulder = _shoulder(model, effector)
        reach = _reach(model, effector)
        ahead = tip[:2, 3] - shoulder[:2]
        ahead /= max(float(np.linalg.norm(ahead)), 1e-9)
        center = shoulder[:2] + 0.58 * reach * ahead
        workspace = cls(
            effector=effector,
            center=(float(center[0]), float(center[1])),
            half=(0.17 * reach, 0.27 * reach),
            aperture=_aperture(model, effector),
            grasp=_pointing_down(model, effector),
            start_height=0.27 * reach,
        )
        workspace._check(model)
        return workspace

    def _check(self, model: RobotModel) -> None:
        """All four corners must be reachable with the tool pointing down."""
        for sx, sy in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            p = [*self.point(sx, sy), 0.03]
            T = se3.pose(self.grasp, p)
            q = model.inverse_kinematics({self.effector: T}, model.neutral)
            error = np.linalg.norm(model.poses(q)[self.effector][:3, 3] - T[:3, 3])
            if error > 5e-3:
                raise ReportedError(
                    f"{model.embodiment.name} cannot reach the table-top patch that its size"
                    " suggests, tool down",
                    value=f"{error * 1000:.0f} mm short of {np.round(p, 2).tolist()}",
                    remedy="give a scene file of your own with --scene FILE",
                )

    def point(self, x: float, y: float) -> Array:
        """``(2,)`` [m] of patch coordinates in -1..1."""
        return np.array(self.center) + np.array([x, y]) * self.half

    def far_corner(self) -> float:
        """Distance of the farthest corner of the patch from the base [m]."""
        corners = [self.point(x, y) for x in (-1, 1) for y in (-1, 1)]
        return float(np.linalg.norm(corners, axis=1).max())

    def camera(self) -> CameraSpec:
        """A camera that looks at the patch from the far side, where the arm hides least."""
        cx, cy = self.center
        span = max(self.half)
        return CameraSpec(
            eye=(cx + 2.1 * span, cy + 1.1 * span, 2.6 * span),
            target=(cx + 0.02 * span, cy + 0.03 * span, 0.1 * span),
            fov=38.0,
        )


def _shoulder(model: RobotModel, effector: str) -> Array:
    """Position of the first joint of an arm in the base frame."""
    first = model.embodiment.group(effector).joints[0]
    joint = model.model.getJointId(first)
    model.poses(model.neutral)
    return np.array(model.data.oMi[joint].translation)


def _reach(model: RobotModel, effector: str) -> float:
    """Farthest horizontal distance of the TCP from the shoulder over 2,000 postures [m]."""
    rng = np.random.default_rng(0)
    shoulder = _shoulder(model, effector)
    lower = np.maximum(model.lower, -np.pi)
    upper = np.minimum(model.upper, np.pi)
    samples = rng.uniform(lower, upper, (2000, model.n))
    far = [np.linalg.norm((model.poses(q)[effector][:3, 3] - shoulder)[:2]) for q in samples]
    return float(np.quantile(far, 0.995))


def _aperture(model: RobotModel, effector: str) -> float:
    """How far the fingers' links travel apart between closed and open [m]."""
    gripper = model.embodiment.gripper_of(effector)
    assert gripper is not None
    index = [model.embodiment.joints.index(j) for j in gripper.joints]
    positions = []
    for values in (gripper.closed, gripper.open):
        q = model.neutral.copy()
        q[index] = values
        poses = model.link_poses(q)
        positions.append({link: T[:3, 3] for link, T in poses.items()})
    moved = [positions[1][link] - positions[0][link] for link in positions[0]]
    travel = sorted((float(np.linalg.norm(d)) for d in moved), reverse=True)
    return travel[0] + (travel[1] if travel[1] > 0.5 * travel[0] else 0.0)


def _pointing_down(model: RobotModel, effector: str) -> Array:
    """Tool's z down, its x along the base's x."""
    return np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]])
