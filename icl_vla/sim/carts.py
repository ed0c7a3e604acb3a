"""Wheeled robots that nobody built, drawn from a seed, with or without an arm.

Lengths, wheels, motors and colours differ; a base turns by its two wheels, slides every way, or is
steered like a car. Two bumpers at its front hold what it pushes: round things rest between them.
"""

from __future__ import annotations

import numpy as np

from .bodies import Body, BodyWriter, text

BASES = ("differential", "holonomic", "ackermann")
CARRYING = "_arm"  # ends the name of a kind that carries an arm
KINDS = (*BASES, *(f"{kind}{CARRYING}" for kind in BASES))
ARM = "arm6"  # of :mod:`.bodies`, that a base may carry


def draw_cart(seed: int, kind: str | None = None) -> Body:
    """A wheeled robot; the same one for the same seed.

    Args:
        seed: Any whole number.
        kind: One of :data:`KINDS`; None to draw one of the bare ones.
    """
    rng = np.random.default_rng([0xCA27, seed])
    drawn = str(rng.choice(BASES))
    kind = drawn if kind is None else kind
    name = f"{kind}_{seed}"
    base = kind.removesuffix(CARRYING)
    return Body(name, _CartWriter(rng).cart(name, base, arm=base != kind))


class _CartWriter(BodyWriter):
    """URDF of one wheeled robot; its origin is on the floor, between the driven wheels."""

    def cart(self, name: str, kind: str, *, arm: bool) -> str:
        rng = self.rng
        bulk = 1.3 if arm else 1.0
        length, width = bulk * rng.uniform(0.30, 0.38), bulk * rng.uniform(0.22, 0.28)
        radius = bulk * rng.uniform(0.045, 0.06)
        ahead = 0.12 * length  # of the body's middle before the origin
        self.link("base_link", (length, width, 0.10), (ahead, 0.0, 0.03 + radius), heavy=20 * bulk)
        for side, y in (("left", 0.05), ("right", -0.05)):
            at = (ahead + length / 2 + 0.01, y, 0.03 + radius)
            self._fixed_ball(f"{side}_bumper", at, 0.015)
        track = width / 2 + 0.02
        if kind == "holonomic":
            self._slides()
        else:
            for side, y in (("left", track), ("right", -track)):
                self._wheel(f"{side}_wheel", "base_link", (0.0, y, radius), radius)
        if kind == "differential":
            for end, x in (("front", ahead + 0.4 * length), ("back", ahead - 0.4 * length)):
                self._fixed_ball(f"{end}_caster", (x, 0.0, 0.02), 0.02)
        if kind == "ackermann":
            turn = rng.uniform(0.65, 0.8)
            for side, y in (("left", track), ("right", -track)):
                self._steered(side, (0.62 * length, y, radius), radius, turn)
        if arm:
            self.arm(ARM, "base_link", (0.35 * length + ahead, 0.0, 0.08 + radius), 0.85, 0.15)
        return f'<robot name="{name}">{"".join(self.parts)}</robot>\n'

    def _slides(self) -> None:
        """Two slides and a turn under the base, as files of holonomic robots have them."""
        limit = '<limit lower="-99" upper="99" effort="1000" velocity="1"/>'
        chain = ("floor", "along", "across", "base_link")
        self.parts += [f'<link name="{link}"/>' for link in chain[:-1]]
        for i, axis in enumerate(("1 0 0", "0 1 0", "0 0 1")):
            kind = "continuous" if i == 2 else "prismatic"
            self.parts.append(
                f'<joint name="base_{"xyt"[i]}" type="{kind}"><parent link="{chain[i]}"/>'
                f'<child link="{chain[i + 1]}"/><axis xyz="{axis}"/>{limit}</joint>'
            )

    def _wheel(self, name: str, parent: str, at: tuple[float, ...], radius: float) -> None:
        across = '<origin rpy="1.5707963 0 0"/>'
        shape = f'{across}<geometry><cylinder radius="{radius:.4f}" length="0.03"/></geometry>'
        dark = '<material name="tyre"><color rgba="0.2 0.2 0.2 1"/></material>'
        self.parts.append(
            f'<link name="{name}"><inertial>{across}<mass value="0.8"/><inertia ixx="0.002"'
            ' iyy="0.002" izz="0.002" ixy="0" ixz="0" iyz="0"/></inertial>'
            f"<visual>{shape}{dark}</visual><collision>{shape}</collision></link>"
            f'<joint name="{name}_joint" type="continuous"><parent link="{parent}"/>'
            f'<child link="{name}"/><origin xyz="{text(at)}"/><axis xyz="0 1 0"/>'
            '<limit effort="30" velocity="20"/></joint>'
        )

    def _fixed_ball(self, name: str, at: tuple[float, ...], radius: float) -> None:
        ball = f'<geometry><sphere radius="{radius}"/></geometry>'
        self.parts.append(
            f'<link name="{name}"><inertial><mass value="0.1"/><inertia ixx="0.0001" iyy="0.0001"'
            f' izz="0.0001" ixy="0" ixz="0" iyz="0"/></inertial><visual>{ball}</visual>'
            f'<collision>{ball}</collision></link><joint name="{name}_joint" type="fixed">'
            f'<parent link="base_link"/><child link="{name}"/><origin xyz="{text(at)}"/></joint>'
        )

    def _steered(self, side: str, at: tuple[float, ...], radius: float, turn: float) -> None:
        hinge = f"{side}_steering"
        self.link(hinge, (0.03, 0.03, 0.03), (0.0, 0.0, 0.0), heavy=0.3)
        self.parts.append(
            f'<joint name="{hinge}_joint" type="revolute"><parent link="base_link"/>'
            f'<child link="{hinge}"/><origin xyz="{text(at)}"/><axis xyz="0 0 1"/>'
            f'<limit lower="-{turn:.3f}" upper="{turn:.3f}" effort="30" velocity="6"/></joint>'
        )
        self._wheel(f"front_{side}_wheel", hinge, (0.0, 0.0, 0.0), radius)
