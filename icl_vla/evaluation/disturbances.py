"""What goes wrong while a policy works: things move, grasps miss, cameras shift, links are slow.

A disturbance stands between the policy and the simulated robot. Where and when it strikes comes
from the trial's seed alone, so it strikes every method alike.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np

from icl_vla_embodiments import Command, Observation, ReportedError, UnknownName, se3
from icl_vla_embodiments.types import Array

from ..sim.bullet import pybullet
from ..sim.driver import PyBulletDriver
from .artifacts import ARTIFACTS


class Disturbance:
    """Nothing happens; the others are kinds of this one.

    Args:
        severity: 1 to 5.
    """

    name = "none"

    def __init__(self, severity: int = 3) -> None:
        if severity not in range(1, 6):
            raise ReportedError(
                "a disturbance has a severity of 1 to 5", where=self.name, value=severity
            )
        self.severity = severity

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        """An episode starts."""

    def act(self, driver: PyBulletDriver, command: Command) -> Command:
        """Strike, if it is time; what the robot is told in the end."""
        return command

    def see(self, observation: Observation) -> Observation:
        """What the policy is shown."""
        return observation


class MovedThings(Disturbance):
    """Somebody shifts a thing that nobody holds, by 1.5 cm a severity, in mid-episode."""

    name = "moved"

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        self._at = float(rng.uniform(1.0, 2.5))
        self._way = 0.015 * self.severity * np.array([*_unit(rng), 0.0])
        self._which = float(rng.random())
        self._done = False

    def act(self, driver: PyBulletDriver, command: Command) -> Command:
        if not self._done and driver.clock() >= self._at:
            world = driver.world
            shapes = {o.name: o.shape for o in world.scene.objects}
            free = [
                name
                for name in sorted(world.bodies)
                if shapes[name] in ("box", "cylinder", "sphere", "bowl", "cross", "tee", "ell")
                and not world.touching(name, driver.body)
            ]
            if free:
                body = world.bodies[free[int(self._which * len(free))]]
                p, q = world.client.getBasePositionAndOrientation(body)
                world.client.resetBasePositionAndOrientation(body, np.add(p, self._way), q)
                self._done = True
        return command


class PushedArm(Disturbance):
    """The hand is pushed sideways for 0.3 s, with 8 N a severity."""

    name = "pushed"

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        self._at = float(rng.uniform(0.8, 3.0))
        self._force = 8.0 * self.severity * np.array([*_unit(rng), 0.0])

    def act(self, driver: PyBulletDriver, command: Command) -> Command:
        if self._at <= driver.clock() < self._at + 0.3:
            client, body = driver.world.client, driver.body
            last = client.getNumJoints(body) - 1
            place = client.getLinkState(body, last)[0]
            client.applyExternalForce(body, last, self._force, place, pybullet.WORLD_FRAME)
        return command


class MissedGrasp(Disturbance):
    """The first time that the gripper closes, it opens again at once, as if a thing slipped."""

    name = "missed"

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        self._closing: float | None = None
        grippers = driver.model.embodiment.of_kind("gripper")
        joints = driver.model.embodiment.joints
        self._index = [joints.index(j) for g in grippers for j in g.joints]
        self._open = np.array([x for g in grippers for x in g.open])
        self._closed = np.array([x for g in grippers for x in g.closed])

    def act(self, driver: PyBulletDriver, command: Command) -> Command:
        if command.q is None or not self._index:
            return command
        half = 0.5 * (self._open + self._closed)
        asked = np.abs(command.q[self._index] - self._closed) < np.abs(half - self._closed)
        now = driver.clock()
        if self._closing is None and asked.all():
            self._closing = now
        hold = 0.6 + 0.2 * self.severity  # [s] until it obeys again
        if self._closing is None or now > self._closing + hold:
            return command
        q = command.q.copy()
        q[self._index] = self._open
        return replace(command, q=q)


class MovedCamera(Disturbance):
    """A camera is knocked by 1 degree and 0.5 cm a severity, and nobody calibrates it again."""

    name = "camera"

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        scene = driver.world.scene
        cameras = {}
        for name, camera in scene.cameras.items():
            shift = 0.005 * self.severity * rng.normal(size=3) / np.sqrt(3)
            reach = float(np.linalg.norm(np.subtract(camera.target, camera.eye)))
            angle = np.radians(1.0 * self.severity) * reach
            aim = angle * rng.normal(size=3) / np.sqrt(3)
            cameras[name] = replace(
                camera,
                eye=tuple(np.add(camera.eye, shift)),
                target=tuple(np.add(camera.target, shift + aim)),
            )
        T_base_world = se3.inverse(driver.model.embodiment.mount.matrix)
        self._said = {
            name: camera.T_world_camera if camera.link else T_base_world @ camera.T_world_camera
            for name, camera in scene.cameras.items()
        }
        driver.world.scene = scene.with_(cameras=cameras)

    def see(self, observation: Observation) -> Observation:
        """Pictures from the new place, with the old calibration."""
        images = {
            name: replace(image, T_mount_camera=self._said[name])
            for name, image in observation.cameras.items()
        }
        return replace(observation, cameras=images)


class Latency(Disturbance):
    """The policy sees what was 40 ms a severity ago."""

    name = "latency"

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        self._seen: deque[Observation] = deque()

    def see(self, observation: Observation) -> Observation:
        self._seen.append(observation)
        due = observation.time - 0.04 * self.severity
        while len(self._seen) > 1 and self._seen[1].time <= due + 1e-9:
            self._seen.popleft()
        late = self._seen[0]
        return replace(late, time=observation.time)


class NoDepth(Disturbance):
    """Cameras measure no depth."""

    name = "no depth"

    def see(self, observation: Observation) -> Observation:
        images = {n: replace(image, depth=None) for n, image in observation.cameras.items()}
        return replace(observation, cameras=images)


class SpoiltPictures(Disturbance):
    """An artifact of :data:`ARTIFACTS` in every picture of every camera."""

    def __init__(self, artifact: str, severity: int = 3) -> None:
        self.name = artifact
        super().__init__(severity)
        self._artifact = ARTIFACTS[artifact]

    def begin(self, driver: PyBulletDriver, rng: np.random.Generator) -> None:
        self._seed = int(rng.integers(2**31))

    def see(self, observation: Observation) -> Observation:
        images = {}
        for i, (name, image) in enumerate(sorted(observation.cameras.items())):
            if image.rgb is not None:
                rng = np.random.default_rng([self._seed, i])  # the dirt stays
                image = replace(image, rgb=self._artifact(image.rgb, self.severity, rng))
            images[name] = image
        return replace(observation, cameras=images)


KINDS: dict[str, type[Disturbance]] = {
    kind.name: kind
    for kind in (Disturbance, MovedThings, PushedArm, MissedGrasp, MovedCamera, Latency, NoDepth)
}


DISTURBANCES = (*KINDS, *ARTIFACTS)
"""Names of all."""


def disturbance(name: str, severity: int = 3) -> Disturbance:
    """A disturbance or an artifact by name.

    Raises:
        UnknownName: There is none; the message lists the known ones.
        ReportedError: The severity is not 1 to 5.
    """
    if name in KINDS:
        return KINDS[name](severity)
    if name in ARTIFACTS:
        return SpoiltPictures(name, severity)
    raise UnknownName("disturbance", name, [*KINDS, *ARTIFACTS])


class DisturbedDriver:
    """A simulated robot that something happens to; otherwise the driver itself.

    Args:
        driver: The robot.
        disturbance: What happens.
        seed: Of when and where.
    """

    def __init__(self, driver: PyBulletDriver, disturbance: Disturbance, seed: int) -> None:
        self._driver, self._disturbance = driver, disturbance
        disturbance.begin(driver, np.random.default_rng([seed, 0xD157]))

    def observe(self, *, cameras: bool = True) -> Observation:
        """What the policy sees; the controller's own look at the joints is not disturbed."""
        observation = self._driver.observe(cameras=cameras)
        return self._disturbance.see(observation) if cameras else observation

    def command(self, command: Command, duration: float) -> None:
        """Pass a command on, with whatever happens meanwhile."""
        self._driver.command(self._disturbance.act(self._driver, command), duration)

    def __getattr__(self, name: str) -> Any:
        """Everything else is the robot's."""
        return getattr(self._driver, name)


def _unit(rng: np.random.Generator) -> Array:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])
