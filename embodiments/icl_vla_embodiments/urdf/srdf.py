"""What an SRDF adds to a URDF: pairs of links that need no collision check.

The format is MoveIt's (https://docs.ros.org/en/api/srdfdom): ``<disable_collisions link1= link2=>``
below ``<robot>``.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..errors import UrdfError
from .read import place, read_xml


def disabled_pairs(path: Path, links: Collection[str]) -> frozenset[frozenset[str]]:
    """Pairs of links whose collisions an SRDF switches off.

    Raises:
        UrdfError: The file cannot be read, or names a link that the robot does not have.
    """
    root, _, _ = read_xml(path)
    pairs = []
    for element in root.iter("disable_collisions"):
        pair = [(element.get(key) or "").strip() for key in ("link1", "link2")]
        unknown = [link for link in pair if link not in links]
        if unknown:
            raise UrdfError(
                "the SRDF names a link that the robot does not have",
                where=place(path, element),
                value=unknown[0],
                valid=sorted(links)[:40],
                remedy="give the SRDF that belongs to this URDF",
            )
        pairs.append(frozenset(pair))
    return frozenset(pairs)
