"""A table with things on it in PyBullet: bodies, physics, pictures, and the truth for judges."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from icl_vla_embodiments import CameraImage, se3
from icl_vla_embodiments.types import Array

from .bullet import connect, pybullet
from .scene import CameraSpec, ObjectSpec, Scene

STEP = 1 / 240  # [s] of physics
_NEAR, _FAR = 0.05, 4.0  # [m] clipping planes of the renderer
_BOWL_SEGMENTS = 12
_CLEARANCE = 0.001  # [m] of a bowl's wall over the table: one contact patch, not thirteen
_WALL = 0.005  # [m] thickness of a bowl's wall


class World:
    """One PyBullet client with one scene in it.

    The truth (:meth:`pose`, :meth:`speed`, :meth:`touching`) is for judges and scripted experts;
    policies get :meth:`image` through a driver.
    """

    def __init__(self) -> None:
        self.client = connect()
        self.bodies: dict[str, int] = {}
        self.scene = Scene((), {})
        self._noise = np.random.default_rng(0)

    def reset(self, scene: Scene) -> None:
        """Empty the world and lay the scene out, without a robot."""
        c = self.client
        c.resetSimulation()
        c.setGravity(0, 0, -9.81)
        c.setTimeStep(STEP)
        self.scene = scene
        self._noise = np.random.default_rng(scene.seed)
        half = [1.5, 1.5, 0.05]
        self.table = c.createMultiBody(
            0,
            c.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half),
            c.createVisualShape(
                pybullet.GEOM_BOX,
                halfExtents=half,
                rgbaColor=[*scene.table_color, 1],
                specularColor=[0, 0, 0],
            ),
            [0, 0, -0.05],
        )
        self.bodies = {o.name: self._add(o) for o in scene.objects}

    def close(self) -> None:
        """Free the client."""
        self.client.disconnect()

    def _add(self, o: ObjectSpec) -> int:
        c = self.client
        look = {"rgbaColor": [*o.color, 1], "specularColor": [0, 0, 0]}
        orientation = c.getQuaternionFromEuler([0, 0, o.yaw])
        x, _, height = o.size
        if o.shape == "mark":
            visual = c.createVisualShape(
                pybullet.GEOM_CYLINDER, radius=x / 2, length=height, **look
            )
            return int(c.createMultiBody(0, -1, visual, o.position, orientation))
        if o.shape == "bowl":
            body = self._bowl(o, orientation)
        else:
            shapes: dict[str, tuple[int, dict[str, Any]]] = {
                "box": (pybullet.GEOM_BOX, {"halfExtents": [s / 2 for s in o.size]}),
                "cylinder": (pybullet.GEOM_CYLINDER, {"radius": x / 2}),
                "sphere": (pybullet.GEOM_SPHERE, {"radius": x / 2}),
            }
            kind, size = shapes[o.shape]
            tall = {"height": height} if o.shape == "cylinder" else {}
            long = {"length": height} if o.shape == "cylinder" else {}
            body = c.createMultiBody(
                o.mass,
                c.createCollisionShape(kind, **size, **tall),
                c.createVisualShape(kind, **size, **long, **look),
                o.position,
                orientation,
            )
        c.changeDynamics(
            body,
            -1,
            lateralFriction=o.friction,
            rollingFriction=2e-3,
            spinningFriction=0.25 * max(o.size[:2]),  # a disc's: 2/3 of its radius
            linearDamping=0.2,
            angularDamping=0.3,
            activationState=pybullet.ACTIVATION_STATE_ENABLE_SLEEPING,
        )
        return int(body)

    def _bowl(self, o: ObjectSpec, orientation: list[float]) -> int:
        """A round base with a ring of upright plates; its origin is the centre of its height.

        In contact the base is two square slabs, the upper one turned by an eighth: a disc on a
        plane has contact points that wander, and what lies in such a bowl may rock for ever.
        """
        radius, height = o.size[0] / 2, o.size[2]
        plate = [
            _WALL / 2,
            (radius + _WALL) * math.tan(math.pi / _BOWL_SEGMENTS),
            (height - _CLEARANCE) / 2,
        ]
        angles = [2 * math.pi * i / _BOWL_SEGMENTS for i in range(_BOWL_SEGMENTS)]
        ring = radius - _WALL / 2
        positions = [[ring * math.cos(a), ring * math.sin(a), _CLEARANCE / 2] for a in angles]
        turns = [self.client.getQuaternionFromEuler([0, 0, a]) for a in angles]
        base_z = -height / 2 + _WALL / 2
        slab = [0.7 * radius, 0.7 * radius, _WALL / 2]
        c = self.client
        collision = c.createCollisionShapeArray(
            shapeTypes=[pybullet.GEOM_BOX] * (_BOWL_SEGMENTS + 2),
            halfExtents=[*([plate] * _BOWL_SEGMENTS), slab, slab],
            radii=[0.0] * (_BOWL_SEGMENTS + 2),
            lengths=[0.0] * (_BOWL_SEGMENTS + 2),
            collisionFramePositions=[*positions, [0, 0, base_z], [0, 0, base_z + _CLEARANCE / 2]],
            collisionFrameOrientations=[
                *turns,
                [0, 0, 0, 1],
                c.getQuaternionFromEuler([0, 0, math.pi / 4]),
            ],
        )
        visual = c.createVisualShapeArray(
            shapeTypes=[pybullet.GEOM_BOX] * _BOWL_SEGMENTS + [pybullet.GEOM_CYLINDER],
            halfExtents=[*([plate] * _BOWL_SEGMENTS), [0.0, 0.0, 0.0]],
            radii=[*([0.0] * _BOWL_SEGMENTS), radius],
            lengths=[*([0.0] * _BOWL_SEGMENTS), _WALL],
            rgbaColors=[[*o.color, 1]] * (_BOWL_SEGMENTS + 1),
            visualFramePositions=[*positions, [0, 0, base_z]],
            visualFrameOrientations=[*turns, [0, 0, 0, 1]],
        )
        body = c.createMultiBody(o.mass, collision, visual, o.position, orientation)
        for link in range(-1, c.getNumJoints(body)):
            c.changeVisualShape(body, link, specularColor=[0, 0, 0])
        return int(body)

    def step(self, steps: int) -> None:
        """Advance physics by ``steps`` of :data:`STEP`."""
        for _ in range(steps):
            self.client.stepSimulation()

    def pose(self, name: str) -> Array:
        """``T_world_object`` ``(4, 4)``."""
        p, q = self.client.getBasePositionAndOrientation(self.bodies[name])
        return se3.pose(se3.from_quat_xyzw(q), p)

    def speed(self, name: str) -> float:
        """Linear speed [m/s] plus the angular one times 3 cm."""
        v, w = self.client.getBaseVelocity(self.bodies[name])
        return float(np.linalg.norm(v) + 0.03 * np.linalg.norm(w))

    def touching(self, name: str, body: int) -> bool:
        """Whether an object touches another body."""
        return bool(self.client.getContactPoints(self.bodies[name], body))

    def image(self, camera: CameraSpec, *, noise: bool = True) -> CameraImage:
        """A calibrated RGB-D picture in the world frame, with the sensor's noise."""
        T = camera.T_world_camera
        view = self.client.computeViewMatrix(camera.eye, camera.target, [0, 0, 1])
        projection = self.client.computeProjectionMatrixFOV(
            camera.fov, camera.width / camera.height, _NEAR, _FAR
        )
        _, _, rgba, buffer, _ = self.client.getCameraImage(
            camera.width,
            camera.height,
            view,
            projection,
            lightDirection=self.scene.light,
            shadow=0,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
            renderer=pybullet.ER_TINY_RENDERER,
        )
        shape = (camera.height, camera.width)
        rgb = np.asarray(rgba, dtype=np.uint8).reshape(*shape, 4)[..., :3]
        buffer = np.asarray(buffer, dtype=np.float32).reshape(shape)
        depth = _FAR * _NEAR / (_FAR - (_FAR - _NEAR) * buffer)
        if noise:
            scale = 255 * camera.color_noise
            speckle = self._noise.standard_normal(rgb.shape, dtype=np.float32) * scale
            rgb = np.clip(rgb + speckle, 0, 255).astype(np.uint8)
            speckle = self._noise.standard_normal(shape, dtype=np.float32)
            depth = depth + camera.depth_noise * speckle
        depth = np.where(buffer < 1.0, depth, 0.0).astype(np.float32)
        return CameraImage(np.ascontiguousarray(rgb), depth, camera.intrinsics, None, T)
