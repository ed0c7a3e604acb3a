"""Put a peg into a hole, or a bar into a slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..looks import Look
from ..operator import Stage, nearest_quarter, upright_yaw
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import Step, TableTask, Zone, apart, draw_looks, offset, spec_of
from .motions import Goal, Hand, pick

_CLEARANCE = 0.025  # between the peg's and the hole's edges, in openings: 2 mm at 8 cm
_TRIES = 3
_UPRIGHT = 0.95  # cosine of the lean to which a peg is straightened
_TURN = 0.7  # [rad] either way: the hand is turned as the peg is, and as the slot is


class Insert(TableTask):
    """A named peg or bar stands on the table inside a hole through a named block."""

    family = "insert"
    mechanism = "insert"

    def draw(self, rng: np.random.Generator) -> None:
        self.bar = bool(rng.random() < 0.5)
        peg, block = draw_looks(
            rng, (("box",) if self.bar else ("box", "cylinder"), ("slot",)), patterned=0.2
        )
        self.roles = {"peg": replace(peg, size=""), "block": block}
        self.named = frozenset(self.roles)
        what = self.roles["peg"].called("bar" if self.bar else "peg")
        where = block.called("block")
        gap = "slot" if self.bar else "hole"
        self.say(
            rng,
            f"insert the {what} into the {where}",
            f"put the {what} into the {gap} of the {where}",
            f"stick the {what} down the {gap} in the {where}",
        )
        self.steps = (
            Step("grasp", peg.shape, (0.0, 0.0, 0.2), closed=True),
            Step("insert", "slot", (0.0, 0.0, 0.0), closed=True),
        )

    def zones(self) -> Mapping[str, Zone]:
        return {"block": (-0.6, 0.7, -0.75, 0.75)}

    def turns(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(("peg", "block"), (-_TURN, _TURN))

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        a = workspace.aperture
        if look.shape == "slot":
            return (1.4 * a, 1.4 * a, 0.4 * a)
        if role == "peg" or look.shape == self.roles["peg"].shape:
            return ((0.8 if self.bar else 0.4) * a * look.scale, 0.4 * a * look.scale, 0.9 * a)
        return super().size(role, look, workspace)

    def _thing(
        self, name: str, look: Look, workspace: Workspace, rng: np.random.Generator
    ) -> ObjectSpec:
        o = super()._thing(name, look, workspace, rng)
        if look.shape != "slot":
            return o
        x, y, _ = self.size("peg", self.roles["peg"], workspace)
        gap = _CLEARANCE * workspace.aperture
        return replace(o, hollow=(x + gap, y + gap))

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """It stands upright in the hole, on the table to 4 mm, let go."""
        off = offset(driver, "peg", "block")
        height = driver.world.pose("peg")[2, 3] - 0.5 * spec_of(driver, "peg").size[2]
        return bool(
            np.hypot(off[0], off[1]) <= 0.01
            and abs(height) <= 0.004
            and driver.world.pose("peg")[2, 2] > 0.985
            and apart(driver, "peg")
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        hand = Hand(workspace)
        height = self.size("peg", self.roles["peg"], workspace)[2]
        block = self.size("block", self.roles["block"], workspace)[2]
        grasp = 0.7 * height
        # carried over other pegs
        lift = max(0.5 * workspace.start_height, grasp + height + 0.15 * workspace.aperture)
        fit = _Fit(hand, workspace)
        above = grasp + block + 0.004

        def seated(driver: PyBulletDriver) -> bool:
            return bool(driver.world.pose("peg")[2, 3] - 0.5 * height < 0.5 * block)

        def attempt() -> list[Stage]:
            near, down = fit.into(above), fit.into(grasp)
            return [
                Stage(fit.into(lift), 0.0, tolerance=0.01, unless=seated),
                Stage(near, 0.0, 0.004, dwell=8, speed=0.6, straight=True, unless=seated),
                Stage(down, 0.0, 0.004, 2, speed=0.25, timeout=25, straight=True, unless=seated),
            ]

        return [
            *pick(hand, "peg", 0.0, grasp, lift),
            *(stage for _ in range(_TRIES) for stage in attempt()),
            Stage(hand.still("in", grasp), 1.0, tolerance=0.02, dwell=5),
            Stage(hand.still("in", 1.3 * lift), 1.0, tolerance=0.02, dwell=1, straight=True),
        ]


@dataclass
class _Fit:
    """Brings what the hand holds over the hole, however it sits in the fingers.

    A grasp is some millimetres and degrees off, and an arm is where it is told to be to no better:
    the hand is turned against the peg's turn in it, and moved by what is left between peg and hole.
    """

    hand: Hand
    workspace: Workspace
    trim: Array = field(default_factory=lambda: np.zeros(2))

    def into(self, height: float) -> Goal:
        """The peg upright above the hole, the hand at a height."""

        def goal(driver: PyBulletDriver) -> Array:
            block, peg = driver.world.pose("block"), driver.world.pose("peg")
            left = (block - peg)[:2, 3]
            if np.linalg.norm(left) < 0.01:
                self.trim = np.clip(self.trim + 0.2 * left, -0.02, 0.02)
            R = driver.tool(self.workspace.effector)[:3, :3]
            turned = nearest_quarter(
                upright_yaw(R @ self.workspace.grasp.T) - upright_yaw(peg[:3, :3])
            )
            if spec_of(driver, "peg").shape == "cylinder" or peg[2, 2] < _UPRIGHT:
                turned = 0.0
            self.hand.yaw = nearest_quarter(upright_yaw(block[:3, :3])) + turned
            T = self.hand.at(block[:2, 3] + self.trim, height)
            if peg[2, 2] < _UPRIGHT:
                return T
            axis = T[:3, :3] @ R.T @ peg[:3, 2]  # of the peg, were the hand there as it holds it
            lean = np.cross(axis, [0.0, 0.0, 1.0])
            return se3.pose(se3.exp3(lean) @ T[:3, :3], T[:3, 3])

        return goal
