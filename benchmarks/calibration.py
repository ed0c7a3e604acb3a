"""Cameras found from demonstrations, beside where they stood. RGB alone, RGB-D, and with noise.

Run ``OMP_NUM_THREADS=1 python benchmarks/calibration.py panda=PATH.urdf other=PATH.urdf ...
[--task pick-place] [--views 2] [--measured] [--keep FOLDER] [--json PATH]``.

Each robot's scripted operator gives ten demonstrations, filmed at once by the task's usual camera
and by random ones around the table (any side, 12 to 65 degrees up, 35 to 60 degrees of view). The
calibration is taken from the demonstrations before they are looked at. Development used cameras and
scenes of seed 1; ``--measured`` takes those of seed 100, which nothing was tuned on.

Variants:
    rgb: colour alone, intrinsics unknown.
    rgb, known f: colour alone, intrinsics given.
    rgb-d: colour and depth, intrinsics unknown.
    ... 2 px: every frame shifted by Gaussian noise of 2 px (standard deviation) in x and in y,
        which also blurs the background.
    rgb-d, collision: as ``rgb-d``, but the robot is taken to look like its collision shapes, which
        are not what the simulator draws: a real robot does not look like its hulls, either.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from icl_vla.runtime.record import record_episode
from icl_vla.sim.driver import PyBulletDriver
from icl_vla.sim.scene import CameraSpec, Scene
from icl_vla.sim.workcell import Workcell
from icl_vla.sim.workspace import Workspace
from icl_vla_embodiments import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf, simulation_urdf
from icl_vla_retrieval import CameraSpec as BankCamera
from icl_vla_retrieval import CameraTrack, DemoBank, Demonstration
from icl_vla_retrieval.calibration import CalibrationError, Pinhole, calibrate_camera

DEVELOPMENT, MEASURED = 1, 100  # seeds of cameras; scenes count up from there
EPISODES = 10
NOISE = 2.0  # [px]
VARIANTS = ("rgb", "rgb, known f", "rgb-d", "rgb, 2 px", "rgb-d, 2 px", "rgb-d, collision")


@dataclass(frozen=True)
class Row:
    """One camera, calibrated in one way."""

    robot: str
    camera: str
    variant: str
    millimetres: float
    degrees: float
    focal: float  # found over true, less one
    reprojection: float
    expected: float  # [mm], the calibration's own standard error
    doubts: int
    seconds: float


def cameras(workspace: Workspace, seed: int, views: int) -> dict[str, CameraSpec]:
    """The task's usual camera and random ones that see the patch of table."""
    rng = np.random.default_rng(seed)
    span = max(workspace.half)
    found = {"front": workspace.camera()}
    for i in range(views):
        azimuth, elevation = rng.uniform(-np.pi, np.pi), np.radians(rng.uniform(12, 65))
        distance = span * rng.uniform(3.0, 5.5)
        middle = np.array([*workspace.center, 0.0])
        target = middle + span * np.array([*rng.uniform(-0.4, 0.4, 2), rng.uniform(0.0, 0.5)])
        flat = np.cos(elevation) * np.array([np.cos(azimuth), np.sin(azimuth)])
        eye = target + distance * np.array([*flat, np.sin(elevation)])
        fov = float(rng.uniform(35, 60))
        found[f"view{i}"] = CameraSpec(tuple(eye), tuple(target), fov=fov)
    return found


def record(home: Path, robot: str, urdf: Path, task: str, seed: int, views: int) -> DemoBank:
    """Ten demonstrations filmed by all cameras; what is there is used again."""
    store = EmbodimentStore(home)
    if not store.folder(robot).exists():
        store.add(embodiment_from_urdf(urdf, name=robot))
    cell = Workcell.build(store, robot, task)
    filming = cameras(cell.workspace, seed, views)

    def scenes(scene_seed: int | None) -> Scene:
        assert cell.task is not None
        scene = cell.task.sample(cell.workspace, np.random.default_rng(scene_seed))
        return scene.with_(cameras=filming)

    cell.driver.close()
    light = simulation_urdf(cell.embodiment, store.folder(robot))
    cell.driver = PyBulletDriver(cell.model, light, scenes)
    space = cell.embodiment.action_space()
    bank = DemoBank.open_or_create(
        home / "sets" / f"{robot}-{task}-{seed}",
        embodiment=robot,
        urdf_sha256=cell.embodiment.urdf_sha256,
        joints=cell.embodiment.joints,
        action_space=space,
        cameras={n: BankCamera(c.height, c.width, depth=True) for n, c in filming.items()},
    )
    for scene_seed in range(seed + len(bank), seed + EPISODES):
        assert cell.task is not None
        cell.reset(scene_seed)
        operator = cell.task.expert(cell.workspace, np.random.default_rng([7_919, scene_seed]))
        bank.append(
            record_episode(
                cell.driver,
                cell.model,
                cell.controller,
                lambda observation, o=operator: o.act(cell.driver, observation),
                space,
                instruction=cell.task.instruction,
                embodiment=robot,
                provenance={"seed": scene_seed},
            )
        )
    cell.driver.close()
    return bank


def withheld(d: Demonstration, camera: str, noise: np.random.Generator | None) -> Demonstration:
    """One camera only, without its calibration, its frames shifted where there is noise."""
    track = d.cameras[camera]
    rgb, depth = track.frames(), None if track.depths is None else track.depths()
    if noise is not None:
        rgb = rgb.copy()
        for t, (dx, dy) in enumerate(noise.normal(0.0, NOISE, (len(d), 2))):
            M = np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])
            size, edge = rgb.shape[2:0:-1], cv2.BORDER_REPLICATE
            rgb[t] = cv2.warpAffine(rgb[t], M, size, flags=cv2.INTER_LINEAR, borderMode=edge)
            if depth is not None:
                depth[t] = cv2.warpAffine(depth[t], M, size, flags=cv2.INTER_NEAREST)
    return replace(d, cameras={camera: CameraTrack.from_arrays(rgb, depth)})


def in_collision_shapes(embodiment: Embodiment) -> Embodiment:
    """The robot with its collision shapes drawn, where a link has some."""
    robot = ET.fromstring(embodiment.urdf)
    for link in robot.findall("link"):
        shapes = link.findall("collision")
        for part in link.findall("visual") if shapes else ():
            link.remove(part)
        for shape in shapes:
            shape.tag = "visual"
    return embodiment.with_(urdf=ET.tostring(robot, encoding="unicode"))


def measure(bank: DemoBank, model: RobotModel, variants: Sequence[str], seed: int) -> Iterator[Row]:
    """Calibrate every camera of a bank in every way."""
    simple = RobotModel(in_collision_shapes(model.embodiment))
    for camera in bank.spec.cameras:
        demonstrations = list(bank)
        track = demonstrations[0].cameras[camera]
        assert track.intrinsics is not None and track.T_mount_camera is not None
        true = Pinhole.of(track.intrinsics, track.T_mount_camera)
        for variant in variants:
            noise = np.random.default_rng([seed, 2]) if "2 px" in variant else None
            given = [withheld(d, camera, noise) for d in demonstrations]
            start = time.process_time()
            try:
                found = calibrate_camera(
                    given,
                    camera,
                    simple if "collision" in variant else model,
                    depth=variant.startswith("rgb-d"),
                    intrinsics=track.intrinsics if "known f" in variant else None,
                )
            except CalibrationError:
                nothing = (float("inf"),) * 4
                yield Row(bank.embodiment, camera, variant, *nothing, float("inf"), 1, 0.0)
                continue
            shift, turn = true.difference(found.pinhole)
            yield Row(
                robot=bank.embodiment,
                camera=camera,
                variant=variant,
                millimetres=1e3 * shift,
                degrees=float(np.degrees(turn)),
                focal=found.pinhole.focal / true.focal - 1.0,
                reprojection=found.reprojection,
                expected=1e3 * found.position_error,
                doubts=len(found.doubts),
                seconds=time.process_time() - start,
            )


def main() -> None:
    """Record, calibrate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("robots", nargs="+", help="NAME=URDF")
    parser.add_argument("--task", default="pick-place")
    parser.add_argument("--views", type=int, default=2, help="cameras beside the usual one")
    parser.add_argument("--measured", action="store_true", help="the seeds nothing was tuned on")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--keep", type=Path, help="where the recordings are kept")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    home = options.keep or Path(tempfile.mkdtemp())
    seed = MEASURED if options.measured else DEVELOPMENT
    rows: list[Row] = []
    print(
        "robot      camera  variant            mm     deg   focal  outline  expects  doubts   CPU"
    )
    for robot, urdf in (text.split("=", 1) for text in options.robots):
        bank = record(home, robot, Path(urdf), options.task, seed, options.views)
        model = RobotModel(EmbodimentStore(home).get(robot))
        for r in measure(bank, model, options.variants, seed):
            rows.append(r)
            print(
                f"{r.robot:10} {r.camera:7} {r.variant:17}{r.millimetres:6.1f}  {r.degrees:5.2f}"
                f"  {r.focal:+6.1%}  {r.reprojection:4.2f} px  {r.expected:4.1f} mm"
                f"  {r.doubts:6d}  {r.seconds:4.0f} s",
                flush=True,
            )
    for variant in options.variants:
        mm = [r.millimetres for r in rows if r.variant == variant]
        deg = [r.degrees for r in rows if r.variant == variant]
        print(
            f"{variant:17}{len(mm)} cameras:"
            f" median {np.median(mm):.1f} mm, {np.median(deg):.2f} deg;"
            f" worst {max(mm):.1f} mm, {max(deg):.2f} deg"
        )
    if options.json:
        options.json.write_text(json.dumps([vars(r) for r in rows], indent=2))


if __name__ == "__main__":
    main()
