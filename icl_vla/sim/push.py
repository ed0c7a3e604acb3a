"""Push a block to a mark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .driver import PyBulletDriver
from .looks import PALETTE
from .operator import Stage, StagedOperator
from .scene import ObjectSpec, Scene
from .task import distractors, place_apart, start
from .workspace import Workspace

TOLERANCE = 0.01  # [m] of the block's centre to the painted mark


class Push:
    """Push a block across the table until its centre lies on a painted mark."""

    name = "push"
    instruction = "push the green block to the yellow mark"

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        edge, mark = 0.6 * workspace.aperture, 0.6 * workspace.aperture
        for _ in range(200):
            things = [
                ObjectSpec(
                    "block",
                    "box",
                    (edge, edge, 0.5 * workspace.aperture),
                    PALETTE["green"],
                    (0, 0, 0.25 * workspace.aperture),
                    yaw=rng.uniform(-np.pi, np.pi),
                    friction=0.5,
                ),
                ObjectSpec("mark", "mark", (mark, mark, 0.001), PALETTE["yellow"], (0, 0, 0.0005)),
                *distractors(workspace, rng, ("green", "yellow"), int(rng.integers(1, 3))),
            ]
            zones = [(-0.6, 0.0, -0.7, 0.7), (0.3, 0.95, -0.8, 0.8)]
            zones += [(-0.95, 0.95, -0.95, 0.95)] * (len(things) - 2)
            objects = place_apart(workspace, rng, things, zones, gap=0.03, needed=2)
            if self._path_is_clear([np.array(o.position[:2]) for o in objects], edge):
                break
        else:
            objects = objects[:2]
        return Scene(
            tuple(objects),
            workspace.cameras(),
            start=start(workspace, rng),
            seed=int(rng.integers(2**31)),
        )

    @staticmethod
    def _path_is_clear(spots: list[Array], edge: float) -> bool:
        """No other thing stands in the corridor from behind the block to the mark."""
        a, b = spots[0], spots[1]
        along = (b - a) / np.linalg.norm(b - a)
        a = a - 0.1 * along
        for p in spots[2:]:
            t = np.clip((p - a) @ along, 0.0, np.linalg.norm(b - a))
            if np.linalg.norm(p - a - t * along) < 0.06 + edge / 2:
                return False
        return True

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The block's centre is at most 1 cm outside the painted disc and nothing touches it."""
        world = driver.world
        mark = next(o for o in world.scene.objects if o.name == "mark")
        off = np.linalg.norm((world.pose("block") - world.pose("mark"))[:2, 3])
        return bool(
            off <= mark.size[0] / 2 + TOLERANCE and not world.touching("block", driver.body)
        )

    def expert(self, workspace: Workspace, rng: np.random.Generator) -> StagedOperator:
        edge = 0.6 * workspace.aperture
        behind = edge * 0.7 + rng.uniform(0.035, 0.045)
        hover = rng.uniform(0.45, 0.6) * workspace.start_height
        low = 0.2 * workspace.aperture
        fork = rng.uniform(0.4, 0.5)  # two fingertips apart hold the block in line; one would slip

        def line(driver: PyBulletDriver) -> tuple[Array, Array, float]:
            block, mark = driver.world.pose("block")[:2, 3], driver.world.pose("mark")[:2, 3]
            way = mark - block
            length = float(np.linalg.norm(way))
            return block, way / max(length, 1e-6), length

        heading = [np.array([1.0, 0.0])]

        def at(point: Array, height: float) -> Array:
            # the line between the fingertips is square to the way
            turn = np.arctan2(heading[0][1], heading[0][0])
            return se3.pose(se3.yaw(turn) @ workspace.grasp, [point[0], point[1], height])

        def approach(height: float) -> Callable[[PyBulletDriver], Array]:
            def goal(driver: PyBulletDriver) -> Array:
                block, heading[0], _ = line(driver)
                return at(block - behind * heading[0], height)

            return goal

        def push(driver: PyBulletDriver) -> Array:
            block, way, length = line(driver)
            if length > 0.03:  # nearer than this the direction is noise
                heading[0] = way
            left = length * float(way @ heading[0])  # negative when the block has gone too far
            return at(block + (left - edge / 2 - 0.003) * heading[0], low)

        def back(distance: float, height: float) -> Callable[[PyBulletDriver], Array]:
            held: list[Array] = []

            def goal(driver: PyBulletDriver) -> Array:
                if not held:
                    p = driver.tool(workspace.effector)
                    held.append(at(p[:2, 3] - distance * heading[0], height))
                return held[0]

            return goal

        stages = [
            Stage(approach(hover), fork),
            Stage(approach(low), fork, tolerance=0.01, speed=0.8),
            Stage(push, fork, tolerance=0.006, speed=0.45, timeout=90, straight=True),
            Stage(back(0.04, low), fork, tolerance=0.01, speed=0.6),
            Stage(back(0.03, hover), fork, tolerance=0.02, dwell=1),
        ]
        return StagedOperator(workspace.effector, stages, rng)
