"""Record demonstrations: an operator drives, everything is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from icl_vla_embodiments import (
    ActionSpace,
    CameraImage,
    Driver,
    Observation,
    ReportedError,
    SpaceState,
    TaskTarget,
)
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import CameraTrack, Demonstration
from icl_vla_retrieval.demonstration import Value

from .loop import Audit, Controller, execute

LONGEST = 30.0  # [s] of an episode


def record_episode(
    driver: Driver,
    model: RobotModel,
    controller: Controller,
    operator: Callable[[Observation], TaskTarget | None],
    action_space: ActionSpace,
    *,
    instruction: str,
    embodiment: str,
    seconds: float = LONGEST,
    provenance: Mapping[str, Value] | None = None,
    audit: Audit | None = None,
) -> Demonstration:
    """One demonstration at the action space's rate, of the hands that the operator speaks of.

    Args:
        driver: Already reset.
        model: Forward kinematics.
        controller: Already reset.
        operator: Observation -> next target, or None to finish.
        action_space: The commands are recorded as vectors of this space.
        instruction: What is being shown.
        embodiment: Name of the robot.
        seconds: Time allowed.
        provenance: Who, which seed, which task ...
        audit: Collects limit violations.
    """
    dt = 1 / action_space.rate
    observations: list[Observation] = []
    positions: list[Array] = []
    targets: list[TaskTarget] = []
    last: TaskTarget | None = None
    actions = []
    while driver.clock() < seconds:
        observation = driver.observe()
        target = operator(observation)
        if target is None:
            break
        assert observation.q is not None
        state = SpaceState(
            poses=model.poses(observation.q),
            q=observation.q,
            grippers={
                e: s.gripper for e, s in observation.effectors.items() if s.gripper is not None
            },
            commanded=last,
        )
        observations.append(observation)
        positions.append(observation.q)
        targets.append(target)
        actions.append(action_space.encode([target], state, model)[0])
        now = driver.clock()
        execute(driver, controller, [target], [now + dt], now + dt, audit)
        last = target
    if not observations:
        raise ReportedError(
            "the operator finished before the first step: there is nothing to keep",
            value=instruction,
        )
    names = observations[0].cameras
    moved = [e for e in action_space.effectors if e in targets[0].poses]
    poses = [model.poses(q) for q in positions]
    return Demonstration(
        times=np.array([o.time for o in observations]),
        q=np.stack(positions),
        grippers={e: np.array([o.effectors[e].gripper for o in observations]) for e in moved},
        poses={e: np.stack([at[e] for at in poses]) for e in moved},
        actions=np.stack(actions),
        action_space=action_space,
        commands={e: np.stack([t.poses[e] for t in targets]) for e in moved},
        gripper_commands={e: np.array([t.grippers[e] for t in targets]) for e in moved},
        cameras={name: _track([o.cameras[name] for o in observations]) for name in names},
        instruction=instruction,
        embodiment=embodiment,
        provenance=dict(provenance or {}),
    )


def _track(images: Sequence[CameraImage]) -> CameraTrack:
    """One camera's pictures; its calibration is that of the first."""
    depths = [image.depth for image in images if image.depth is not None]
    return CameraTrack.from_arrays(
        np.stack([image.rgb for image in images if image.rgb is not None]),
        np.stack(depths) if depths else None,
        intrinsics=images[0].intrinsics,
        mount=images[0].mount,
        T_mount_camera=images[0].T_mount_camera,
    )
