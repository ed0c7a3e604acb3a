"""Pictures of many or few pixels, made about as large as those that networks see well in."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from icl_vla_embodiments import CameraImage


def blocks(height: int, width: int, side: int) -> int:
    """Side of the blocks of pixels that are one in pictures of about the size ``side`` [px]."""
    return max(1, round(max(height, width) / side))


def shrunk(camera: CameraImage, side: int) -> CameraImage:
    """A picture of about ``side`` pixels from a larger one; a rest at the far edges is dropped.

    Colours are averaged over blocks of pixels; a depth is that of the block's middle, as an average
    across an edge would lie in the air.
    """
    assert camera.rgb is not None and camera.intrinsics is not None
    f = blocks(camera.rgb.shape[0], camera.rgb.shape[1], side)
    if f == 1:
        return camera
    height, width = (n // f for n in camera.rgb.shape[:2])
    squares = camera.rgb[: height * f, : width * f].reshape(height, f, width, f, 3)
    K = np.array(camera.intrinsics, dtype=float)
    K[:2, 2] -= 0.5 * (f - 1)
    K[:2] /= f
    middle = slice(f // 2, None, f)
    depth = None if camera.depth is None else camera.depth[middle, middle][:height, :width]
    rgb = np.round(squares.mean(axis=(1, 3))).astype(np.uint8)
    return replace(camera, rgb=rgb, depth=depth, intrinsics=K)


def enlarged(camera: CameraImage, side: int) -> CameraImage:
    """A picture whose longer side is ``side`` pixels, or a little more, from a smaller one.

    Colours are interpolated; a depth is the nearest pixel's, as one in between may lie in the air.
    """
    assert camera.rgb is not None and camera.intrinsics is not None
    old = camera.rgb.shape[:2]
    if max(old) >= side:
        return camera
    height, width = (2 * -(-n * side // (2 * max(old))) for n in old)  # networks halve them
    f = np.array([width / old[1], height / old[0]])
    K = np.array(camera.intrinsics, dtype=float)
    K[:2] *= f[:, None]
    K[:2, 2] += 0.5 * (f - 1)
    size, nearest, depth = (width, height), cv2.INTER_NEAREST_EXACT, None
    rgb = np.asarray(cv2.resize(camera.rgb, size, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if camera.depth is not None:
        depth = np.asarray(cv2.resize(camera.depth, size, interpolation=nearest), dtype=np.float32)
    return replace(camera, rgb=rgb, depth=depth, intrinsics=K)
