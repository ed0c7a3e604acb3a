"""How far what a depth camera sees lies from the robot's surface."""

from __future__ import annotations

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .body import Body
from .pictures import Pictures
from .pinhole import Pinhole

_STRIDE = 4  # [px] between the pixels that are looked at
_FAR = 0.06  # [m] from the robot: something else
_NEAREST = 0.05  # [m] of a sound return


def surface_rows(camera: Pinhole, pictures: Pictures, body: Body) -> tuple[Array, Array]:
    """Distances of seen points from the robot where it is predicted (point to plane).

    Reference: Chen and Medioni, *Object modelling by registration of multiple range images*, 1992.

    Returns:
        ``(N,)`` [m] and the Jacobian ``(N, 7)`` per step of :meth:`Pinhole.moved`.
    """
    assert pictures.depth is not None
    errors, rows = [np.zeros(0)], [np.zeros((0, 7))]
    for t, depth in enumerate(pictures.depth):
        mask = body.mask(t, camera, pictures.size)
        v, u = _STRIDE * np.array(np.nonzero(mask[::_STRIDE, ::_STRIDE]))
        z = depth[v, u].astype(float)
        rays = camera.rays(np.stack([u, v], axis=1).astype(float))
        seen = (rays * z[:, None])[z > _NEAREST]
        if not len(seen):
            continue
        distance, normal = body.distance(t, se3.act(camera.T_base_camera, seen))
        near = np.abs(distance) < _FAR
        n, seen = normal[near] @ camera.T_camera_base[:3, :3].T, seen[near]  # camera axes
        # the robot moves by the step as seen from the camera, so the point moves back on it; a
        # longer focal length draws the points towards the axis
        zoom = -np.einsum("ni,ni->n", n[:, :2], seen[:, :2])[:, None]
        errors.append(distance[near])
        rows.append(np.concatenate([-n, -np.cross(seen, n), zoom], axis=1))
    return np.concatenate(errors), np.concatenate(rows)
