"""What is drawn: meshes, where they stand, how they look; taken from a PyBullet client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.types import Array

from . import meshes
from .meshes import Mesh

AMBIENT, DIFFUSE = 0.6, 0.35  # as TinyRenderer's


@dataclass(frozen=True)
class Picture:
    """What a camera sees.

    Attributes:
        rgb: ``(H, W, 3)`` 0 to 255.
        depth: ``(H, W)`` along the optical axis [m]; 0 where nothing is.
        instance: ``(H, W)`` index of the prop; -1 where nothing is.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    instance: NDArray[np.int32]


@dataclass(frozen=True)
class Prop:
    """One mesh that is drawn.

    Attributes:
        mesh: Its shape.
        scale: ``(3,)`` of its axes, before it is placed.
        color: ``(3,)`` 0 to 1.
        texture: Index of a texture; -1 for none.
        body: Where it belongs: body and link of a client, or whatever its maker numbers.
        link: See ``body``.
        offset: ``(4, 4)`` ``T_link_prop``.
    """

    mesh: Mesh
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    texture: int = -1
    body: int = -1
    link: int = -1
    offset: Array = field(default_factory=lambda: np.eye(4))


class Stage:
    """Props that can be moved, painted and photographed.

    Args:
        props: ``I`` of them.
        textures: ``(S, S, 3)`` each, 0 to 255, of one size.

    Attributes:
        poses: ``(I, 4, 4)`` ``T_world_prop``; write to it.
        colors: ``(I, 3)``; write to it.
        texture: ``(I,)``; write to it.
        light: ``(3,)`` towards it, of any length.
        shine: Share of a colour seen in any light, and what light straight on it adds.
        background: ``(3,)`` colour where nothing is, 0 to 255.
    """

    def __init__(self, props: Sequence[Prop], textures: Sequence[NDArray[np.uint8]] = ()) -> None:
        self.props = tuple(props)
        scales = [np.array(p.scale) for p in props]
        whole = meshes.joined([p.mesh for p in props])
        counts = [len(p.mesh.vertices) for p in props]
        self._first = np.cumsum([0, *counts], dtype=np.int32)
        scale = np.repeat(scales, counts, axis=0)
        self._vertices = (whole.vertices * scale).astype(np.float32)
        self._normals = (whole.normals / scale).astype(np.float32)
        self._uv = whole.uv.astype(np.float32)
        self._triangles = whole.triangles.astype(np.int32)
        faces = [len(p.mesh.triangles) for p in props]
        self._owner = np.repeat(np.arange(len(props), dtype=np.int32), faces)
        self._textures: NDArray[np.float32] = np.zeros((1, 1, 1, 3), np.float32)
        if len(textures):
            self._textures = (np.stack(textures) / 255).astype(np.float32)
        self.poses = np.tile(np.eye(4), (len(props), 1, 1))
        self.colors = np.array([p.color for p in props])
        self.texture = np.array([p.texture for p in props])
        self.light = np.array([0.0, 0.0, 1.0])
        self.shine = (AMBIENT, DIFFUSE)
        self.background = np.full(3, 255.0)

    def photograph(self, K: Array, T_world_camera: Array, height: int, width: int) -> Picture:
        """What a calibrated camera sees; see :class:`CameraSpec` for the conventions."""
        from .raster import BACKGROUND, draw

        rgb = np.empty((height, width, 3), np.float32)
        rgb[:] = np.asarray(self.background) / 255
        depth = np.full((height, width), np.inf, np.float32)
        instance = np.full((height, width), BACKGROUND, np.int32)
        light = np.asarray(self.light) / np.linalg.norm(self.light)
        draw(
            self._vertices,
            self._normals,
            self._uv,
            self._first,
            self._triangles,
            self._owner,
            self.poses.astype(np.float32),
            self.colors.astype(np.float32),
            self.texture.astype(np.int32),
            self._textures,
            np.asarray(K, np.float32),
            se3.inverse(T_world_camera).astype(np.float32),
            light.astype(np.float32),
            np.array(self.shine, np.float32),
            rgb,
            depth,
            instance,
        )
        depth[np.isinf(depth)] = 0.0
        return Picture((255 * rgb + 0.5).astype(np.uint8), depth, instance)


def of_client(
    client: Any,
    bodies: Sequence[int],
    textures: Mapping[int, NDArray[np.uint8]] | None = None,
    coarse: float = 0.0,
) -> Stage:
    """What a PyBullet client would draw of some bodies.

    Args:
        client: PyBullet client.
        bodies: Numbers of bodies.
        textures: Body -> ``(S, S, 3)`` pixels that cover it; the client does not tell.
        coarse: Size of details that mesh files lose [m]; 0 to keep all.

    Raises:
        ReportedError: A visual shape is of a kind that cannot be drawn.
    """
    covered = textures or {}
    order = list(covered)
    props: list[Prop] = []
    for body in bodies:
        for _, link, kind, size, file, p, q, rgba in client.getVisualShapeData(body):
            for mesh, scale, local in _meshes(kind, size, file, coarse):
                props.append(
                    Prop(
                        mesh,
                        scale,
                        tuple(rgba[:3]),
                        order.index(body) if body in covered else -1,
                        body,
                        link,
                        se3.pose(se3.from_quat_xyzw(q), p) @ local,
                    )
                )
    stage = Stage(props, list(covered.values()))
    place(stage, client)
    return stage


def place(stage: Stage, client: Any) -> None:
    """Move the props to where the client has their links."""
    poses: dict[tuple[int, int], Array] = {}
    for i, prop in enumerate(stage.props):
        key = prop.body, prop.link
        if key not in poses:
            poses[key] = _link_pose(client, *key)
        stage.poses[i] = poses[key] @ prop.offset


def _link_pose(client: Any, body: int, link: int) -> Array:
    """``T_world_link`` ``(4, 4)``."""
    if link >= 0:
        state = client.getLinkState(body, link, computeForwardKinematics=1)
        return se3.pose(se3.from_quat_xyzw(state[5]), state[4])
    p, q = client.getBasePositionAndOrientation(body)
    info = client.getDynamicsInfo(body, -1)
    inertial = se3.pose(se3.from_quat_xyzw(info[4]), info[3])
    return se3.pose(se3.from_quat_xyzw(q), p) @ se3.inverse(inertial)


def _meshes(
    kind: int, size: Sequence[float], file: bytes, coarse: float
) -> list[tuple[Mesh, tuple[float, float, float], Array]]:
    """Meshes of a visual shape, their scales, and where they stand in its frame."""
    import pybullet

    here = np.eye(4)
    if kind == pybullet.GEOM_BOX:
        return [(meshes.box(), (size[0], size[1], size[2]), here)]
    if kind == pybullet.GEOM_SPHERE:
        return [(meshes.sphere(), (2 * size[0],) * 3, here)]
    if kind in (pybullet.GEOM_CYLINDER, pybullet.GEOM_CAPSULE):
        length, width = size[0], 2 * size[1]
        parts = [(meshes.cylinder(), (width, width, length), here)]
        if kind == pybullet.GEOM_CAPSULE:
            for end in (-0.5, 0.5):
                at = se3.pose(np.eye(3), [0.0, 0.0, end * length])
                parts.append((meshes.sphere(), (width,) * 3, at))
        return parts
    if kind == pybullet.GEOM_MESH:
        mesh = meshes.of_file(Path(file.decode()))
        if coarse:
            mesh = meshes.coarsened(mesh, coarse / max(map(abs, size)))
        return [(mesh, (size[0], size[1], size[2]), here)]
    raise ReportedError(
        "a visual shape cannot be drawn",
        where="PyBullet's visual shapes",
        value=kind,
        valid=("box", "sphere", "cylinder", "capsule", "mesh"),
    )
