"""What a simulated task must provide, and what table-top tasks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from icl_vla_embodiments import Observation, ReportedError, TaskTarget, se3

from .driver import PyBulletDriver
from .looks import PALETTE
from .scene import ObjectSpec, Scene
from .workspace import Workspace


class NoRoom(ReportedError):
    """A robot's patch is too small for what a task needs."""


class Expert(Protocol):
    """A scripted operator that sees the truth."""

    def act(self, driver: PyBulletDriver, observation: Observation) -> TaskTarget | None:
        """The next target, or None when the operator takes the task to be finished."""
        ...


class Task(Protocol):
    """A simulated task: scenes, an instruction, a judge and an operator."""

    name: str
    instruction: str

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """A new scene."""
        ...

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Whether the goal holds at this moment: place, and released. The judge adds stillness."""
        ...

    def expert(self, workspace: Workspace, rng: np.random.Generator) -> Expert:
        """A fresh operator for one episode."""
        ...


def place_apart(
    workspace: Workspace,
    rng: np.random.Generator,
    things: Sequence[ObjectSpec],
    zones: Sequence[tuple[float, float, float, float]],
    gap: float,
    needed: int,
) -> list[ObjectSpec]:
    """Put things in zones (x0, x1, y0, y1 in patch coordinates), ``gap`` [m] apart.

    Where a small patch has no room for all, the last ones are left out.

    Raises:
        NoRoom: There is none for the first ``needed`` ones.
    """
    for count in range(len(things), needed - 1, -1):
        for _ in range(200):
            placed: list[ObjectSpec] = []
            for thing, (x0, x1, y0, y1) in zip(things[:count], zones, strict=False):
                for _ in range(30):
                    p = workspace.point(rng.uniform(x0, x1), rng.uniform(y0, y1))
                    if all(
                        np.linalg.norm(p - other.position[:2])
                        > footprint(thing) + footprint(other) + gap
                        for other in placed
                    ):
                        place = (float(p[0]), float(p[1]), thing.position[2])
                        placed.append(replace(thing, position=place))
                        break
                else:
                    break
            if len(placed) == count:
                return placed
    raise NoRoom(
        "the robot's table-top patch has no room for the task's things",
        value=f"{2 * workspace.half[0]:.2f} m by {2 * workspace.half[1]:.2f} m,"
        f" things of {2 * max(footprint(t) for t in things[:needed]):.2f} m",
    )


def distractors(
    workspace: Workspace, rng: np.random.Generator, taken: Iterable[str], count: int
) -> list[ObjectSpec]:
    """Boxes and cylinders in other colours than ``taken``; their places are set later."""
    colors = [c for c in PALETTE if c not in set(taken)]
    out = []
    for i, color in enumerate(rng.choice(colors, size=count, replace=False)):
        width = workspace.aperture * rng.uniform(0.4, 0.8)
        height = workspace.aperture * rng.uniform(0.4, 0.8)
        shape = "box" if rng.random() < 0.5 else "cylinder"
        out.append(
            ObjectSpec(
                name=f"distractor{i}",
                shape=shape,  # type: ignore[arg-type]
                size=(width, width, height),
                color=PALETTE[str(color)],
                position=(0.0, 0.0, height / 2),
                yaw=rng.uniform(-np.pi, np.pi),
            )
        )
    return out


def start(workspace: Workspace, rng: np.random.Generator) -> dict[str, tuple[float, ...]]:
    """A start pose of each tool above its patch, pointing down, scattered by a few centimetres."""
    poses: dict[str, tuple[float, ...]] = {}
    for hand in workspace.hands:
        x, y = hand.point(*rng.uniform(-0.6, 0.6, 2))
        z = hand.start_height * rng.uniform(0.9, 1.15)
        poses[hand.effector] = (x, y, z, *se3.log3(hand.grasp))
    return poses


def footprint(o: ObjectSpec) -> float:
    """Radius of the circle round an object's base [m]."""
    corner = np.sqrt(2) if o.shape == "box" else 1.0
    return 0.5 * max(o.size[:2]) * corner
