"""Robots that nobody built, with two arms on one base, drawn from a seed."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np

from .bodies import Body, draw_body

KINDS = ("two_arm6", "two_arm7")
_THICK = 0.02  # [m] of the plate that both arms stand on


def draw_two_armed(seed: int, kind: str | None = None) -> Body:
    """Two equal arms of a drawn body, side by side; the same robot for the same seed.

    Args:
        seed: Any whole number.
        kind: One of :data:`KINDS`; None to draw it as well.
    """
    rng = np.random.default_rng([0x2A2A, seed])
    drawn = str(rng.choice(KINDS))
    kind = drawn if kind is None else kind
    half = float(rng.uniform(0.42, 0.52))  # [m] of the distance between the shoulders
    name = f"{kind}_{seed}"
    robot = ET.Element("robot", name=name)
    robot.append(_plate(2 * half + 0.2))
    for side, sign in (("right", -1.0), ("left", 1.0)):
        arm = ET.fromstring(draw_body(seed, kind.removeprefix("two_")).urdf)
        for part in arm:
            _rename(part, side)
            robot.append(part)
        robot.append(_fixed("plate", f"{side}_base_link", (0.0, sign * half, 0.0)))
    return Body(name, ET.tostring(robot, encoding="unicode") + "\n")


def _rename(part: ET.Element, side: str) -> None:
    """Put a side before all names of links and joints."""
    if part.tag in ("link", "joint"):
        part.set("name", f"{side}_{part.get('name')}")
    for reference in part.iter():
        for key in ("link", "joint"):
            if reference is not part and key in reference.attrib:
                reference.set(key, f"{side}_{reference.get(key)}")


def _plate(width: float) -> ET.Element:
    size = f'<origin xyz="0 0 {_THICK / 2}"/><geometry><box size="0.2 {width:.4f} {_THICK}"/>'
    shape = f"{size}</geometry>"
    return ET.fromstring(
        '<link name="plate"><inertial><mass value="20"/><inertia ixx="1" iyy="1" izz="1" ixy="0"'
        f' ixz="0" iyz="0"/></inertial><visual>{shape}</visual>'
        f"<collision>{shape}</collision></link>"
    )


def _fixed(parent: str, child: str, at: tuple[float, float, float]) -> ET.Element:
    place = " ".join(f"{x:.4f}" for x in at)
    return ET.fromstring(
        f'<joint name="{child}_joint" type="fixed"><parent link="{parent}"/>'
        f'<child link="{child}"/><origin xyz="{place}"/></joint>'
    )
