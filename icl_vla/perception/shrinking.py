"""Pictures of many pixels, made as small as those that networks learned from."""

from __future__ import annotations

from dataclasses import replace

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
