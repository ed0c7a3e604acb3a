"""Numbers that run the other way than the action space says."""

from __future__ import annotations

from collections.abc import Iterator

from ..signs import turned_numbers
from .finding import Finding
from .motion import Motion


def check_signs(motion: Motion) -> Iterator[Finding]:
    """Commands that lead away from where the robot went, unless their sign is turned."""
    d = motion.d
    space = d.action_space.with_joints(motion.robot.joints)
    names = turned_numbers(space, [d])
    if names:
        yield Finding(
            "inverted-sign",
            motion.episode,
            None,
            f"{', '.join(names)}: the robot went where the numbers lead with the other sign",
            "turn the sign in the action space and import the data again; policies that read"
            " demonstrations take the numbers as the demonstrations show them",
        )
