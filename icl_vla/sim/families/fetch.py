"""Fetch a thing from elsewhere on the floor, with base and arm together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ...runtime.mobile import BASE
from ..floor import Mover
from ..operator import Stage
from ..scene import ObjectSpec, Scene
from ..task import footprint
from ..workspace import Workspace
from .driven import floor_of
from .place_in import PlaceIn

_FAR = 0.7  # [m] at least between thing and bowl: no arm reaches both from one place
_MARGIN = 0.12  # [m] between the base at its start and things
_SLOWEST = 150  # steps that a stage may take: a hand that has to be driven there takes long


class Fetch(PlaceIn):
    """A named thing lies in a named bowl that stood out of the arm's reach."""

    family = "fetch"
    mover: ClassVar[Mover] = "mobile arm"
    gap = 0.15

    def draw(self, rng: np.random.Generator) -> None:
        super().draw(rng)
        thing, bowl = self.roles[self.thing], self.roles[self.bowl]
        self.say(
            rng,
            f"fetch the {thing.words} and put it in the {bowl.words}",
            f"bring the {thing.words} to the {bowl.words} and drop it in",
            f"get the {thing.words}, drive over and place it in the {bowl.words}",
        )

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        placed = {o.name: np.array(o.position[:2]) for o in objects}
        return bool(np.linalg.norm(placed[self.thing] - placed[self.bowl]) > _FAR)

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        return [replace(stage, timeout=_SLOWEST) for stage in super().stages(workspace, rng)]

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        """A scene in which the base stands in a free place."""
        floor = floor_of(workspace)
        scene = super().sample(floor, rng)
        room = floor.radius + _MARGIN
        while True:
            p = floor.point(*rng.uniform(-1.0, 1.0, 2))
            away = [np.linalg.norm(p - o.position[:2]) - footprint(o) for o in scene.objects]
            if min(away) > room:
                break
            room *= 0.99  # on a crowded floor a little nearer
        start = (float(p[0]), float(p[1]), 0.0, 0.0, 0.0, float(rng.uniform(-np.pi, np.pi)))
        return scene.with_(start={BASE: start}, half=max(floor.half) + 4 * floor.radius)
