"""A robot on legs in a scene: it walks where it is told to, by its own controller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from icl_vla_embodiments import Command, Observation, TaskTarget
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_wbc.legs import LegMpc

from ..runtime.mobile import MobileModel
from .bullet import pybullet, undamped
from .rolling import FLOOR, STILL, MovingDriver
from .scene import Scene
from .world import STEP

SUBSTEPS, TICK = 4, 2  # of physics within a step, and between two torques of the controller
FRICTION = 0.8 / FLOOR  # of feet


class WalkingDriver(MovingDriver):
    """Balance and gait are the robot's own (:class:`LegMpc`); it is commanded by velocities.

    Args:
        model: The robot.
        urdf: For simulation.
        scenes: Seed -> scene; it says where the base starts.
    """

    def __init__(
        self, model: MobileModel, urdf: Path, scenes: Callable[[int | None], Scene]
    ) -> None:
        super().__init__(model, urdf, scenes)
        self.legs = LegMpc(RobotModel(model.embodiment), period=STEP * TICK / SUBSTEPS)
        self.world.substeps = SUBSTEPS

    def _footing(self) -> tuple[Array, bool]:
        return self.start(self.legs.height), False

    def _load(self) -> None:
        self.world.actuate = None
        super()._load()
        c = self.world.client
        undamped(c, self.body, FRICTION)
        c.setJointMotorControlArray(
            self.body,
            self._indices,
            pybullet.VELOCITY_CONTROL,
            forces=[0.0] * len(self._indices),
        )
        self._twist, self._count, self._torques = STILL, 0, np.zeros(len(self._indices))
        self.world.actuate = self._balance

    def _drive(self, angles: Array, velocities: Array) -> None:
        """Joints are moved by torques alone."""
        self._braked, self._driven = False, None

    def _balance(self) -> None:
        """Torques for the next substep."""
        if self._count % TICK == 0:
            seen = self._seen()
            if self._count == 0:
                self.legs.reset(seen)
            command = self.legs.track(TaskTarget(base_twist=self._twist), seen)
            assert command.tau is not None
            # torques at masters: followers share them by virtual work
            self._torques = self._unmap.T @ command.tau
        self._count += 1
        self.world.client.setJointMotorControlArray(
            self.body, self._indices, pybullet.TORQUE_CONTROL, forces=self._torques
        )

    def _seen(self) -> Observation:
        """What the robot's own controller measures."""
        angles, velocities = self._states()
        T, twist = self.base()
        return Observation(
            time=self._count * STEP / SUBSTEPS,
            q=self._unmap @ (angles - self.model.c[self._rows]),
            v=self._unmap @ velocities,
            T_world_base=T,
            base_twist=twist,
        )

    def command(self, command: Command, duration: float) -> None:
        """Walk with a velocity for ``duration`` [s], rounded to physics steps."""
        still = command.base_twist is None or command.mode == "stop"
        self._twist = STILL if still else np.asarray(command.base_twist)
        super().command(Command(mode=command.mode, level=command.level), duration)
        self.lead(duration)

    def stop(self) -> None:
        """Stand."""
        self._twist = STILL
