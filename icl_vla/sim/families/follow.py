"""Follow a path of marks with the closed fingers, which leave a line of ink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..looks import Look
from ..operator import Stage
from ..scene import ObjectSpec, Scene
from ..workspace import Workspace
from .family import Step, TableTask, Zone, draw_looks
from .motions import Goal, Hand, below, corridor_is_free

_WIDE = 0.01  # [m] that ink may be from the path, and the path from ink
_BLOT = 0.8  # [s] of ink on a mark where the hand was to wait


class Follow(TableTask):
    """A line of ink leads from mark to mark in the order asked for, with or without blots."""

    family = "follow"

    def draw(self, rng: np.random.Generator) -> None:
        count, others = int(rng.integers(2, 4)), int(rng.integers(0, 2))
        looks = draw_looks(rng, (("mark",),) * (count + others))
        names = self.names(*(f"mark{i}" for i in range(count + others)))
        self.roles = dict(zip(names, looks, strict=True))
        self.path = names[:count]
        self.named = frozenset(self.path)
        self.waits = bool(rng.random() < 0.5)
        first, *rest = (self.roles[name].words for name in self.path)
        via = "".join(f" over the {words}" for words in rest[:-1])
        wait = ", waiting a second on each" if self.waits else ""
        stop = ", with a stop at every mark" if self.waits else ""
        self.say(
            rng,
            f"draw a line from the {first}{via} to the {rest[-1]}{wait}",
            f"trace a path that starts on the {first} and leads{via} to the {rest[-1]}{stop}",
            f"move your fingertips along the table from the {first}{via} to the {rest[-1]}{wait}",
        )
        self.steps = tuple(Step("follow", "mark", closed=True, dwell=self.waits) for _ in self.path)

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        edge = 0.4 * workspace.aperture
        return (edge, edge, 0.001) if look.shape == "mark" else super().size(role, look, workspace)

    def zones(self) -> Mapping[str, Zone]:
        return dict.fromkeys(self.roles, (-0.8, 0.8, -0.8, 0.8))

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        """Nothing stands in the way, and no part of the way crosses another mark."""
        placed = {o.name: o for o in objects}
        ends = [np.array(placed[name].position[:2]) for name in self.path]
        for i, (a, b) in enumerate(pairwise(ends)):
            mark = placed[self.path[i]]
            rest = [o for o in objects if o.shape != "mark"]
            if not corridor_is_free(rest, a, b, mark) or np.linalg.norm(b - a) < 5 * _WIDE:
                return False
            others = [
                o for n, o in placed.items() if n in self.roles and n not in self.path[i : i + 2]
            ]
            if any(_off(np.array([o.position[:2]]), [a, b])[0] < 3 * _WIDE for o in others):
                return False
        return True

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        return super().sample(workspace, rng).with_(inked=True)

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """All ink is within 1 cm of the path and all of the path within 1 cm of ink."""
        ends = [driver.world.pose(name)[:2, 3] for name in self.path]
        pen = driver.world.pen
        if pen is None or not pen.dots or pen.place() is not None:
            return False
        ink = np.array([dot.place for dot in pen.dots])
        drawn = _off(ink, ends).max() <= _WIDE
        covered = all(np.linalg.norm(ink - p, axis=1).min() <= _WIDE for p in _along(ends))
        blots = [dot.place for dot in pen.dots if dot.seconds >= _BLOT]
        waited = all(any(np.linalg.norm(b - p) <= _WIDE for b in blots) for p in ends)
        return bool(drawn and covered and (waited or not self.waits))

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace)
        over = 0.3 * workspace.start_height

        def on(name: str, height: float) -> Goal:
            """Fingertips ``height`` [m] over a mark."""

            def goal(driver: PyBulletDriver) -> Array:
                z = height + below(driver, workspace.effector)
                return hand.at(driver.world.pose(name)[:2, 3], z)

            return goal

        wait = int(rng.integers(12, 17)) if self.waits else 0
        speed = float(rng.uniform(0.5, 0.8))
        drawn = [
            Stage(on(name, 0.002), 0.0, tolerance=0.004, dwell=wait, speed=speed, straight=True)
            for name in self.path
        ]
        first, last = self.path[0], self.path[-1]
        return [
            Stage(on(first, over), 0.0, tolerance=0.004, dwell=2),
            *drawn,
            Stage(on(last, over), 0.0, tolerance=0.02, dwell=1, straight=True),
        ]


def _off(points: Array, ends: Sequence[Array]) -> Array:
    """Distance ``(n,)`` [m] of points ``(n, 2)`` from a path of straight pieces."""
    pieces = []
    for a, b in pairwise(ends):
        t = np.clip((points - a) @ (b - a) / float((b - a) @ (b - a)), 0.0, 1.0)
        pieces.append(np.linalg.norm(points - a - t[:, None] * (b - a), axis=1))
    return np.asarray(np.min(pieces, axis=0))


def _along(ends: Sequence[Array]) -> Array:
    """Places ``(n, 2)`` every 5 mm or so of a path of straight pieces."""
    pieces = [np.linspace(a, b, 2 + int(np.linalg.norm(b - a) / 0.005)) for a, b in pairwise(ends)]
    return np.concatenate(pieces)
