"""The training renderer beside PyBullet's TinyRenderer, picture by picture.

Run ``OMP_NUM_THREADS=1 python benchmarks/renderer.py EMBODIMENT [--scenes 20] [--picture PNG]`` for
a robot that was added. Scenes of all families are drawn from the same camera by both; what differs
is told in millimetres of depth and steps of colour, and what it costs in CPU time of the thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from icl_vla.sim.families import FAMILIES, draw
from icl_vla.sim.looks import pattern_file
from icl_vla.sim.scene import CameraSpec, Scene
from icl_vla.sim.workcell import Workcell
from icl_vla.training.stage import Picture, Stage, of_client, place
from icl_vla_embodiments import CameraImage
from icl_vla_embodiments.store import EmbodimentStore

COARSE = 0.02  # [m] details that the robot's meshes may lose
SIZES = (64, 96, 128, 240)  # [px]
TIMES = 5  # that a picture is timed


@dataclass(frozen=True)
class Row:
    """One scene."""

    family: str
    depth_mm: float  # 99th percentile where both see something
    edges: float  # share of pixels where depths differ by more than a centimetre
    color: float  # mean difference, of 255


def staged(cell: Workcell, coarse: float) -> Stage:
    """All that the cell's client draws."""
    world = cell.driver.world
    textures = {}
    for o in world.scene.objects:
        if o.pattern != "plain":
            file = pattern_file(o.pattern, o.color, o.second_color)
            textures[world.bodies[o.name]] = np.asarray(Image.open(file).convert("RGB"))
    client = world.client
    stage = of_client(client, range(client.getNumBodies()), textures, coarse)
    stage.light = np.array(world.scene.light)
    return stage


def photograph(stage: Stage, camera: CameraSpec) -> Picture:
    """What a camera of a scene sees."""
    return stage.photograph(camera.intrinsics, camera.T_world_camera, camera.height, camera.width)


def compared(family: str, picture: Picture, theirs: CameraImage) -> Row:
    """How far two pictures are apart."""
    depth, rgb = theirs.depth, theirs.rgb
    assert depth is not None and rgb is not None
    both = (picture.depth > 0) & (depth > 0)
    off = np.abs(picture.depth - depth)[both]
    colors = np.abs(picture.rgb.astype(int) - rgb)
    far = (off > 0.01).sum() + ((picture.depth > 0) != (depth > 0)).sum()
    return Row(
        family, 1e3 * float(np.percentile(off, 99)), float(far / depth.size), float(colors.mean())
    )


def seconds(work: Callable[[], object]) -> float:
    """CPU time of the fastest of some calls [s]."""
    taken = []
    for _ in range(TIMES):
        begin = time.thread_time()
        work()
        taken.append(time.thread_time() - begin)
    return min(taken)


def _same(scene: Scene, _seed: int) -> Scene:
    return scene


def main() -> None:
    """Print a line for each scene, then the rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embodiment")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--picture", type=Path, help="sheet of some scenes: theirs, ours, apart")
    arguments = parser.parse_args()
    store = EmbodimentStore()
    cell = Workcell.build(store, arguments.embodiment)
    rows, tiles = [], []
    names = sorted(FAMILIES)
    for k in range(arguments.scenes):
        family = names[k % len(names)]
        task = draw(family, k)
        scene = task.sample(cell.workspace, np.random.default_rng(k))
        cell.lay_out(task, partial(_same, scene))
        cell.driver.reset(k)
        world = cell.driver.world
        camera = next(iter(scene.cameras.values()), cell.workspace.camera())
        theirs = world.image(camera, noise=False)
        assert theirs.rgb is not None
        ours = photograph(staged(cell, 0.0), camera)
        rows.append(compared(family, ours, theirs))
        print(
            f"{family:12} depth p99 {rows[-1].depth_mm:5.1f} mm, edges {rows[-1].edges:.2%}, "
            f"colour {rows[-1].color:.1f}",
            flush=True,
        )
        apart = np.clip(3 * np.abs(ours.rgb.astype(int) - theirs.rgb), 0, 255).astype(np.uint8)
        tiles.append(np.concatenate([theirs.rgb, ours.rgb, apart], axis=1))
    print(
        f"{len(rows)} scenes: depth p99 {np.median([r.depth_mm for r in rows]):.1f} mm, "
        f"edges {np.mean([r.edges for r in rows]):.2%}, "
        f"colour {np.mean([r.color for r in rows]):.1f}"
    )
    if arguments.picture:
        Image.fromarray(np.concatenate(tiles[:6])).save(arguments.picture)
    fine, rough = staged(cell, 0.0), staged(cell, COARSE)
    for size in SIZES:
        square = CameraSpec(camera.eye, camera.target, size, size, camera.fov)
        tiny = seconds(partial(world.image, square, noise=False))
        whole, less = (seconds(partial(photograph, stage, square)) for stage in (fine, rough))
        print(
            f"{size:4} px: TinyRenderer {1 / tiny:6.0f}/s, ours {1 / whole:6.0f}/s with every "
            f"triangle ({tiny / whole:.1f}x), {1 / less:6.0f}/s with coarse meshes "
            f"({tiny / less:.1f}x)"
        )
    moved = seconds(partial(place, rough, world.client))
    print(f"taking over all poses: {1e3 * moved:.2f} ms")


if __name__ == "__main__":
    main()
