"""Robots that nobody built: arms of four to eight joints and gantries, drawn from a seed.

Policies are trained on these, so that no real robot but one has to be seen. Lengths, offsets,
signs of axes, zero positions, speeds and grippers differ; every one carries a parallel gripper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("scara", "gantry", "arm5", "arm6", "arm7", "arm8")
AXES = {
    "arm5": "zyyyz",
    "arm6": "zyyzyz",
    "arm7": "zyzyzyz",
    "arm8": "lzyzyzyz",  # on a lift
    "scara": "zzdz",  # d: a slide that goes down
    "gantry": "xsdz",  # s: a slide to the side
}
REST = {  # [rad or m] of the joints' geometry in a posture with the tool down
    "arm5": (0.0, 0.3, 1.3, 1.54, 0.0),
    "arm6": (0.0, 0.3, 1.3, 0.0, 1.54, 0.0),
    "arm7": (0.0, 0.3, 0.0, 1.3, 0.0, 1.54, 0.0),
    "arm8": (0.05, 0.0, 0.3, 0.0, 1.3, 0.0, 1.54, 0.0),
    "scara": (0.6, -1.2, 0.1, 0.6),
    "gantry": (0.4, 0.0, 0.15, 0.0),
}
VECTORS = {
    "x": (1, 0, 0),
    "y": (0, 1, 0),
    "z": (0, 0, 1),
    "l": (0, 0, 1),
    "d": (0, 0, -1),
    "s": (0, 1, 0),
}
SLIDES = "xsld"


@dataclass(frozen=True)
class Body:
    """A robot as text.

    Attributes:
        name: ``kind_seed``.
        urdf: Its description; links are boxes.
    """

    name: str
    urdf: str


def draw_body(seed: int, kind: str | None = None) -> Body:
    """A robot; the same one for the same seed.

    Args:
        seed: Any whole number.
        kind: One of :data:`KINDS`; None to draw it as well.
    """
    rng = np.random.default_rng([0xB0D1E5, seed])
    drawn = str(rng.choice(KINDS))
    kind = drawn if kind is None else kind
    writer = BodyWriter(rng)
    name = f"{kind}_{seed}"
    return Body(name, writer.robot(name, kind))


class BodyWriter:
    """URDF of one robot, link by link."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.parts: list[str] = []
        self.color = " ".join(f"{x:.2f}" for x in rng.uniform(0.35, 0.85, 3))

    def robot(self, name: str, kind: str) -> str:
        rng = self.rng
        reach = rng.uniform(0.75, 1.15)  # of a stretched arm [m]
        if kind == "gantry":
            self.link("base_link", (0.1, 0.1, 0.02), (0, 0, 0.01))
            start, lengths = (0.0, 0.0, 0.78), [0.0, 0.0, 0.30, 0.06]
        elif kind == "scara":
            self.link("base_link", (0.14, 0.14, 0.7), (0, 0, 0.35))
            start, lengths = (0.0, 0.0, 0.72), [0.5 * reach, 0.42 * reach, 0.22, 0.04]
        else:
            height = rng.uniform(0.2, 0.36)
            self.link("base_link", (0.14, 0.14, height), (0, 0, height / 2))
            start, lengths = (0.0, 0.0, height), self.chain(kind, reach)
        parent, at = self.joints(kind, "base_link", start, lengths)
        self.gripper(parent, at, down=kind in ("scara", "gantry"))
        return f'<robot name="{name}">{"".join(self.parts)}</robot>\n'

    def arm(
        self, kind: str, parent: str, at: tuple[float, ...], reach: float, opening: float
    ) -> None:
        """An arm on another link, with a gripper that opens by ``opening`` [m]."""
        parent, at = self.joints(kind, parent, at, self.chain(kind, reach))
        self.gripper(parent, at, down=False, opening=opening)

    def joints(
        self, kind: str, parent: str, at: tuple[float, ...], lengths: list[float]
    ) -> tuple[str, tuple[float, ...]]:
        """The joints and links of a kind; the last link, and where on it the next begins."""
        sideways = kind == "scara"
        for i, (axis, length, rest) in enumerate(zip(AXES[kind], lengths, REST[kind], strict=True)):
            link = f"link_{i + 1}"
            self.joint(i, axis, parent, link, at, rest)
            if sideways and axis == "z" and i < 2:
                self.link(link, (length, 0.07, 0.06), (length / 2, 0, 0))
                at = (length, 0.0, 0.0)
            elif axis == "d" or (sideways and i == 3) or (kind == "gantry" and i == 3):
                self.link(link, (0.05, 0.05, max(length, 0.03)), (0, 0, -length / 2))
                at = (0.0, 0.0, -length)
            else:
                self.link(link, (0.07, 0.07, max(length, 0.04)), (0, 0, length / 2))
                at = (0.0, 0.0, length)
            parent = link
        return parent, at

    def chain(self, kind: str, reach: float) -> list[float]:
        """Length of each link, long ones between shoulder, elbow and wrist [m]."""
        upper, lower = 0.52 * reach * self.rng.uniform(0.9, 1.1), 0.48 * reach
        splits = {
            "arm5": [0.06, upper, lower, 0.08, 0.04],
            "arm6": [0.06, upper, lower / 2, lower / 2, 0.08, 0.04],
            "arm7": [0.06, upper / 2, upper / 2, lower / 2, lower / 2, 0.08, 0.04],
            "arm8": [0.1, 0.06, upper / 2, upper / 2, lower / 2, lower / 2, 0.08, 0.04],
        }
        return splits[kind]

    def link(
        self, name: str, edges: tuple[float, ...], at: tuple[float, ...], heavy: float = 0.0
    ) -> None:
        """A box of usual density, or of the mass ``heavy`` [kg]."""
        x, y, z = edges
        mass = heavy or max(900 * x * y * z, 0.1)
        inertia = [mass * (b * b + c * c) / 12 for b, c in ((y, z), (x, z), (x, y))]
        origin = f'<origin xyz="{text(at)}"/>'
        shape = f'{origin}<geometry><box size="{text(edges)}"/></geometry>'
        paint = f'<material name="paint"><color rgba="{self.color} 1"/></material>'
        self.parts.append(
            f'<link name="{name}"><inertial>{origin}<mass value="{mass:.4f}"/>'
            f'<inertia ixx="{inertia[0]:.6f}" iyy="{inertia[1]:.6f}" izz="{inertia[2]:.6f}" '
            f'ixy="0" ixz="0" iyz="0"/></inertial><visual>{shape}{paint}</visual>'
            f"<collision>{shape}</collision></link>"
        )

    def joint(
        self, i: int, axis: str, parent: str, child: str, at: tuple[float, ...], rest: float
    ) -> None:
        """A joint whose sign and zero position are drawn."""
        rng = self.rng
        sign = float(rng.choice([-1.0, 1.0]))
        vector = sign * np.array(VECTORS[axis], dtype=float)
        slide = axis in SLIDES
        if slide:
            zero, turned, place = 0.0, (0.0, 0.0, 0.0), at
            low, high = {"x": (0.0, 0.8), "s": (-0.5, 0.5), "l": (0.0, 0.3), "d": (0.0, 0.42)}[axis]
            ends = sorted((sign * low, sign * high))
            speed, effort = rng.uniform(0.4, 0.9), 400.0
        else:
            zero = float(rng.choice([0.0, rest])) if rng.random() < 0.5 else 0.0
            turned = tuple(zero * np.array(VECTORS[axis]))
            place = at
            reach = rng.uniform(2.2, 2.9)
            ends = sorted((sign * (-reach - zero), sign * (reach - zero)))
            speed, effort = rng.uniform(1.5, 3.0), 150.0
        kind = "prismatic" if slide else "revolute"
        self.parts.append(
            f'<joint name="joint_{i + 1}" type="{kind}"><parent link="{parent}"/>'
            f'<child link="{child}"/><origin xyz="{text(place)}" rpy="{text(turned)}"/>'
            f'<axis xyz="{text(vector)}"/><limit lower="{ends[0]:.4f}" upper="{ends[1]:.4f}" '
            f'effort="{effort:.0f}" velocity="{speed:.3f}"/></joint>'
        )

    def gripper(
        self, parent: str, at: tuple[float, ...], *, down: bool, opening: float | None = None
    ) -> None:
        """Two fingers that slide apart, and a frame between their tips."""
        opening = self.rng.uniform(0.06, 0.1) if opening is None else opening
        turned = (np.pi, 0.0, 0.0) if down else (0.0, 0.0, 0.0)
        self.link("palm", (0.04, opening + 0.06, 0.04), (0, 0, 0.02))
        self.parts.append(
            f'<joint name="wrist_palm" type="fixed"><parent link="{parent}"/>'
            f'<child link="palm"/><origin xyz="{text(at)}" rpy="{text(turned)}"/></joint>'
        )
        for side, sign in (("left", 1.0), ("right", -1.0)):
            finger = f"{side}_finger"
            self.link(finger, (0.02, 0.012, 0.06), (0, sign * 0.006, 0.03))
            mimic = "" if side == "left" else '<mimic joint="left_finger_joint"/>'
            self.parts.append(
                f'<joint name="{finger}_joint" type="prismatic"><parent link="palm"/>'
                f'<child link="{finger}"/><origin xyz="0 0 0.04"/>'
                f'<axis xyz="0 {sign:.0f} 0"/><limit lower="0" upper="{opening / 2:.4f}" '
                f'effort="40" velocity="0.2"/>{mimic}</joint>'
            )
        self.parts.append('<link name="tool"/>')
        self.parts.append(
            '<joint name="palm_tool" type="fixed"><parent link="palm"/><child link="tool"/>'
            '<origin xyz="0 0 0.085"/></joint>'
        )


def text(numbers: object) -> str:
    """As URDF has vectors."""
    return " ".join(f"{x:.6g}" for x in np.asarray(numbers, dtype=float))
