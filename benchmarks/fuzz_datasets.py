"""Damaged recordings: each must be read or refused with a message, in time and memory.

Run ``OMP_NUM_THREADS=1 python benchmarks/fuzz_datasets.py [DATASETS ...] [--urdf ROBOT.urdf]``
with folders of LeRobot datasets, and their robot, to damage those too. ``--count`` mutants are
made of each format (LeRobot, robomimic, DROID, npz, csv) and ``--only`` picks one.

Each is read from detection to demonstrations with decoded pictures in a forked child, within the
time and memory that :mod:`mutants` sets; one that opens a file that is not its own, or ends in
anything but demonstrations or a :class:`ReportedError` is a finding and is kept. No pickle may
be loaded: an opened one ends the child.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
from mutants import Tally, try_all
from PIL import Image

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.embodiment import Embodiment
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import LeRobotWriter
from icl_vla_retrieval.columns import read_recording
from icl_vla_retrieval.formats import Given
from icl_vla_retrieval.lerobot import layout, video

FRAMES, SIZE = 12, (16, 24)
NUMBERS = ("0", "-1", "1e308", "NaN", "Infinity", "1e-320", "null", '"x"', "[]", "{}", "9" * 40)
WORDS = ("", "a", "../../etc/passwd", "/etc/passwd", "{x}", "{episode_index.real}", "v9.0", "🤖")
FORMATS = ("lerobot", "robomimic", "droid", "npz", "csv")


# sound datasets to start from


def motion(robot: Embodiment, rng: np.random.Generator) -> np.ndarray:
    """``(T, n)`` within the limits."""
    lower = np.clip(robot.array("lower"), -3, 3)
    upper = np.clip(robot.array("upper"), -3, 3)
    ends = rng.uniform(lower, upper, (2, len(lower)))
    s = np.linspace(0, 1, FRAMES)[:, None]
    return ends[0] + s * (ends[1] - ends[0])


def pictures(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 255, (FRAMES, *SIZE, 3), dtype=np.uint8)


def make_lerobot(folder: Path, robot: Embodiment, rng: np.random.Generator) -> None:
    features = {
        layout.STATE: layout.vector_feature(robot.joints),
        layout.ACTION: layout.vector_feature(robot.joints),
        layout.IMAGES + "front": layout.video_feature(*SIZE, 10),
    }
    writer = LeRobotWriter.create(folder, robot_type="r", fps=10, features=features)
    for _ in range(2):
        q = motion(robot, rng).astype(np.float32)
        columns = {layout.STATE: q, layout.ACTION: q}
        writer.append(columns, {layout.IMAGES + "front": pictures(rng)}, "move")


def make_robomimic(folder: Path, robot: Embodiment, rng: np.random.Generator) -> None:
    arm = robot.arms[0].joints
    kwargs = {"control_freq": 20, "controller_configs": {"type": "OSC_POSE", "control_delta": True}}
    kwargs["controller_configs"]["output_max"] = [0.05] * 3 + [0.5] * 3  # type: ignore[index]
    with h5py.File(folder / "demo.hdf5", "w") as file:
        data = file.create_group("data")
        data.attrs["total"] = 2 * FRAMES
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": kwargs})
        for i in range(2):
            demo = data.create_group(f"demo_{i}")
            demo.attrs["num_samples"] = FRAMES
            demo["actions"] = rng.uniform(-1, 1, (FRAMES, 7))
            demo["obs/robot0_joint_pos"] = motion(robot, rng)[:, : len(arm)]
            demo["obs/robot0_gripper_qpos"] = rng.uniform(0, 0.04, (FRAMES, 2))
            demo["obs/robot0_eef_pos"] = rng.uniform(-1, 1, (FRAMES, 3))
            demo["obs/robot0_eef_quat"] = np.tile([0.0, 0.0, 0.0, 1.0], (FRAMES, 1))
            demo.create_dataset(
                "obs/agentview_image", data=pictures(rng), compression="gzip", chunks=True
            )


def make_droid(folder: Path, robot: Embodiment, rng: np.random.Generator) -> None:
    home = folder / "2024-01-01_move_the_cup" / "Mon_Jan__1_10:00:00_2024"
    (home / "recordings" / "MP4").mkdir(parents=True)
    arm = len(robot.arms[0].joints)
    with h5py.File(home / "trajectory.h5", "w") as file:
        q = motion(robot, rng)[:, :arm]
        file.attrs["success"] = True
        file["observation/robot_state/joint_positions"] = q
        file["observation/robot_state/gripper_position"] = np.linspace(0, 1, FRAMES)
        file["observation/robot_state/cartesian_position"] = rng.uniform(-1, 1, (FRAMES, 6))
        file["action/joint_position"] = q
        file["action/gripper_position"] = np.linspace(0, 1, FRAMES)
        file["observation/timestamp/skip_action"] = np.arange(FRAMES) % 5 == 4
        file["observation/timestamp/control/step_start"] = 10**12 + 66 * np.arange(FRAMES)
    (home / "recordings" / "MP4" / "123.mp4").write_bytes(video.encode_rgb(pictures(rng), 15))


def make_npz(folder: Path, robot: Embodiment, rng: np.random.Generator) -> None:
    for i in range(2):
        q = motion(robot, rng)
        save = np.savez if i else np.savez_compressed
        save(
            folder / f"episode_{i}.npz",
            state=q,
            action=q,
            timestamp=np.arange(FRAMES) / 10,
            front=pictures(rng),
            instruction=np.array("move"),
        )
        (folder / f"episode_{i}" / "side").mkdir(parents=True)
        for t, picture in enumerate(pictures(rng)):
            file = folder / f"episode_{i}" / "side" / f"{t}.{'png' if i else 'jpg'}"
            Image.fromarray(picture).save(file)


def make_csv(folder: Path, robot: Embodiment, rng: np.random.Generator) -> None:
    for i in range(2):
        q = motion(robot, rng)
        head = [
            "time",
            *(f"state.{j}" for j in robot.joints),
            *(f"action.{j}" for j in robot.joints),
        ]
        rows = np.column_stack([np.arange(FRAMES) / 10, q, q])
        lines = [",".join(head), *(",".join(f"{x:.6f}" for x in row) for row in rows)]
        (folder / f"episode_{i}.csv").write_text("\n".join(lines))


MAKERS = dict(
    zip(FORMATS, (make_lerobot, make_robomimic, make_droid, make_npz, make_csv), strict=True)
)


# wounds


def mutate(data: bytes, name: str, rng: random.Random) -> bytes:
    """One to four wounds to a file's bytes; in text, to its numbers and words too."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        textual = name.endswith((".json", ".jsonl", ".csv"))
        data = rng.choice((_number, _word, _bytes) if textual else (_bytes, _flip, _flip))(
            data, rng
        )
    return data


def _bytes(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(5)
    if kind == 0:
        return data[:at] + data[at + rng.randint(1, 200) :]
    if kind == 1:
        return data[:at] + rng.randbytes(rng.randint(1, 8)) + data[at:]
    if kind == 2:
        return data[:at]
    if kind == 3:
        return data[:at] + bytes(rng.randint(1, 64)) + data[at + 64 :]
    return data[:at] + data[at : at + rng.randint(1, 400)] + data[at:]


def _flip(data: bytes, rng: random.Random) -> bytes:
    """Single bytes, rather near the ends, where headers and footers are."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        if out:
            near = rng.choice((len(out), min(len(out), 600)))
            at = rng.randrange(near)
            at = at if rng.random() < 0.5 else len(out) - 1 - at
            out[at] = rng.choice((0, 255, out[at] ^ (1 << rng.randrange(8)), rng.randrange(256)))
    return bytes(out)


def _replaced(data: bytes, rng: random.Random, pattern: bytes, words: tuple[str, ...]) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return data
    match = rng.choice(found)
    return data[: match.start(1)] + rng.choice(words).encode() + data[match.end(1) :]


def _number(data: bytes, rng: random.Random) -> bytes:
    return _replaced(data, rng, rb"(?<![\w.])(-?\d+\.?\d*(?:[eE][-+]?\d+)?)", NUMBERS)


def _word(data: bytes, rng: random.Random) -> bytes:
    return _replaced(data, rng, rb'"([^"]*)"', WORDS)


def damaged(source: Path, target: Path, rng: random.Random) -> str:
    """Copy a dataset by links, with one file damaged, emptied or missing; which."""
    files = sorted(p for p in source.rglob("*") if p.is_file() and p.name != ".lock")
    first = [p for p in files if p.suffix not in (".png", ".jpg")]
    hurt = rng.choice(first if rng.random() < 0.8 else files)
    for p in files:
        here = target / p.relative_to(source)
        here.parent.mkdir(parents=True, exist_ok=True)
        if p != hurt:
            here.symlink_to(p)
    kind = rng.random()
    here = target / hurt.relative_to(source)
    if kind < 0.02:
        return f"{hurt.name} missing"
    if kind < 0.04:
        here.write_bytes(b"")
        return f"{hurt.name} empty"
    if kind < 0.06:
        here.write_bytes(rng.choice(files).read_bytes())
        return f"{hurt.name} swapped"
    here.write_bytes(mutate(hurt.read_bytes(), hurt.name, rng))
    return hurt.name


# running


def load(path: Path, robot: Embodiment, model: RobotModel) -> str:
    """One mutant from detection to decoded demonstrations; how it ended."""
    files = list(path.glob("*.hdf5"))
    try:
        recording = read_recording(files[0] if files else path, robot, model, Given())
        for d in recording.demonstrations(model, Given()):
            for track in d.cameras.values():
                assert track.rgb.ndim == 4
            assert np.isfinite(d.q).all() and np.isfinite(d.actions).all(), "not finite"
    except ReportedError:
        return "refused"
    return "flagged" if recording.match.flags else "read"


def fuzz(
    form: str,
    count: int,
    seed: int = 0,
    *,
    more: tuple[Path, ...] = (),
    urdf: Path | None = None,
    keep: Path | None = None,
) -> Tally:
    """Run ``count`` mutants of a format; ``more`` are further sound datasets to start from."""
    if urdf is None:
        import pybullet_data

        urdf = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
    robot = embodiment_from_urdf(urdf, allow_missing_meshes=True)
    model = RobotModel(robot)
    with tempfile.TemporaryDirectory() as temporary:
        own = Path(temporary) / "sound" / form
        own.mkdir(parents=True)
        MAKERS[form](own, robot, np.random.default_rng(seed))
        sources = (own, *more)
        for sound in sources:
            assert load(sound, robot, model) != "refused", f"{sound} is refused before any damage"
        folder = keep or Path(temporary) / "mutants"
        folder.mkdir(exist_ok=True)

        def trial(number: int) -> str:
            for opening in ("load", "loads"):  # no format needs a pickle
                setattr(pickle, opening, lambda *_, **__: os._exit(66))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # codecs write their complaints there
            home = folder / f"{number}"
            source = sources[number % len(sources)]
            damaged(source, home, random.Random(f"{seed}/{number}"))
            end = load(home, robot, model)
            shutil.rmtree(home, ignore_errors=True)
            return end

        def kept(number: int, why: str) -> str:
            return f"mutant {number} in {folder / str(number)}\n{why}"

        return try_all(trial, kept, count)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", type=Path, nargs="*")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=FORMATS)
    parser.add_argument("--urdf", type=Path, help="robot of the datasets given")
    parser.add_argument("--keep", type=Path, help="folder that the mutants of findings stay in")
    options = parser.parse_args()
    findings = 0
    print(
        f"{'format':10} {'mutants':>7} {'refused':>8} {'flagged':>8} {'read':>6}"
        f" {'slowest':>8} {'largest':>9}"
    )
    for form in [options.only] if options.only else FORMATS:
        more = tuple(p.resolve() for p in options.datasets) if form == "lerobot" else ()
        tally = fuzz(
            form, options.count, options.seed, more=more, urdf=options.urdf, keep=options.keep
        )
        ends = tally.ends
        print(
            f"{form:10} {sum(ends.values()):7} {ends['refused']:8} {ends['flagged']:8}"
            f" {ends['read']:6} {tally.slowest:6.1f} s {tally.largest / 2**20:5.0f} MiB"
        )
        for finding, n in Counter(tally.findings).most_common():
            print(f"  {n} x {finding}")
        findings += len(tally.findings)
    raise SystemExit(1 if findings else 0)


if __name__ == "__main__":
    main()
