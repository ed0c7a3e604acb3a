"""What cameras show, as points in the robot's base frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import CameraImage, Observation, ReportedError, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.kinematics import Kinematics
from icl_vla_embodiments.types import Array

from .depth import depth_from_colour


def cameras_and_links(
    observation: Observation, model: Kinematics | None, hulls: LinkHulls | None
) -> tuple[list[CameraImage], dict[str, Array]]:
    """Cameras with colour, depth and calibration; link -> its pose ``(4, 4)`` in the base frame.

    Where no camera measures depth it is guessed for all of them. Without a model no links are
    known.

    Raises:
        ReportedError: There is no camera with colour and calibration, or joint positions are
            missing.
    """
    calibrated = {
        name: camera
        for name, camera in observation.cameras.items()
        if observation.has(f"cameras.{name}.rgb")
        and camera.intrinsics is not None
        and camera.T_mount_camera is not None
    }
    if not calibrated or not observation.has("q"):
        raise ReportedError(
            "an observation lacks what scene tokens are made of",
            value={"cameras": list(observation.cameras), "q": observation.has("q")},
            valid=("joint positions and a camera with rgb, intrinsics and pose",),
        )
    assert observation.q is not None
    links = {} if model is None else model.link_poses(observation.q)
    measured = [c for n, c in calibrated.items() if observation.has(f"cameras.{n}.depth")]
    if measured:
        return measured, links
    guess = depth_from_colour()
    poses = [pose_of(camera, links) for camera in calibrated.values()]
    pairs = zip(calibrated.values(), poses, strict=True)
    return [guess(camera, T, links, hulls) for camera, T in pairs], links


def pose_of(camera: CameraImage, links: dict[str, Array]) -> Array:
    """``T_base_camera`` ``(4, 4)``.

    Raises:
        ReportedError: It hangs on a link whose pose is not known.
    """
    assert camera.T_mount_camera is not None
    T = np.asarray(camera.T_mount_camera)
    if camera.mount is None:
        return T
    if camera.mount not in links:
        raise ReportedError(
            "a camera hangs on a link whose pose is not known",
            value=camera.mount,
            valid=links,
            remedy="say which robot it is, or give the camera's pose in the base's frame",
        )
    return np.asarray(links[camera.mount] @ T)


def points_in_base(camera: CameraImage, links: dict[str, Array]) -> NDArray[np.float32]:
    """Back-projected pixels ``(H, W, 3)`` [m] in the base frame."""
    assert camera.depth is not None and camera.intrinsics is not None
    height, width = camera.depth.shape
    K, z = camera.intrinsics, camera.depth
    x = ((np.arange(width) - K[0, 2]) / K[0, 0]).astype(np.float32)[None] * z
    y = ((np.arange(height) - K[1, 2]) / K[1, 1]).astype(np.float32)[:, None] * z
    points = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    return se3.act(pose_of(camera, links), points).astype(np.float32).reshape(height, width, 3)
