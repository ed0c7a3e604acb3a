"""Where on the table a robot can work, from its kinematics alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from icl_vla_embodiments import Embodiment, ReportedError, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

from .scene import CameraSpec

# (size, distance of the middle in reaches), best first
_SEARCH = [(s, d) for s in (1.0, 0.8, 0.6, 0.45) for d in (0.58, 0.52, 0.46, 0.4, 0.34)]


@dataclass(frozen=True)
class Workspace:
    """A patch of table in front of one arm, and where it meets the robot's other arm, if any.

    Attributes:
        effector: The arm.
        center: Of the patch in the base frame ``(x, y)`` [m].
        half: Half extents ``(x, y)`` [m].
        aperture: Width between the fingers when open [m]; sizes of things follow it.
        grasp: ``R_base_ee`` ``(3, 3)``: tool pointing down, fingers closing along the base's y.
        start_height: Of the TCP at the beginning [m].
        meeting: ``T_base_ee`` ``(4, 4)`` where the hand holds one end of what the other hand takes.
        partner: The other arm's patch, which this one cannot reach.
    """

    effector: str
    center: tuple[float, float]
    half: tuple[float, float]
    aperture: float
    grasp: Array
    start_height: float
    meeting: Array | None = None
    partner: Workspace | None = None

    @classmethod
    def of(cls, model: RobotModel, hulls: LinkHulls | None = None) -> Workspace:
        """Derive it from the first arm that carries a gripper.

        The patch is sought ahead of the arm's neutral pose, as large and as far out (up to 0.58 of
        the reach) as the tool can point down all over it, in one elbow configuration. Where a
        second arm has a gripper, too, patches are sought beside each other first
        (:func:`.two_hands.side_by_side`).

        Raises:
            ReportedError: The robot has no arm with a gripper, or cannot point down anywhere ahead.
        """
        robot = model.embodiment
        arms = hands(robot)
        if not arms:
            raise ReportedError(
                f"{robot.name} has no arm with a gripper, which table-top scenes need",
                value=[f"{g.name} ({g.kind})" for g in robot.groups],
            )
        hulls = hulls or LinkHulls(robot)
        if len(arms) > 1:
            from .two_hands import side_by_side

            pair = side_by_side(model, hulls, (arms[0], arms[1]))
            if pair is not None:
                return pair
        effector = arms[0]
        closing, aperture = closing_of(model, effector, hulls)
        shoulder, reach = shoulder_of(model, effector), horizontal_reach(model, effector)
        ahead = model.poses(model.neutral)[effector][:2, 3] - shoulder[:2]
        ahead /= max(float(np.linalg.norm(ahead)), 1e-9)
        down = pointing_down(closing)
        # half a turn is as good a grasp, and may be farther from the wrist's limits
        for scale, distance, grasp in (
            (s, d, R) for s, d in _SEARCH for R in (down, se3.yaw(np.pi) @ down)
        ):
            center = shoulder[:2] + distance * reach * ahead
            patch = cls(
                effector=effector,
                center=(float(center[0]), float(center[1])),
                half=(0.17 * reach * scale, 0.27 * reach * scale),
                aperture=aperture,
                grasp=grasp,
                start_height=0.25 * reach * scale,
            )
            if patch.is_reachable(model):
                return patch
        raise ReportedError(
            f"{robot.name} cannot point its tool down at a table in front of it, which table-top"
            " scenes need",
            value=f"arm {effector!r}, {len(robot.group(effector).joints)} joints,"
            f" reach {reach:.2f} m",
        )

    def is_reachable(self, model: RobotModel, iterations: int = 200) -> bool:
        """Whether the patch's edge can be reached, low and high, walking out from its middle.

        Args:
            model: The robot.
            iterations: Of inverse kinematics, at most.
        """
        solve = partial(self.solve, model, iterations=iterations)
        guess = model.neutral
        for z in (self.start_height, 0.02):
            middle = solve(guess, 0.0, 0.0, z)
            if middle is None:
                return False
            guess = middle
            for x, y in ((-1, -1), (-1, 1), (1, -1), (1, 1), (1, 0), (-1, 0)):
                half = solve(middle, x / 2, y / 2, z)
                if half is None or solve(half, x, y, z) is None:
                    return False
        return True

    def solve(
        self,
        model: RobotModel,
        guess: Array,
        x: float,
        y: float,
        z: float,
        iterations: int = 200,
    ) -> Array | None:
        """Posture with the tool down at patch coordinates, or None (2 mm, 0.05 rad)."""
        T = se3.pose(self.grasp, [*self.point(x, y), z])
        q = model.inverse_kinematics({self.effector: T}, guess, iterations=iterations)
        error = se3.inverse(model.poses(q)[self.effector]) @ T
        near = np.linalg.norm(error[:3, 3]) < 2e-3
        return q if near and np.linalg.norm(se3.log3(error[:3, :3])) < 0.05 else None

    def point(self, x: float, y: float) -> Array:
        """``(2,)`` [m] of patch coordinates in -1..1."""
        return np.array(self.center) + np.array([x, y]) * self.half

    @property
    def hands(self) -> tuple[Workspace, ...]:
        """The patches of all arms, this one first."""
        return (self,) if self.partner is None else (self, self.partner)

    @property
    def between(self) -> float:
        """Distance [m] of the two hands that hold one thing where they meet; 0 for one hand."""
        if self.partner is None or self.meeting is None or self.partner.meeting is None:
            return 0.0
        return float(np.linalg.norm((self.meeting - self.partner.meeting)[:3, 3]))

    def far_corner(self) -> float:
        """Distance of the farthest corner of the patches from the base [m]."""
        corners = [h.point(x, y) for h in self.hands for x in (-1, 1) for y in (-1, 1)]
        return float(np.linalg.norm(corners, axis=1).max())

    def cameras(self) -> dict[str, CameraSpec]:
        """A camera for each patch: ``front``, and ``other`` for the other arm's."""
        return {
            name: hand.camera() for name, hand in zip(("front", "other"), self.hands, strict=False)
        }

    def camera(self) -> CameraSpec:
        """A camera that looks at the patch from the far side, where the arm hides least."""
        cx, cy = self.center
        span = max(self.half)
        return CameraSpec(
            eye=(cx + 2.1 * span, cy + 1.1 * span, 2.6 * span),
            target=(cx + 0.02 * span, cy + 0.03 * span, 0.1 * span),
            fov=38.0,
        )


def hands(robot: Embodiment) -> tuple[str, ...]:
    """The arms that carry a gripper."""
    return tuple(arm.name for arm in robot.arms if robot.gripper_of(arm.name))


def shoulder_of(model: RobotModel, effector: str) -> Array:
    """Position of the first joint of an arm in the base frame."""
    first = model.embodiment.group(effector).joints[0]
    joint = model.model.getJointId(first)
    model.poses(model.neutral)
    return np.array(model.data.oMi[joint].translation)


def horizontal_reach(model: RobotModel, effector: str) -> float:
    """Farthest horizontal distance of the TCP from the shoulder over 2,000 postures [m]."""
    rng = np.random.default_rng(0)
    shoulder = shoulder_of(model, effector)
    lower = np.maximum(model.lower, -np.pi)
    upper = np.minimum(model.upper, np.pi)
    samples = rng.uniform(lower, upper, (2000, model.n))
    far = [np.linalg.norm((model.poses(q)[effector][:3, 3] - shoulder)[:2]) for q in samples]
    return float(np.quantile(far, 0.995))


def closing_of(model: RobotModel, effector: str, hulls: LinkHulls) -> tuple[Array, float]:
    """Direction in which the fingers close, and how wide they open.

    Both follow from how the fingers' material next to the tool centre point moves between closed
    and open; a finger that pivots has its link's origin far from there.

    Returns:
        Unit vector ``(3,)`` in the tool's frame, square to its approach, and the width [m].
    """
    closed_links, open_links = _fingers(model, effector)
    travels = []
    for link, T in closed_links.items():
        parts = hulls.hulls.get(link, ())
        local = np.concatenate([h.vertices for h in parts]) if parts else np.zeros((1, 3))
        closed, opened = se3.act(T, local), se3.act(open_links[link], local)
        tip = int(np.argmin(np.linalg.norm(closed, axis=1)))
        travel = (opened - closed)[tip] * [1.0, 1.0, 0.0]
        if np.linalg.norm(travel) > 1e-3:
            travels.append((float(np.linalg.norm(closed[tip])), travel))
    if not travels:
        gripper = model.embodiment.gripper_of(effector)
        assert gripper is not None
        raise ReportedError(
            f"the gripper of {model.embodiment.name} moves nothing when it opens",
            value=dict(
                zip(gripper.joints, zip(gripper.closed, gripper.open, strict=True), strict=True)
            ),
            remedy="correct `closed` and `open` of the gripper's group in the embodiment file",
        )
    nearest = min(distance for distance, _ in travels)
    tips = [t for distance, t in travels if distance < nearest + 0.02]
    axis = max(tips, key=np.linalg.norm)
    axis = axis / np.linalg.norm(axis)
    along = [float(t @ axis) for t in tips]
    return axis, max(max(along), 0.0) - min(min(along), 0.0)


def tips_of(model: RobotModel, effector: str, hulls: LinkHulls) -> tuple[float, float]:
    """How far the fingers reach beyond the tool centre point, closed and open [m]."""
    closed, opened = _fingers(model, effector)
    moving = [link for link in closed if np.abs(closed[link] - opened[link]).max() > 1e-3]
    points = {link: [h.vertices for h in hulls.hulls.get(link, ())] for link in moving}
    seen = {link: np.concatenate(parts) for link, parts in points.items() if parts}
    far = [
        max((se3.act(links[n], p)[:, 2].max() for n, p in seen.items()), default=0.0)
        for links in (closed, opened)
    ]
    return float(far[0]), float(far[1])


def _fingers(model: RobotModel, effector: str) -> tuple[dict[str, Array], dict[str, Array]]:
    """Link -> ``T_ee_link`` with the gripper closed, and open."""
    gripper = model.embodiment.gripper_of(effector)
    assert gripper is not None
    index = [model.embodiment.joints.index(j) for j in gripper.joints]
    T_ee_base = se3.inverse(model.poses(model.neutral)[effector])
    postures = []
    for values in (gripper.closed, gripper.open):
        q = model.neutral.copy()
        q[index] = values
        postures.append({link: T_ee_base @ T for link, T in model.link_poses(q).items()})
    return postures[0], postures[1]


def pointing_down(closing: Array) -> Array:
    """``R_base_ee`` with the tool's z down and its closing direction along the base's y."""
    side = np.cross(closing, [0.0, 0.0, 1.0])
    if side[0] < 0:  # closing has no sign: keep the tool's x nearer to the base's
        side, closing = -side, -closing
    tool = np.stack([side, closing, [0.0, 0.0, 1.0]], axis=1)  # closing frame in the tool's
    return np.diag([1.0, -1.0, -1.0]) @ tool.T
