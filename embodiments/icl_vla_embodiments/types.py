"""The nouns that cross boundaries: what is seen, what is asked for, what is sent to the motors.

numpy only, so that a vendor's driver needs nothing else of ours. Arrays are never written to after
construction. Units are SI and radians; ``T_a_b`` maps coordinates of ``b`` to ``a``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .se3 import inverse

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CameraImage:
    """What one camera saw.

    Attributes:
        rgb: ``(H, W, 3)`` uint8.
        depth: ``(H, W)`` float32 [m] along the optical axis; 0 where there is no return.
        intrinsics: ``(3, 3)`` pinhole matrix for pixel centres at integer coordinates.
        mount: Name of the link that the camera is fixed to; None means the robot's base frame.
        T_mount_camera: ``(4, 4)`` in the optical convention (x right, y down, z forward).
    """

    rgb: NDArray[np.uint8] | None = None
    depth: NDArray[np.float32] | None = None
    intrinsics: Array | None = None
    mount: str | None = None
    T_mount_camera: Array | None = None


@dataclass(frozen=True)
class EffectorState:
    """Measured at one end effector.

    Attributes:
        gripper: Opening, 0 closed to 1 open.
        wrench: ``(6,)`` force [N] then torque [N m] on the effector, in its frame.
    """

    gripper: float | None = None
    wrench: Array | None = None


@dataclass(frozen=True)
class Observation:
    """Everything a robot may know at one moment; every channel is optional.

    Attributes:
        time: Stamp on the driver's clock [s].
        cameras: Camera name -> image.
        points: Name -> position ``(3,)`` in the base frame [m] (low-dimensional worlds).
        poses: Name -> ``T_base_x`` ``(4, 4)`` (low-dimensional worlds).
        q: ``(n,)`` positions of the actuated joints, in the embodiment's order.
        v: ``(n,)`` velocities.
        tau: ``(n,)`` efforts.
        T_world_base: ``(4, 4)`` base pose.
        base_twist: ``(6,)`` linear then angular velocity of the base, in the base frame.
        effectors: Effector name -> gripper and wrench.
        taxels: Sensor name -> tactile array.
        audio: Microphone name -> samples.
        text: What was said to or read by the robot.
        valid: Channel name -> False where a present channel must not be trusted
            (``"q"``, ``"cameras.front.depth"``, ``"effectors.arm.wrench"`` ...).
    """

    time: float
    cameras: Mapping[str, CameraImage] = field(default_factory=dict)
    points: Mapping[str, Array] = field(default_factory=dict)
    poses: Mapping[str, Array] = field(default_factory=dict)
    q: Array | None = None
    v: Array | None = None
    tau: Array | None = None
    T_world_base: Array | None = None
    base_twist: Array | None = None
    effectors: Mapping[str, EffectorState] = field(default_factory=dict)
    taxels: Mapping[str, Array] = field(default_factory=dict)
    audio: Mapping[str, Array] = field(default_factory=dict)
    text: str | None = None
    valid: Mapping[str, bool] = field(default_factory=dict)

    def has(self, channel: str) -> bool:
        """Whether a dotted channel is present and neither it nor a parent is marked invalid."""
        value: Any = self
        path = ""
        for part in channel.split("."):
            value = value.get(part) if isinstance(value, Mapping) else getattr(value, part, None)
            path = f"{path}.{part}" if path else part
            if value is None or not self.valid.get(path, True):
                return False
        return not (isinstance(value, Mapping) and not value)


@dataclass(frozen=True)
class TaskTarget:
    """One moment of what the policy asks for, in task frames.

    Attributes:
        poses: Effector -> ``T_base_ee`` ``(4, 4)``.
        twists: Effector -> ``(6,)`` linear then angular velocity in the base frame.
        grippers: Effector -> opening, 0 closed to 1 open.
        base_twist: ``(6,)`` in the base frame.
        T_world_base: ``(4, 4)`` base pose.
        posture: ``(n,)`` actuated joint positions preferred or, with no pose, demanded.
        feet: Foot name -> ``T_base_foot`` ``(4, 4)``.
    """

    poses: Mapping[str, Array] = field(default_factory=dict)
    twists: Mapping[str, Array] = field(default_factory=dict)
    grippers: Mapping[str, float] = field(default_factory=dict)
    base_twist: Array | None = None
    T_world_base: Array | None = None
    posture: Array | None = None
    feet: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Neighbour:
    """A remembered moment that spoke for an action.

    Attributes:
        episode: Index of the demonstration in its bank.
        step: Frame in the demonstration.
        distance: In the retriever's key space.
        weight: Its share in the action, 0 to 1.
        phase: ``step`` over the demonstration's length, 0 to 1.
    """

    episode: int
    step: int
    distance: float
    weight: float
    phase: float


@dataclass(frozen=True)
class ActionChunk:
    """``H`` steps of motion, relative to the pose measured at its start.

    The pose asked for at step ``h`` is ``start[e] @ motions[e][h]``.

    Attributes:
        time: Stamp of the observation it answers [s].
        dt: Time between steps [s]; step 0 is due at ``time + dt``.
        start: Effector -> measured ``T_base_ee`` ``(4, 4)``.
        motions: Effector -> ``(H, 4, 4)``.
        grippers: Effector -> ``(H,)`` opening, 0 closed to 1 open.
        base_twists: ``(H, 6)`` in the base frame.
        spread: Effector -> ``(H, 6, 6)`` covariance of the ways to do it about each pose (x y z
            [m], rotation vector [rad], base axes), where the policy knows it: large where it does
            not matter.
        confidence: ``(H,)`` from 0 (never seen) to 1 (like the demonstrations); of a chunk that is
            the last one, about the whole attempt.
        native: ``(H, D)`` in the action space's own units, where one was given.
        neighbours: The remembered moments behind it.
        trace: What else explains it (frames and their weights, gate, tokens).
        done: Whether the policy takes the task to be finished.
    """

    time: float
    dt: float
    start: Mapping[str, Array]
    motions: Mapping[str, Array]
    grippers: Mapping[str, Array] = field(default_factory=dict)
    base_twists: Array | None = None
    spread: Mapping[str, Array] = field(default_factory=dict)
    confidence: Array | None = None
    native: Array | None = None
    neighbours: tuple[Neighbour, ...] = ()
    trace: Mapping[str, Any] = field(default_factory=dict)
    done: bool = False

    def __len__(self) -> int:
        arrays = [*self.motions.values(), *self.grippers.values()]
        if self.base_twists is not None:
            arrays.append(self.base_twists)
        return len(arrays[0]) if arrays else 0

    def target(self, h: int) -> TaskTarget:
        """The task target of step ``h``, in the base frame."""
        return TaskTarget(
            poses={e: self.start[e] @ motion[h] for e, motion in self.motions.items()},
            grippers={e: float(opening[h]) for e, opening in self.grippers.items()},
            base_twist=None if self.base_twists is None else self.base_twists[h],
        )

    @property
    def targets(self) -> tuple[TaskTarget, ...]:
        """All steps as task targets in the base frame."""
        return tuple(self.target(h) for h in range(len(self)))

    @classmethod
    def from_poses(
        cls,
        time: float,
        dt: float,
        start: Mapping[str, Array],
        poses: Mapping[str, Array],
        **fields: Any,
    ) -> ActionChunk:
        """Build from absolute poses ``(H, 4, 4)`` in the base frame."""
        motions = {e: inverse(start[e]) @ np.asarray(T) for e, T in poses.items()}
        return cls(time=time, dt=dt, start=dict(start), motions=motions, **fields)


@dataclass(frozen=True)
class Command:
    """What goes to the motors, for one control period.

    Attributes:
        mode: Which of the fields the actuators follow.
        q: ``(n,)`` positions of the actuated joints.
        v: ``(n,)`` velocities (feed-forward in position mode).
        tau: ``(n,)`` efforts (feed-forward in position mode).
        grippers: Effector -> opening, 0 closed to 1 open.
        base_twist: ``(6,)`` in the base frame.
        level: Which step of the controller's ladder produced it.
    """

    mode: Literal["position", "velocity", "torque", "stop"] = "position"
    q: Array | None = None
    v: Array | None = None
    tau: Array | None = None
    grippers: Mapping[str, float] = field(default_factory=dict)
    base_twist: Array | None = None
    level: str = "nominal"


@runtime_checkable
class Driver(Protocol):
    """A robot, simulated, replayed, remote or real."""

    def reset(self, seed: int | None = None) -> Observation:
        """Bring the robot (and a simulated world) to its start."""
        ...

    def observe(self, *, cameras: bool = True) -> Observation:
        """Read the sensors; without cameras it must be fast enough for every control period."""
        ...

    def command(self, command: Command, duration: float) -> None:
        """Apply a command for ``duration`` [s] and return when it is over."""
        ...

    def stop(self) -> None:
        """Bring the robot to rest and hold."""
        ...

    def clock(self) -> float:
        """Time of the driver [s]; simulated drivers count simulated seconds."""
        ...
