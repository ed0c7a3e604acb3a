"""Collections of things to learn to see: groups of look-alikes, and their bodies in PyBullet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..sim.fixtures import LEANS, SLIDES, TRAVEL
from ..sim.looks import PALETTE, Look, pattern_pixels
from ..sim.scene import PATTERNS, SHAPES, ObjectSpec, Shape
from ..sim.shapes import build
from .stage import Stage, of_client

_PLAIN: tuple[Shape, ...] = ("box", "box", "cylinder", "cylinder", "sphere")
EXTENTS: dict[Shape, tuple[float, float, float]] = {
    "bowl": (3.6, 3.6, 1.1),
    "mark": (1.2, 1.2, 0.0),
    "line": (2.6, 0.5, 0.0),
    "bar": (2.4, 0.8, 0.8),
    "cup": (1.6, 1.6, 1.8),
    "hook": (4.0, 1.6, 0.5),
    "button": (1.8, 1.8, 0.9),
    "lid": (2.6, 2.4, 1.2),
    "drawer": (2.8, 2.4, 1.5),
    "slot": (2.8, 2.8, 0.8),
    "cross": (1.6, 1.6, 0.6),
    "tee": (1.6, 1.6, 0.6),
    "ell": (1.6, 1.6, 0.6),
}
"""Edges in units of a cube's; 1 for all others, and where it is 0 it is painted on the table."""

# those of nothing else: one more would change what recipes draw
_DRAWN = tuple(shape for shape in SHAPES if shape in (*_PLAIN, *EXTENTS))

HOLLOW: tuple[Shape, ...] = ("bowl", "cup")
MOVING: tuple[Shape, ...] = ("lid", "button", "drawer")
FLAT: tuple[Shape, ...] = ("mark", "line", "button")
_OTHERS = 0.3  # of the collections about some shapes are not about the first of them


@dataclass(frozen=True)
class Kind:
    """A thing of a collection.

    Attributes:
        look: Its shape, pattern and size; the colour is empty where it has no name.
        group: Number of the group of look-alikes.
        color: Its paint, 0 to 1.
        second: The other one of its pattern.
        size: As in :class:`ObjectSpec` [m].
    """

    look: Look
    group: int
    color: tuple[float, float, float]
    second: tuple[float, float, float]
    size: tuple[float, float, float]


def draw_collection(
    rng: np.random.Generator, about: Sequence[Shape] = (), groups: int = 1
) -> list[Kind]:
    """Groups of one to four things: the first looks anyhow, the others much like it.

    Args:
        rng: Draws everything.
        about: Shapes, two or more, one of which the first groups have, the first of them most
            often; any, where there is none.
        groups: How many are about them.
    """
    edge = float(rng.uniform(0.025, 0.055))
    names = list(rng.permutation(list(PALETTE)))
    kinds: list[Kind] = []
    for group in range(int(rng.integers(6, 9))):
        named = group < len(names) and rng.random() < 0.7
        color = PALETTE[names[group]] if named else tuple(rng.uniform(0.05, 0.95, 3))
        second = (0.95, 0.95, 0.95) if rng.random() < 0.7 else tuple(rng.uniform(0, 1, 3))
        shape = _shape(rng, about if group < groups else ())
        first = Look(shape, str(names[group]) if named else "")
        if rng.random() < 0.4:
            first = replace(first, pattern=str(rng.choice(PATTERNS)))  # type: ignore[arg-type]
        if rng.random() < 0.3:
            first = replace(first, size=str(rng.choice(["small", "large"])))
        looks = {first}
        for _ in range(int(rng.integers(0, 4))):
            other = first.alike(rng) if rng.random() < 0.6 else replace(first, shape=_shape(rng))
            looks.add(other)
        for look in sorted(looks, key=repr):
            size = np.array(EXTENTS.get(look.shape, (1.0, 1.0, 1.0))) * look.scale * edge
            size = np.maximum(size, 0.001)
            kinds.append(Kind(look, group, tuple(color), tuple(second), tuple(size)))
    return kinds


def _shape(rng: np.random.Generator, about: Sequence[Shape] = ()) -> Shape:
    """Any; the plain ones, which families draw as each other's look-alikes, more often.

    Of what a collection is about, the first one most often.
    """
    if about:
        drawn = rng.random() / _OTHERS
        return about[0 if drawn >= 1 else 1 + int((len(about) - 1) * drawn)]
    among = _PLAIN if rng.random() < 0.5 else _DRAWN
    return among[int(rng.integers(len(among)))]


def opened(client: Any, kinds: list[Kind], rng: np.random.Generator) -> None:
    """Move the parts that move of a client's things."""
    for i, k in enumerate(kinds):
        if k.look.shape in MOVING:
            client.resetJointState(i, 0, _opened(k, rng))


def _opened(k: Kind, rng: np.random.Generator) -> float:
    """Position of a fixture's joint [m or rad]: often closed, else anywhere."""
    x, _, z = k.size
    ends = {"button": TRAVEL * z, "lid": LEANS, "drawer": SLIDES * x}
    return float(rng.uniform(0, ends.get(k.look.shape, 0.0)) * (rng.random() < 0.6))


def staged(
    client: Any, kinds: list[Kind], rng: np.random.Generator
) -> tuple[Stage, list[NDArray[np.uint8]]]:
    """Each thing at the origin, and the stage's textures.

    The ``body`` of a prop is its thing's place in the list: an empty client counts from 0.
    """
    client.resetSimulation()
    textures = {}
    for i, k in enumerate(kinds):
        wall = 0.5 if k.look.shape == "slot" else 0.0
        spec = ObjectSpec(
            str(i), k.look.shape, k.size, k.color, (0.0, 0.0, 0.0),
            pattern=k.look.pattern, second_color=k.second,
            hollow=(wall * k.size[0], wall * k.size[1]), joint=_opened(k, rng),
        )  # fmt: skip
        body = build(client, spec)
        assert body == i
        if k.look.pattern != "plain":
            textures[body] = pattern_pixels(k.look.pattern, k.color, k.second)
    return of_client(client, range(len(kinds)), textures), list(textures.values())
