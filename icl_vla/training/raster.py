"""A small rasteriser: triangles to colour, depth and instance, thousands of pictures a second.

Written in Python and compiled on first use by Numba (extra ``train``), once a machine.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

NEAR = 0.02  # [m]; what is nearer is cut off
BACKGROUND = -1  # instance where nothing is


@njit(cache=True, fastmath=True)
def draw(
    vertices: NDArray[np.float32],
    normals: NDArray[np.float32],
    uv: NDArray[np.float32],
    first: NDArray[np.int32],
    triangles: NDArray[np.int32],
    owner: NDArray[np.int32],
    poses: NDArray[np.float32],
    colors: NDArray[np.float32],
    texture: NDArray[np.int32],
    textures: NDArray[np.float32],
    K: NDArray[np.float32],
    camera: NDArray[np.float32],
    light: NDArray[np.float32],
    shine: NDArray[np.float32],
    rgb: NDArray[np.float32],
    depth: NDArray[np.float32],
    instance: NDArray[np.int32],
) -> None:
    """Draw ``I`` instances of meshes into buffers that hold what is behind everything.

    Args:
        vertices: ``(V, 3)`` of all instances, each in its own frame.
        normals: ``(V, 3)`` unit.
        uv: ``(V, 2)`` in a texture; 1 is its width.
        first: ``(I + 1,)`` first vertex of each instance.
        triangles: ``(F, 3)`` indices of vertices, anticlockwise seen from outside.
        owner: ``(F,)`` instance of each triangle.
        poses: ``(I, 4, 4)`` ``T_world_instance``, its scale included.
        colors: ``(I, 3)``, 0 to 1; they multiply the texture.
        texture: ``(I,)`` index of its texture; -1 for none.
        textures: ``(T, S, S, 3)``, 0 to 1.
        K: ``(3, 3)`` intrinsics, pixel centres at integer coordinates.
        camera: ``(4, 4)`` ``T_camera_world``, optical (x right, y down, z forward).
        light: ``(3,)`` unit vector towards it, in the world.
        shine: ``(2,)`` share of a colour seen in any light, and what light straight on it adds.
        rgb: ``(H, W, 3)`` 0 to 1, written.
        depth: ``(H, W)`` along the optical axis [m], written.
        instance: ``(H, W)`` written.
    """
    # of each vertex: in camera axes x, y, z [m], then place in the texture, then brightness
    corners = np.empty((len(vertices), 6), np.float32)
    for i in range(len(first) - 1):
        P = poses[i]
        M = camera @ P
        for v in range(first[i], first[i + 1]):
            x, y, z = vertices[v]
            for axis in range(3):
                corners[v, axis] = M[axis, 0] * x + M[axis, 1] * y + M[axis, 2] * z + M[axis, 3]
            corners[v, 3], corners[v, 4] = uv[v, 0], uv[v, 1]
            a, b, c = normals[v]
            along, square = np.float32(0.0), np.float32(1e-12)
            for axis in range(3):
                n = P[axis, 0] * a + P[axis, 1] * b + P[axis, 2] * c
                along += n * light[axis]
                square += n * n
            corners[v, 5] = shine[0] + shine[1] * max(along / np.sqrt(square), 0.0)
    cut = np.empty((4, 6), np.float32)
    for f in range(len(triangles)):
        count = _cut(corners, triangles[f], cut)
        own = owner[f]
        for k in range(1, count - 1):
            _fill(
                cut[0], cut[k], cut[k + 1], K, colors[own], texture[own], textures, own,
                rgb, depth, instance,
            )  # fmt: skip


@njit(cache=True, fastmath=True)
def _cut(
    corners: NDArray[np.float32], triangle: NDArray[np.int32], cut: NDArray[np.float32]
) -> int:
    """What of a triangle lies before the near plane: how many corners ``cut`` holds."""
    count = 0
    for k in range(3):
        a, b = corners[triangle[k]], corners[triangle[(k + 1) % 3]]
        if a[2] >= NEAR:
            cut[count] = a
            count += 1
        if (a[2] >= NEAR) != (b[2] >= NEAR):
            share = (NEAR - a[2]) / (b[2] - a[2])
            cut[count] = a + share * (b - a)
            count += 1
    return count


@njit(cache=True, fastmath=True)
def _fill(
    p: NDArray[np.float32],
    q: NDArray[np.float32],
    r: NDArray[np.float32],
    K: NDArray[np.float32],
    color: NDArray[np.float32],
    tex: int,
    textures: NDArray[np.float32],
    own: int,
    rgb: NDArray[np.float32],
    depth: NDArray[np.float32],
    instance: NDArray[np.int32],
) -> None:
    """Draw a triangle whose corners lie before the near plane."""
    H, W = depth.shape
    wp, wq, wr = 1.0 / p[2], 1.0 / q[2], 1.0 / r[2]
    up, vp = K[0, 0] * p[0] * wp + K[0, 2], K[1, 1] * p[1] * wp + K[1, 2]
    uq, vq = K[0, 0] * q[0] * wq + K[0, 2], K[1, 1] * q[1] * wq + K[1, 2]
    ur, vr = K[0, 0] * r[0] * wr + K[0, 2], K[1, 1] * r[1] * wr + K[1, 2]
    # y points down in a picture, so what faces the camera has a negative area
    area = (uq - up) * (vr - vp) - (vq - vp) * (ur - up)
    if area >= -1e-9:
        return
    left, right = max(int(np.ceil(min(up, uq, ur))), 0), min(int(max(up, uq, ur)), W - 1)
    top, bottom = max(int(np.ceil(min(vp, vq, vr))), 0), min(int(max(vp, vq, vr)), H - 1)
    over, side = 1.0 / area, textures.shape[1]
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            b = ((x - up) * (vr - vp) - (y - vp) * (ur - up)) * over
            c = ((uq - up) * (y - vp) - (vq - vp) * (x - up)) * over
            a = 1.0 - b - c
            if a < 0.0 or b < 0.0 or c < 0.0:
                continue
            z = 1.0 / (a * wp + b * wq + c * wr)
            if z >= depth[y, x]:
                continue
            depth[y, x] = z
            instance[y, x] = own
            a, b, c = a * wp * z, b * wq * z, c * wr * z  # shares on the triangle itself
            light = a * p[5] + b * q[5] + c * r[5]
            red, green, blue = color[0], color[1], color[2]
            if tex >= 0:
                s, t = a * p[3] + b * q[3] + c * r[3], a * p[4] + b * q[4] + c * r[4]
                column = int((s - np.floor(s)) * side) % side
                row = int((t - np.floor(t)) * side) % side
                red *= textures[tex, row, column, 0]
                green *= textures[tex, row, column, 1]
                blue *= textures[tex, row, column, 2]
            rgb[y, x, 0] = min(red * light, 1.0)
            rgb[y, x, 1] = min(green * light, 1.0)
            rgb[y, x, 2] = min(blue * light, 1.0)
