"""A demonstration and a bank to try things with: a disc is carried through a camera's view."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from icl_vla_embodiments import action_space, se3

from .bank import DemoBank
from .demonstration import CameraTrack, Demonstration
from .spec import CameraSpec

JOINTS = tuple(f"joint{i}" for i in range(1, 7))
CAMERA = CameraSpec(height=48, width=64, depth=True)


def make_example(seed: int = 0, *, frames: int = 20, camera: CameraSpec = CAMERA) -> Demonstration:
    """A smooth motion of one arm with a gripper, seen by one fixed camera."""
    rng = np.random.default_rng(seed)
    space = action_space.make_example()
    phase = np.linspace(0.0, 1.0, frames)[:, None]
    ends = rng.uniform(-0.3, 0.3, (2, 3))
    position = ends[0] + (ends[1] - ends[0]) * phase + np.array([0.5, 0.0, 0.3])
    turn = rng.uniform(-0.5, 0.5, 3) * phase
    # lengths in mm and deg for the arm, 0 to 1 for the gripper, as the action space says
    actions = np.column_stack([rng.uniform(-50, 50, (frames, 6)), rng.uniform(0, 1, frames)])
    rgb, depth = _pictures(rng, frames, camera)
    track = CameraTrack.from_arrays(
        rgb,
        depth if camera.depth else None,
        intrinsics=[[60.0, 0.0, camera.width / 2], [0.0, 60.0, camera.height / 2], [0.0, 0.0, 1.0]],
        T_mount_camera=se3.pose(se3.exp3([np.pi, 0.0, 0.0]), [0.5, 0.0, 1.2]),
    )
    return Demonstration.from_arrays(
        q=rng.uniform(-1, 1, len(JOINTS)) + phase * rng.uniform(-1, 1, len(JOINTS)),
        actions=actions,
        action_space=space,
        embodiment="example_arm",
        instruction=("carry the disc to the right", "bring the disc back")[seed % 2],
        grippers={"hand": 1.0 - 0.8 * phase[:, 0]},
        poses={"hand": se3.pose(se3.exp3(turn), position)},
        cameras={"front": track},
        provenance={"recorder": "example", "seed": seed, "success": True},
    )


def make_example_bank(path: Path | str, episodes: int = 0) -> DemoBank:
    """A new bank of the example's robot with demonstrations of seeds 0, 1, 2 ..."""
    bank = DemoBank.create(
        path,
        embodiment="example_arm",
        urdf_sha256="0" * 64,
        joints=JOINTS,
        action_space=action_space.make_example(),
        cameras={"front": CAMERA},
    )
    for seed in range(episodes):
        bank.append(make_example(seed))
    return bank


def _pictures(
    rng: np.random.Generator, frames: int, camera: CameraSpec
) -> tuple[np.ndarray, np.ndarray]:
    """A disc that moves over a shaded table, and its depth [m]; some pixels have no return."""
    y, x = np.mgrid[: camera.height, : camera.width]
    table = 90 + 60 * np.sin(x / 17)[..., None] * [1.0, 0.5, 0.2] + 20 * (y / 11)[..., None] % 40
    shape = (frames, camera.height, camera.width)
    rgb = np.empty((*shape, 3), np.uint8)
    depth = np.empty(shape, np.float32)
    height, colour = camera.height * rng.uniform(0.3, 0.7), rng.integers(0, 255, 3)
    for t in range(frames):
        centre = camera.width * (0.15 + 0.7 * t / max(frames - 1, 1))
        disc = (x - centre) ** 2 + (y - height) ** 2 < (camera.height / 6) ** 2
        rgb[t] = np.where(disc[..., None], colour, table)
        depth[t] = np.where(disc, 0.9, 1.2 + 0.002 * y) + 0.002 * rng.standard_normal(disc.shape)
    depth[rng.random(shape) < 0.02] = 0.0
    return rgb, depth
