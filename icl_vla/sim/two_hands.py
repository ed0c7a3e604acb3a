"""Where two arms work side by side, and where they hand things to each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc.chains import moves

from .workspace import Workspace, closing_of, horizontal_reach, pointing_down, shoulder_of

# (size, distance of the middle in reaches), best first
_SIZES = [(s, d) for s in (0.7, 0.5) for d in (0.58, 0.66, 0.5, 0.42)]
_OUTWARDS = np.deg2rad([50.0, 70.0, 30.0, 90.0])  # from straight ahead
_AHEAD = (0.42, 0.5, 0.34, 0.58, 0.26)  # of the meeting place, in reaches
_HEIGHTS = (0.18, 0.27)  # of it, in reaches
_QUARTERS = (0.0, 0.5 * np.pi, -0.5 * np.pi, np.pi)
_LEANS = np.deg2rad([0.0, 45.0])  # of a tool that reaches out
_ROOM = 0.03  # [m] between two palms
_ITERATIONS = 60  # of inverse kinematics: there are many candidates
_STEPS = 6  # of the way from the patch to the meeting place


def side_by_side(model: RobotModel, hulls: LinkHulls, arms: tuple[str, str]) -> Workspace | None:
    """Patches of two arms that neither can reach of the other's, and a meeting place between.

    Each patch lies outwards from its arm's shoulder. A hand reaches a place where it can hold the
    tool there straight down or leaning outwards by 45 degrees, turned by any quarter. At the
    meeting place both tools point down, side by side with room between the palms, and the fingers
    close across the line from one to the other.

    Returns:
        The first arm's workspace with the second's as its partner; None where there are none.
    """
    shoulders = [shoulder_of(model, arm)[:2] for arm in arms]
    apart = shoulders[1] - shoulders[0]
    if np.linalg.norm(apart) < 1e-3:
        return None
    across = apart / np.linalg.norm(apart)
    ahead = np.array([across[1], -across[0]])
    tools = [model.poses(model.neutral)[arm][:2, 3] for arm in arms]
    if ahead @ (np.mean(tools, axis=0) - np.mean(shoulders, axis=0)) < 0:
        ahead = -ahead
    reaches = {arm: horizontal_reach(model, arm) for arm in arms}
    middle, least = 0.5 * (shoulders[0] + shoulders[1]), min(reaches.values())
    places = [
        np.array([*(middle + share * least * ahead), height * least])
        for share, height in product(_AHEAD, _HEIGHTS)
    ]
    closings = {arm: closing_of(model, arm, hulls) for arm in arms}
    gap = _ROOM + sum(palm(model, arm, hulls, closings[arm][0]) for arm in arms)
    found: list[tuple[Workspace, dict[int, Array]]] = []
    common = set(range(len(places)))
    for arm, other, way in zip(arms, reversed(arms), (across, -across), strict=True):
        closing, aperture = closings[arm]
        down = pointing_down(closing)
        for patch in _patches(model, arm, reaches[arm], down, aperture, -way, ahead):
            if not patch.is_reachable(model, _ITERATIONS) or _reaches(model, other, patch):
                continue
            tried = {i: _meeting(model, patch, down, places[i], gap * way) for i in sorted(common)}
            met = {i: T for i, T in tried.items() if T is not None}
            if met:
                found.append((patch, met))
                common &= set(met)
                break
        else:
            return None
    best = min(common)
    first, second = (replace(patch, meeting=there[best]) for patch, there in found)
    return replace(first, partner=second)


def palm(model: RobotModel, arm: str, hulls: LinkHulls, closing: Array) -> float:
    """How far a hand reaches from its tool centre point, square to approach and closing [m].

    The hand is what moves with the tool whatever the arm does, fingers included.
    """
    side = np.cross(closing, [0.0, 0.0, 1.0])
    bent, own = model.neutral.copy(), moves(model, arm)
    bent[own] += np.where(model.upper - bent > 0.2, 0.2, -0.2)[own]
    postures = (model.neutral, bent)
    reaches = [0.0]
    for link, parts in hulls.hulls.items():
        straight, turned = (
            se3.inverse(model.poses(q)[arm]) @ model.link_poses(q)[link] for q in postures
        )
        if np.allclose(straight, turned, atol=1e-6):
            reaches += [float(np.abs(se3.act(straight, h.vertices) @ side).max()) for h in parts]
    return max(reaches)


def _patches(
    model: RobotModel,
    arm: str,
    reach: float,
    down: Array,
    aperture: float,
    outwards: Array,
    ahead: Array,
) -> Iterator[Workspace]:
    """Candidates, best first."""
    shoulder = shoulder_of(model, arm)[:2]
    for (scale, distance), angle in product(_SIZES, _OUTWARDS):
        center = shoulder + distance * reach * (np.cos(angle) * ahead + np.sin(angle) * outwards)
        for turn in _QUARTERS:
            yield Workspace(
                effector=arm,
                center=(float(center[0]), float(center[1])),
                half=(0.17 * reach * scale, 0.27 * reach * scale),
                aperture=aperture,
                grasp=se3.yaw(turn) @ down,
                start_height=0.25 * reach * scale,
            )


def _reaches(model: RobotModel, arm: str, patch: Workspace) -> bool:
    """Whether an arm can take hold of something near the patch's middle or corners."""
    shoulder = shoulder_of(model, arm)[:2]
    for x, y in ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
        point = np.array([*patch.point(x, y), 0.02])
        out = (point[:2] - shoulder) / np.linalg.norm(point[:2] - shoulder)
        for lean, turn in product(_LEANS, _QUARTERS):
            # the tool's z turns from down towards outwards
            R = se3.exp3(lean * np.array([out[1], -out[0], 0.0])) @ se3.yaw(turn) @ patch.grasp
            if _solved(model, arm, se3.pose(R, point), model.neutral) is not None:
                return True
    return False


def _meeting(
    model: RobotModel, patch: Workspace, down: Array, place: Array, way: Array
) -> Array | None:
    """``T_base_ee`` of a hand at its side of the meeting place, if it gets there from its patch.

    Args:
        model: The robot.
        patch: Where the hand comes from.
        down: ``R_base_ee`` ``(3, 3)``: tool down, fingers closing along the base's y.
        place: The middle between both hands ``(3,)``.
        way: From this hand to the other one ``(2,)`` [m].
    """
    start = se3.pose(patch.grasp, [*patch.center, patch.start_height])
    held = np.array([*(place[:2] - 0.5 * way), place[2]])
    yaw = float(np.arctan2(way[1], way[0]))
    for turn in (yaw, yaw + np.pi):
        T = se3.pose(se3.yaw(turn) @ down, held)
        spin, shift = se3.log3(T[:3, :3] @ start[:3, :3].T), held - start[:3, 3]
        q = _solved(model, patch.effector, start, model.neutral)
        for part in np.linspace(0.0, 1.0, _STEPS)[1:]:
            R = se3.exp3(part * spin) @ start[:3, :3]
            on_way = se3.pose(R, start[:3, 3] + part * shift)
            q = None if q is None else _solved(model, patch.effector, on_way, q)
        if q is not None:
            return T
    return None


def _solved(model: RobotModel, arm: str, T: Array, guess: Array) -> Array | None:
    """Posture with the tool at a pose, or None (2 mm, 0.05 rad)."""
    q = model.inverse_kinematics({arm: T}, guess, iterations=_ITERATIONS)
    error = se3.inverse(model.poses(q)[arm]) @ T
    near = np.linalg.norm(error[:3, 3]) < 2e-3
    return q if near and np.linalg.norm(se3.log3(error[:3, :3])) < 0.05 else None
