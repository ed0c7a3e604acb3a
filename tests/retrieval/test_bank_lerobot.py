"""The real lerobot 0.4.4 reads a bank: same states, actions, times, tasks and video files.

It runs in an environment of its own (``ICL_VLA_LEROBOT_VENV``, made by the test where it is not
given), since lerobot 0.4.4 and this project ask for different versions of torch and PyAV.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_vla_retrieval import DemoBank, make_example, make_example_bank
from icl_vla_retrieval.lerobot.video import decode_rgb

pytestmark = pytest.mark.slow
READ = Path(__file__).parent / "read_with_lerobot.py"
# lerobot's own requirements ask for an older torch than there is for the CPU here
NEEDS = (
    "torch==2.13.0",
    "av<16",
    "datasets<5",
    "huggingface-hub<0.36",
    "pandas",
    "draccus==0.10.0",
    "jsonlines",
    "einops",
    "deepdiff",
    "imageio",
    "gymnasium",
    "pyserial",
    "termcolor",
    "packaging",
    "opencv-python-headless",
    "accelerate",
    "diffusers<0.36",
)
ALONE = ("lerobot==0.4.4", "torchvision==0.28.0")


@pytest.fixture(scope="module")
def lerobot_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that imports lerobot 0.4.4; kept where ``ICL_VLA_LEROBOT_VENV`` says."""
    given = os.environ.get("ICL_VLA_LEROBOT_VENV")
    folder = Path(given) if given else tmp_path_factory.mktemp("lerobot") / "venv"
    python = folder / "bin" / "python"
    if (folder / "lerobot.ready").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet"]
    for words in (NEEDS, ("--no-deps", *ALONE)):
        done = subprocess.run([*pip, *words], capture_output=True, text=True, timeout=1800)
        if done.returncode:
            pytest.skip(f"lerobot cannot be installed here: {done.stderr.strip()[-200:]}")
    (folder / "lerobot.ready").touch()
    return python


def read(python: Path, path: Path, out: Path) -> tuple[dict, dict[str, np.ndarray]]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(out.parent / "hf")}
    done = subprocess.run(
        [str(python), str(READ), str(path), str(out)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(out, allow_pickle=False) as arrays:
        return json.loads(done.stdout.splitlines()[-1]), dict(arrays)


@pytest.mark.parametrize("cameras", [True, False])
def test_lerobot_reads_a_bank(tmp_path: Path, lerobot_python: Path, cameras: bool) -> None:
    if cameras:
        bank = make_example_bank(tmp_path / "bank")
    else:
        one = make_example()
        bank = DemoBank.create(
            tmp_path / "bank",
            embodiment=one.embodiment,
            urdf_sha256="0" * 64,
            joints=[f"joint{i}" for i in range(1, 7)],
            action_space=one.action_space,
        )
    for seed in range(3):
        demonstration = make_example(seed, frames=9 + 4 * seed)
        bank.append(demonstration if cameras else replace(demonstration, cameras={}))
    # what was rewritten must be as readable as what was recorded
    for path in (bank.path, bank.remove([1]).path):
        kept = DemoBank.open(path)
        facts, seen = read(lerobot_python, path, tmp_path / "seen.npz")
        assert facts["version"] == "0.4.4"
        lengths = [len(d) for d in kept]
        assert (facts["episodes"], facts["frames"]) == (len(kept), sum(lengths))
        assert facts["fps"] == kept.rate
        assert np.array_equal(seen["observation.state"], np.concatenate([d.q for d in kept]))
        assert np.array_equal(seen["action"], np.concatenate([d.actions for d in kept]))
        frame = np.concatenate([np.arange(n) for n in lengths])
        assert np.array_equal(seen["frame_index"], frame)
        assert np.array_equal(seen["timestamp"], (frame / kept.rate).astype(np.float32))
        assert np.array_equal(seen["episode_index"], np.repeat(np.arange(len(kept)), lengths))
        assert np.array_equal(seen["index"], np.arange(sum(lengths)))
        assert list(seen["task"]) == [d.instruction for d in kept for _ in range(len(d))]
        assert np.allclose(facts["action_max"], seen["action"].max(axis=0))
        assert bool(facts["videos"]) == cameras
        for key, spans in facts["videos"].items():
            for demonstration, (file, start) in zip(kept, spans, strict=True):
                rgb = decode_rgb(path / file, start=start, count=len(demonstration), fps=kept.rate)
                assert np.array_equal(rgb, demonstration.cameras[key.rpartition(".")[2]].rgb)
