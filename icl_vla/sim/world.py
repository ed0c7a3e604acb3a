"""A table with things on it in PyBullet: bodies, physics, pictures, and the truth for judges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from icl_vla_embodiments import CameraImage, se3
from icl_vla_embodiments.types import Array

from .bullet import connect, pybullet
from .ink import Pen
from .looks import pattern_file
from .scene import CameraSpec, ObjectSpec, Scene
from .shapes import build

STEP = 1 / 240  # [s] of physics
_LEVER = 0.03  # [m] at which turning counts as moving
_NEAR, _FAR = 0.05, 4.0  # [m] clipping planes of the renderer, for what is at most 2 m away


class World:
    """One PyBullet client with one scene in it.

    The truth (:meth:`pose`, :meth:`speed`, :meth:`touching`) is for judges and scripted experts;
    policies get :meth:`image` through a driver.

    Attributes:
        substeps: Into which a step of physics is divided, from the next :meth:`reset` on.
        actuate: Called before each of them, for a robot that needs its motors all the time.
    """

    actuate: Callable[[], None] | None

    def __init__(self) -> None:
        self.client = connect()
        self.bodies: dict[str, int] = {}
        self.scene = Scene((), {})
        self.pen: Pen | None = None
        self.substeps, self.actuate = 1, None
        self._noise = np.random.default_rng(0)

    def reset(self, scene: Scene) -> None:
        """Empty the world and lay the scene out, without a robot."""
        c = self.client
        c.resetSimulation()
        c.setGravity(0, 0, -9.81)
        c.setTimeStep(STEP / self.substeps)
        self.scene = scene
        self.pen = None
        self._noise = np.random.default_rng(scene.seed)
        half = [scene.half, scene.half, 0.05]
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
        self._textures: dict[Path, int] = {}
        self.bodies = {o.name: self._add(o) for o in scene.objects}

    def close(self) -> None:
        """Free the client."""
        self.client.disconnect()

    def _add(self, o: ObjectSpec) -> int:
        body = build(self.client, o)
        if o.pattern != "plain":
            texture = self._texture(o)
            for link in range(-1, self.client.getNumJoints(body)):
                self.client.changeVisualShape(body, link, textureUniqueId=texture)
        return body

    def _texture(self, o: ObjectSpec) -> int:
        """A texture of the client, loaded once a scene."""
        file = pattern_file(o.pattern, o.color, o.second_color)
        if file not in self._textures:
            self._textures[file] = self.client.loadTexture(str(file))
        return self._textures[file]

    def step(self, steps: int) -> None:
        """Advance physics by ``steps`` of :data:`STEP`."""
        for _ in range(steps * self.substeps):
            if self.actuate is not None:
                self.actuate()
            self.client.stepSimulation()
        if self.pen is not None:
            self.pen.write(steps * STEP)

    def pose(self, name: str) -> Array:
        """``T_world_object`` ``(4, 4)``."""
        p, q = self.client.getBasePositionAndOrientation(self.bodies[name])
        return se3.pose(se3.from_quat_xyzw(q), p)

    def joint(self, name: str) -> float:
        """Position of a fixture's one joint [m or rad], 0 as it was laid out."""
        return float(self.client.getJointState(self.bodies[name], 0)[0])

    def part(self, name: str) -> Array:
        """``T_world_part`` ``(4, 4)`` of a fixture's moving part."""
        state = self.client.getLinkState(self.bodies[name], 0, computeForwardKinematics=1)
        return se3.pose(se3.from_quat_xyzw(state[5]), state[4])

    def speed(self, name: str) -> float:
        """Linear speed [m/s] plus the angular one times 3 cm, a fixture's part included."""
        c, body = self.client, self.bodies[name]
        v, w = c.getBaseVelocity(body)
        total = float(np.linalg.norm(v) + _LEVER * np.linalg.norm(w))
        for joint in range(c.getNumJoints(body)):
            slides = c.getJointInfo(body, joint)[2] == pybullet.JOINT_PRISMATIC
            total += (1.0 if slides else _LEVER) * abs(c.getJointState(body, joint)[1])
        return total

    def touching(self, name: str, body: int) -> bool:
        """Whether an object touches another body."""
        return bool(self.client.getContactPoints(self.bodies[name], body))

    def image(self, camera: CameraSpec, *, noise: bool = True) -> CameraImage:
        """A calibrated RGB-D picture in the world frame, with the sensor's noise."""
        T = camera.T_world_camera
        away = float(np.linalg.norm(np.subtract(camera.target, camera.eye)))
        far = max(_FAR, 2 * away)
        view = self.client.computeViewMatrix(camera.eye, camera.target, camera.up)
        projection = self.client.computeProjectionMatrixFOV(
            camera.fov, camera.width / camera.height, _NEAR, far
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
        depth = far * _NEAR / (far - (far - _NEAR) * buffer)
        if noise:
            scale = 255 * camera.color_noise
            speckle = self._noise.standard_normal(rgb.shape, dtype=np.float32) * scale
            rgb = np.clip(rgb + speckle, 0, 255).astype(np.uint8)
            speckle = self._noise.standard_normal(shape, dtype=np.float32)
            depth = depth + camera.depth_noise * speckle
        depth = np.where(buffer < 1.0, depth, 0.0).astype(np.float32)
        return CameraImage(np.ascontiguousarray(rgb), depth, camera.intrinsics, None, T)
