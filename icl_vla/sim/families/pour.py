"""Tip small balls out of a cup into a bowl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..looks import PALETTE, Look
from ..operator import Stage
from ..scene import ObjectSpec
from ..workspace import Workspace
from .family import EVERYWHERE, Step, TableTask, Zone, apart, draw_looks, spec_of
from .motions import Goal, Hand, let_go

_BALLS = 6
_GRASP = 0.85  # of the cup's height: what is poured passes between the cup and the palm
_TILT = 1.9  # [rad] of the cup when it is poured out
_YAWS = (0.5, -0.5, 0.25, -0.25, 0.0)  # of the hand, in half turns; sideways is easiest for wrists


class Pour(TableTask):
    """Most of the balls that were in a named cup lie in a named bowl; the cup is put down."""

    family = "pour"

    def draw(self, rng: np.random.Generator) -> None:
        cup, bowl, ball = draw_looks(rng, (("cup",), ("bowl",), ("sphere",)))
        self.ball = ball
        self.roles = {"cup": cup, "bowl": bowl}
        self.named = frozenset(self.roles)
        self.say(
            rng,
            f"pour the {cup.words} into the {bowl.words}",
            f"tip what is in the {cup.words} into the {bowl.words}",
            f"empty the {cup.words} over the {bowl.words}",
        )
        self.steps = (
            Step("grasp", "cup", (0.0, 0.0, 0.3), closed=True),
            Step("tilt", "bowl", (0.0, 0.0, 1.2), closed=True, dwell=True),
            Step("place", closed=True),
        )

    def zones(self) -> Mapping[str, Zone]:
        x0, x1, y0, y1 = EVERYWHERE
        return {"cup": (x0, x1, y0, y1), "bowl": (-0.6, 0.6, -0.6, 0.6)}

    def turns(self) -> Mapping[str, tuple[float, float]]:
        return {"cup": (0.0, 0.0)}  # round, and its flats face the fingers

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        if look.shape == "cup":
            return (0.65 * workspace.aperture, 0.65 * workspace.aperture, 0.9 * workspace.aperture)
        return super().size(role, look, workspace)

    def _others(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """In half of the scenes a bowl of another colour, too."""
        others = super()._others(workspace, rng)
        if rng.random() < 0.5:
            taken = {self.ball.color, *(look.color for look in self.roles.values())}
            color = str(rng.choice([c for c in PALETTE if c not in taken]))
            others.insert(0, self._thing("other bowl", Look("bowl", color), workspace, rng))
        return others

    def _objects(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """The usual things, and the balls in the cup."""
        objects = super()._objects(workspace, rng)
        cup = next(o for o in objects if o.name == "cup")
        edge = 0.15 * workspace.aperture
        for i in range(_BALLS):
            angle, layer = 2 * np.pi * (i % 3) / 3, i // 3
            ball = self._thing(f"ball{i}", self.ball, workspace, rng)
            place = (
                cup.position[0] + 0.7 * edge * float(np.cos(angle)),
                cup.position[1] + 0.7 * edge * float(np.sin(angle)),
                0.25 * cup.size[2] + (0.2 + 1.1 * layer) * edge,
            )
            # smooth: a ball in the wedge between two plates of the wall shall not stick there
            smooth = replace(ball, size=(edge, edge, edge), position=place, friction=0.1)
            objects.append(replace(smooth, mass=0.004))
        return objects

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Two thirds of the balls are in the bowl, which stands; the hand has left the cup."""
        T = driver.world.pose("bowl")
        width, _, height = spec_of(driver, "bowl").size
        balls = np.array([driver.world.pose(f"ball{i}")[:3, 3] for i in range(_BALLS)])
        inside = se3.act(se3.inverse(T), balls)
        count = np.sum(
            (np.hypot(inside[:, 0], inside[:, 1]) < width / 2) & (np.abs(inside[:, 2]) < height / 2)
        )
        return bool(
            3 * count >= 2 * _BALLS
            and T[2, 2] > 0.98
            and apart(driver, "cup")
            and apart(driver, "bowl")
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        tall = self.size("cup", self.roles["cup"], workspace)[2]
        bowl = self.size("bowl", self.roles["bowl"], workspace)
        hand = Hand(workspace)
        grasp = _GRASP * tall
        hover = max(0.5 * workspace.start_height, tall + 0.4 * workspace.aperture)
        lift = bowl[2] + tall + grasp
        mouth = (1 - _GRASP) * tall  # of the tool centre point behind the cup's mouth
        home: list[Array] = []

        def cup(height: float) -> Goal:
            """Above the cup, the hand turned as it will be when it pours."""

            def goal(driver: PyBulletDriver) -> Array:
                if not home:
                    home.append(driver.world.pose("cup")[:2, 3].copy())
                    hand.yaw = _pouring_yaw(driver, workspace, poured)
                return hand.at(home[0], height)

            return goal

        def poured(driver: PyBulletDriver, yaw: float, tilt: float) -> Array:
            """The cup tipped by an angle about its mouth, which stays over the bowl."""
            R = se3.yaw(yaw) @ se3.exp3(np.array([0.0, -tilt, 0.0])) @ workspace.grasp
            ahead = 0.2 * bowl[0] * np.sin(tilt)
            x, y = driver.world.pose("bowl")[:2, 3] + ahead * np.array([np.cos(yaw), np.sin(yaw)])
            above = np.array([x, y, bowl[2] + 1.2 * tall])
            return se3.pose(R, above + mouth * R[:, 2])

        def tip(tilt: float) -> Goal:
            return lambda driver: poured(driver, hand.yaw, tilt)

        return [
            Stage(cup(hover), 1.0),
            Stage(cup(grasp), 1.0, tolerance=0.006, dwell=1, speed=0.7),
            Stage(cup(grasp), 0.0, tolerance=0.02, dwell=5),
            Stage(cup(lift), 0.0, tolerance=0.02),
            Stage(tip(0.0), 0.0, tolerance=0.015),
            Stage(tip(0.6 * _TILT), 0.0, tolerance=0.02, dwell=9),
            Stage(tip(_TILT), 0.0, tolerance=0.03, dwell=12),
            Stage(tip(0.0), 0.0, tolerance=0.02, dwell=14),
            *let_go(hand, cup(grasp + 0.002), cup(lift)),
        ]


def _pouring_yaw(
    driver: PyBulletDriver,
    workspace: Workspace,
    poured: Callable[[PyBulletDriver, float, float], Array],
) -> float:
    """How the hand has to be turned for the arm to tip what it holds over the bowl [rad].

    Of a few ways the one that inverse kinematics follows closest, from upright on.
    """
    residuals = []
    for half_turns in _YAWS:
        yaw, q = half_turns * np.pi, driver.model.neutral
        for tilt in np.linspace(0.0, _TILT, 6):
            T = poured(driver, yaw, float(tilt))
            q = driver.model.inverse_kinematics({workspace.effector: T}, q)
        error = se3.inverse(driver.model.poses(q)[workspace.effector]) @ T
        off = np.linalg.norm(error[:3, 3]) + 0.1 * np.linalg.norm(se3.log3(error[:3, :3]))
        if off < 5e-3:
            return yaw
        residuals.append(float(off))
    return _YAWS[int(np.argmin(residuals))] * float(np.pi)
