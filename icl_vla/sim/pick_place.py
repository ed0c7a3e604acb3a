"""Put a cube in a bowl."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icl_vla_embodiments import se3
from icl_vla_embodiments.types import Array

from .driver import PyBulletDriver
from .looks import PALETTE
from .operator import Stage, StagedOperator, nearest_quarter, upright_yaw
from .scene import ObjectSpec, Scene
from .task import distractors, place_apart, start
from .workspace import Workspace


class PickPlace:
    """Pick up a cube and put it in a bowl, among two or three other things."""

    name = "pick-place"
    instruction = "put the red cube in the blue bowl"

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        edge, bowl = 0.5 * workspace.aperture, 1.8 * workspace.aperture
        things = [
            ObjectSpec(
                "cube",
                "box",
                (edge, edge, edge),
                PALETTE["red"],
                (0, 0, edge / 2),
                yaw=rng.uniform(-np.pi, np.pi),
            ),
            ObjectSpec(
                "bowl",
                "bowl",
                (bowl, bowl, 0.55 * workspace.aperture),
                PALETTE["blue"],
                (0, 0, 0.275 * workspace.aperture),
                mass=0.25,
            ),
            *distractors(workspace, rng, ("red", "blue"), int(rng.integers(2, 4))),
        ]
        zones = [(-0.95, 0.95, -0.95, 0.95)] * len(things)
        # the hand needs room beside the cube, and the bowl is wide
        objects = tuple(place_apart(workspace, rng, things, zones, gap=0.045, needed=2))
        return Scene(
            objects,
            workspace.cameras(),
            start=start(workspace, rng),
            seed=int(rng.integers(2**31)),
        )

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The cube's centre is inside the bowl, the bowl stands, and the robot touches neither."""
        world = driver.world
        T_bowl, cube = world.pose("bowl"), world.pose("cube")[:3, 3]
        bowl = next(o for o in world.scene.objects if o.name == "bowl")
        inside = se3.act(se3.inverse(T_bowl), cube[None])[0]
        return bool(
            np.hypot(inside[0], inside[1]) < bowl.size[0] / 2
            and abs(inside[2]) < bowl.size[2] / 2
            and T_bowl[2, 2] > 0.95
            and not world.touching("cube", driver.body)
            and not world.touching("bowl", driver.body)
        )

    def expert(self, workspace: Workspace, rng: np.random.Generator) -> StagedOperator:
        edge = 0.5 * workspace.aperture
        hover = rng.uniform(0.45, 0.6) * workspace.start_height
        lift = rng.uniform(0.6, 0.75) * workspace.start_height
        release = 0.55 * workspace.aperture + edge / 2 + rng.uniform(0.015, 0.03)

        def over(name: str, height: float) -> Callable[[PyBulletDriver], Array]:
            def goal(driver: PyBulletDriver) -> Array:
                T = driver.world.pose(name)
                p = [T[0, 3], T[1, 3], height]
                turn = grasp_yaw[0] if name == "bowl" else nearest_quarter(upright_yaw(T[:3, :3]))
                return se3.pose(se3.yaw(turn) @ workspace.grasp, p)

            return goal

        grasp_yaw = [0.0]

        def grasp(driver: PyBulletDriver) -> Array:
            grasp_yaw[0] = nearest_quarter(upright_yaw(driver.world.pose("cube")[:3, :3]))
            return over("cube", 0.5 * edge)(driver)

        def raise_(height: float) -> Callable[[PyBulletDriver], Array]:
            held: list[Array] = []

            def goal(driver: PyBulletDriver) -> Array:
                if not held:
                    p = driver.world.pose("cube")[:3, 3]
                    held.append(
                        se3.pose(se3.yaw(grasp_yaw[0]) @ workspace.grasp, [p[0], p[1], height])
                    )
                return held[0]

            return goal

        stages = [
            Stage(over("cube", hover), 1.0),
            Stage(grasp, 1.0, tolerance=0.006, dwell=1, speed=0.7),
            Stage(raise_(0.5 * edge), 0.0, tolerance=0.02, dwell=5),
            Stage(raise_(lift), 0.0, tolerance=0.02),
            Stage(over("bowl", lift), 0.0, tolerance=0.012),
            Stage(over("bowl", release), 0.0, tolerance=0.01, dwell=1, speed=0.7),
            Stage(over("bowl", release), 1.0, tolerance=0.02, dwell=5),
            Stage(over("bowl", 1.25 * lift), 1.0, tolerance=0.02, dwell=1),
        ]
        return StagedOperator(workspace.effector, stages, rng)
