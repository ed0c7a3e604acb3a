"""A person at a terminal records demonstrations: the command runs on a pseudo-terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pybullet_data
import pytest
from PIL import Image

from icl_vla.paths import bank_path
from icl_vla.runtime.keyboard import AT_ONCE, STEP, TURN, moved
from icl_vla_embodiments import se3
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval import DemoBank

URDF = Path(pybullet_data.getDataPath()) / "franka_panda/panda.urdf"
CODE = "from icl_vla.cli import main; main()"


class Person:
    """Types into a command and reads what it says."""

    def __init__(self, home: Path, *words: str) -> None:
        master, slave = pty.openpty()
        path = os.pathsep.join(p for p in sys.path if p)
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        environment |= {"ICL_VLA_HOME": str(home), "COLUMNS": "300"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, *words],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        )
        os.close(slave)
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        self.master, self.said = master, ""

    def wait_for(self, pattern: str, seconds: float = 60.0) -> re.Match[str]:
        """Wait until something new that matches is said."""
        deadline = time.monotonic() + seconds
        assert self.process.stderr is not None
        while True:
            chunk = self.process.stderr.read()
            self.said += (chunk or b"").decode()
            match = re.search(pattern, self.said)
            if match:
                self.said = self.said[match.end() :]
                return match
            assert time.monotonic() < deadline, f"{pattern!r} was not said: {self.said}"
            time.sleep(0.02)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("home")
    EmbodimentStore(base).add(embodiment_from_urdf(URDF))
    return base


def first_picture(address: str) -> np.ndarray:
    """The first JPEG of the live page's stream."""
    with urlopen(address, timeout=10) as page:
        assert b"/stream" in page.read()
    with urlopen(address + "stream", timeout=10) as stream:
        head = b"".join(stream.readline() for _ in range(4))  # up to the empty line
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        return np.asarray(Image.open(io.BytesIO(stream.read(length))))


@pytest.fixture
def person(home: Path) -> Iterator[Person]:
    """Somebody who records pushes."""
    words = ("demos", "record", "panda", "--task", "push", "--operator", "keyboard")
    sitting = Person(home, *words)
    yield sitting
    sitting.process.kill()
    os.close(sitting.master)


def test_start_keep_discard_quit(home: Path, person: Person) -> None:
    address = person.wait_for(r"pictures: (\S+)")[1]
    person.wait_for("enter starts")
    assert first_picture(address).shape == (180, 240, 3)
    person.press("\n")
    person.wait_for("recording: 0 s")
    person.press("ff ")
    time.sleep(0.5)
    person.press("ww")
    person.wait_for("recording: 1 s")
    person.press("\n")
    person.wait_for("k keeps")
    person.press("k")
    for thrown, keys in enumerate(("x", "\nx")):  # while recording, and afterwards
        person.wait_for(f"episode 2 of 10, {thrown} discarded: enter starts")
        person.press("\n")
        person.wait_for("recording: 0 s")
        person.press(keys[0])
        if keys[1:]:
            person.wait_for("k keeps")
            person.press(keys[1:])
    person.wait_for("episode 2 of 10, 2 discarded")
    person.press("z")
    person.wait_for("1 kept, 2 discarded")
    assert person.process.wait(timeout=30) == 0
    bank = DemoBank.open(bank_path(home, "panda"))
    assert len(bank) == 1
    d = bank[0]
    assert d.provenance["operator"] == "keyboard"
    assert d.provenance["success"] is False
    (arm,) = d.commands
    way = d.commands[arm][-1][:3, 3] - d.commands[arm][0][:3, 3]
    assert np.allclose(way, [2 * STEP, 0, -2 * STEP], atol=1e-6)
    assert d.gripper_commands[arm][0] != d.gripper_commands[arm][-1]
    moved_ = d.poses[arm][-1][:3, 3] - d.poses[arm][0][:3, 3]
    assert np.linalg.norm(moved_ - way) < 0.01  # the controller follows within a second


def test_without_a_terminal(icl_vla, home: Path) -> None:
    done = icl_vla(home, "demos", "record", "panda", "--task", "push", "--operator", "keyboard")
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr


def test_keys_move_in_the_base_frame() -> None:
    T = se3.pose(se3.exp3([0.3, -2.0, 0.4]), [0.4, 0.1, 0.2])
    there = moved(T, "wwq")
    assert np.allclose(there[:3, 3] - T[:3, 3], [2 * STEP, 0, 0])
    assert np.allclose(se3.log3(there[:3, :3] @ T[:3, :3].T), [0, 0, TURN])
    assert np.allclose(moved(there, "sse"), T)
    assert np.allclose(moved(T, "w" * 50)[:3, 3] - T[:3, 3], [AT_ONCE * STEP, 0, 0])
    assert np.array_equal(moved(T, "?5"), T)
