"""A simulated task of your own, plugged in through the public hook.

    python examples/define_a_task.py

Touch the top of a purple block with closed fingers. A plugin package would carry the same class and
the same hook; see docs/plugins.md.
"""

import numpy as np

from icl_vla.sim.driver import PyBulletDriver
from icl_vla.sim.looks import PALETTE
from icl_vla.sim.operator import Stage, StagedOperator
from icl_vla.sim.scene import ObjectSpec, Scene
from icl_vla.sim.task import start
from icl_vla.sim.workcell import find_task
from icl_vla.sim.workspace import Workspace
from icl_vla_embodiments import hookimpl, se3
from icl_vla_embodiments.plugins import plugins
from icl_vla_embodiments.types import Array


class Touch:
    """Bring the fingertips to 1 cm above a block."""

    name = "touch"
    instruction = "touch the purple block"

    def sample(self, workspace: Workspace, rng: np.random.Generator) -> Scene:
        edge = 0.6 * workspace.aperture
        x, y = workspace.point(*rng.uniform(-0.9, 0.9, 2))
        block = ObjectSpec("block", "box", (edge,) * 3, PALETTE["purple"], (x, y, edge / 2))
        return Scene((block,), {"front": workspace.camera()}, start=start(workspace, rng))

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Within 1 cm of the spot over the block."""
        q = driver.observe(cameras=False).q
        here = driver.model.poses(q)[driver.model.embodiment.arms[0].name][:3, 3]
        return bool(np.linalg.norm(here - self._spot(driver)) < 0.01)

    def _spot(self, driver: PyBulletDriver) -> Array:
        block = driver.world.scene.objects[0]
        return driver.world.pose("block")[:3, 3] + [0, 0, block.size[2] / 2 + 0.01]

    def expert(self, workspace: Workspace, rng: np.random.Generator) -> StagedOperator:
        def above(height: float):
            def goal(driver: PyBulletDriver) -> Array:
                return se3.pose(workspace.grasp, self._spot(driver) + np.array([0, 0, height]))

            return goal

        stages = [Stage(above(0.08), 0.0), Stage(above(0.0), 0.0, tolerance=0.004, dwell=2)]
        return StagedOperator(workspace.effector, stages, rng)


class Plugin:
    """What an entry point would name."""

    @hookimpl
    def register_tasks(self, register):
        register("touch", Touch)


def main() -> None:
    """Register it, then let its operator show it."""
    import tempfile
    from pathlib import Path

    import pybullet_data

    from icl_vla.sim.recording import record_demonstrations
    from icl_vla_embodiments.store import EmbodimentStore
    from icl_vla_embodiments.urdf import embodiment_from_urdf

    plugins().register(Plugin(), "touch")
    print(f"registered: {find_task('touch').instruction}")
    home = Path(tempfile.mkdtemp(prefix="icl-vla-"))
    urdf = Path(pybullet_data.getDataPath()) / "franka_panda" / "panda.urdf"
    robot = EmbodimentStore(home).add(embodiment_from_urdf(urdf))
    for episode in record_demonstrations(home, robot.name, "touch", seeds=range(3)):
        print(f"  seed {episode.seed}: {episode.frames} frames, success {episode.success}")


if __name__ == "__main__":
    main()
