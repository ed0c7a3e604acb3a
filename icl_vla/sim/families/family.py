"""What families of table-top tasks share: roles, scenes with look-alikes, plans."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..looks import PALETTE, Look
from ..operator import Persistent, Stage, operate
from ..operators import find_operator
from ..scene import ObjectSpec, Scene, Shape
from ..task import Expert, NoRoom, place_apart, start
from ..workspace import Workspace

if TYPE_CHECKING:
    from ..floor import Mover

Mechanism = Literal["", "slide", "insert", "tool"]
Zone = tuple[float, float, float, float]
EVERYWHERE: Zone = (-0.9, 0.9, -0.9, 0.9)
GRASPABLE: tuple[Shape, ...] = ("box", "cylinder")
# there are look-alikes of
COPIED: tuple[Shape, ...] = (*GRASPABLE, "button", "drawer", "slot", "gate")
_ATTEMPTS = 5000  # layouts tried for a scene
_CLUTTERED = 100  # the first of them, with other things, too
LOOK_ALIKES = 0.5  # share of the scenes in which a distractor shares colour and shape


@dataclass(frozen=True)
class Step:
    """One motion of a task, as a signature: two tasks are as far apart as their steps.

    Attributes:
        verb: What is done ("reach", "grasp", "place", "push", "press", "turn", ...).
        about: Kind of the thing whose frame the motion is in; empty for the table.
        offset: From there, in openings of the gripper.
        turn: About the vertical [rad].
        closed: Whether the gripper is closed on something.
        dwell: Whether it waits there.
    """

    verb: str
    about: str = ""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: float = 0.0
    closed: bool = False
    dwell: bool = False


class TableTask(ABC):
    """A task of a family: what is asked for, in any number of scenes.

    A subclass draws looks and numbers in :meth:`draw`, and says where things may stand, what is
    done, and what has to hold in the end.

    Args:
        seed: Which task of the family.
        tag: Appended to the things' names, where a task is part of a larger one.

    Attributes:
        name: ``family:seed``.
        instruction: What is asked for.
        paraphrases: The same in other words.
        roles: Thing -> its look. The names in :attr:`named` are told from others by their look.
        named: Things whose look the instruction says; the others may look like anything.
        steps: Signature of what is done.
        mechanism: Contact that no trained program has; empty for none.
        mover: What does it: an arm at a table, or a base on a floor, alone or with an arm.
    """

    family: ClassVar[str]
    mechanism: ClassVar[Mechanism] = ""
    mover: ClassVar[Mover] = "arm"
    gap: ClassVar[float] = 0.045  # [m] between things: a hand needs room
    seconds: ClassVar[float] = 30.0  # that an attempt or a demonstration may take

    def __init__(self, seed: int = 0, tag: str = "") -> None:
        self.seed, self.tag = seed, tag
        self.name = f"{self.family}:{seed}"
        self.roles: dict[str, Look] = {}
        self.named: frozenset[str] = frozenset()
        self.steps: tuple[Step, ...] = ()
        self.instruction = ""
        self.paraphrases: tuple[str, ...] = ()
        self.draw(np.random.default_rng([zlib.crc32(self.family.encode()), seed]))

    @property
    def sentences(self) -> list[str]:
        """All that it is asked for with."""
        return [self.instruction, *self.paraphrases]

    def names(self, *plain: str) -> tuple[str, ...]:
        """Names of things that are this task's own, even within a larger task."""
        return tuple(name + self.tag for name in plain)

    def say(self, rng: np.random.Generator, *sentences: str) -> None:
        """Ask in one of several sentences; the others are paraphrases."""
        order = rng.permutation(len(sentences))
        self.instruction, *others = (sentences[i] for i in order)
        self.paraphrases = tuple(others)

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> None:
        """Set instruction, paraphrases, roles, named and steps."""

    @abstractmethod
    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Whether the goal holds now: to 1 cm and 10 degrees, released. The judge adds time."""

    @abstractmethod
    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        """What an operator does who sees the truth."""

    def zones(self) -> Mapping[str, Zone]:
        """Thing -> where it may stand, in coordinates of the workspace's patch."""
        return {}

    def turns(self) -> Mapping[str, tuple[float, float]]:
        """Thing -> how it may be turned [rad], where not any way."""
        return {}

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """Whether things stand so that the task is one: not done yet, and with room to do it."""
        return True

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        """Edges of a thing [m]; a hand can close round the usual ones."""
        edge = 0.5 * look.scale * workspace.aperture
        if look.shape == "bowl":
            return (3.6 * edge, 3.6 * edge, 1.1 * edge)
        if look.shape == "mark":
            return (1.2 * edge, 1.2 * edge, 0.001)
        if look.shape == "line":
            return (2.6 * edge, 0.5 * edge, 0.001)
        if look.shape == "bar":
            return (2.4 * edge, 0.8 * edge, 0.8 * edge)
        if look.shape == "button":
            return (1.8 * edge, 1.8 * edge, 0.9 * edge)
        if look.shape == "lid":
            return (2.6 * edge, 2.4 * edge, 1.2 * edge)
        if look.shape == "drawer":
            return (2.8 * edge, 2.4 * edge, 1.5 * edge)
        if look.shape == "gate":
            return (2.4 * edge, 0.7 * edge, 1.2 * edge)
        if look.shape == "slot":
            return (2.8 * edge, 2.8 * edge, 0.8 * edge)
        if look.shape in ("cross", "tee", "ell"):
            return (1.6 * edge, 1.6 * edge, 0.6 * edge)
        return (edge, edge, edge)

    def expert(self, workspace: Workspace, rng: np.random.Generator) -> Expert:
        """An operator of the usual style, who starts over where the goal was missed."""
        return Persistent(lambda: self.operator("straight", workspace, rng), self.succeeded)

    def operator(self, style: str, workspace: Workspace, rng: np.random.Generator) -> Expert:
        """An operator of a style (:mod:`icl_vla.sim.operators`)."""
        stages = self.stages(workspace, rng)
        return operate(find_operator(style), workspace.effector, stages, rng)

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """A new scene with everything that has a role, and one to three other things."""
        objects = self._objects(workspace, rng)
        return Scene(
            tuple(objects),
            workspace.cameras(),
            start=start(workspace, rng),
            table_color=tuple(rng.uniform(0.45, 0.85) * np.array([1.0, 0.98, 0.94])),
            light=(rng.uniform(-0.8, 0.8), rng.uniform(-0.8, 0.8), 1.0),
            seed=int(rng.integers(2**31)),
        )

    def _objects(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """Things laid out so that the task can be done.

        Raises:
            NoRoom: There is none for that, even without distractors.
        """
        for attempt in range(_ATTEMPTS):
            things = [self._thing(role, look, workspace, rng) for role, look in self.roles.items()]
            needed = len(things)
            if attempt < _CLUTTERED:
                things += self._others(workspace, rng)
            zones = [self.zones().get(thing.name, EVERYWHERE) for thing in things]
            objects = place_apart(workspace, rng, things, zones, gap=self.gap, needed=needed)
            if self.clear(objects):
                return objects
        raise NoRoom(
            "the robot's table-top patch has no room for the task",
            where=self.name,
            value=f"{2 * workspace.half[0]:.2f} m by {2 * workspace.half[1]:.2f} m",
        )

    def _others(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """Distractors; in half of the scenes one shares colour and shape with a named thing."""
        looks: list[Look] = []
        named = [self.roles[role] for role in sorted(self.named)]
        copied = [look for look in named if look.shape in COPIED]
        if copied and rng.random() < LOOK_ALIKES:
            looks.append(copied[int(rng.integers(len(copied)))].alike(rng))
        taken = {look.color for look in self.roles.values()}
        free = [color for color in PALETTE if color not in taken]
        for color in rng.choice(free, size=int(rng.integers(1, 3)), replace=False):
            shape = GRASPABLE[int(rng.integers(len(GRASPABLE)))]
            looks.append(Look(shape, str(color)))
        return [self._thing(f"other{i}", look, workspace, rng) for i, look in enumerate(looks)]

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        size = self.size(name, look, workspace)
        return ObjectSpec(
            name,
            look.shape,
            size,
            PALETTE[look.color],
            (0.0, 0.0, size[2] / 2),
            yaw=float(rng.uniform(*self.turns().get(name, (-np.pi, np.pi)))),
            mass=0.25 if look.shape == "bowl" else float(rng.uniform(0.05, 0.12)),
            friction=float(rng.uniform(0.6, 1.0)),
            pattern=look.pattern,
        )


def draw_looks(
    rng: np.random.Generator, shapes: tuple[tuple[Shape, ...], ...], patterned: float = 0.3
) -> list[Look]:
    """A look for each group of shapes, all of different colours, some with patterns and sizes."""
    colors = rng.choice(list(PALETTE), size=len(shapes), replace=False)
    looks = []
    for color, group in zip(colors, shapes, strict=True):
        look = Look(group[int(rng.integers(len(group)))], str(color))
        if look.shape in GRASPABLE and rng.random() < patterned:
            look = replace(look, pattern=str(rng.choice(["striped", "dotted", "checked"])))  # type: ignore[arg-type]
        if look.shape in GRASPABLE and rng.random() < patterned:
            look = replace(look, size=str(rng.choice(["small", "large"])))
        looks.append(look)
    return looks


def spec_of(driver: PyBulletDriver, name: str) -> ObjectSpec:
    """A thing of the present scene."""
    return next(o for o in driver.world.scene.objects if o.name == name)


def apart(driver: PyBulletDriver, name: str) -> bool:
    """Whether the robot has let go of a thing."""
    return not driver.world.touching(name, driver.body)


def offset(driver: PyBulletDriver, name: str, of: str) -> Array:
    """``(3,)`` [m] from one thing to another, world axes."""
    return np.asarray(driver.world.pose(name)[:3, 3] - driver.world.pose(of)[:3, 3])
