"""No finished episode is lost: killed at any moment, on a full disk, with two writers."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from icl_vla_retrieval import (
    DatasetBusy,
    DemoBank,
    DiskFull,
    make_example,
    make_example_bank,
    transaction,
)

SCRIPT = Path(__file__).parent / "append_forever.py"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    "OMP_NUM_THREADS": "1",
}


def start_writer(path: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(process: subprocess.Popen[str]) -> None:
    """Let a writer that is ready begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def check_content(bank: DemoBank) -> None:
    """Each episode is the example of its own index."""
    for i, found in enumerate(bank):
        expected = make_example(found.provenance["seed"])
        assert np.array_equal(found.q, expected.q.astype(np.float32))
        assert np.array_equal(found.commands["hand"], expected.commands["hand"])
        assert found.instruction == expected.instruction
        error = np.abs(found.cameras["front"].depth - expected.cameras["front"].depth)
        assert error.max() < 0.00051, i  # half a millimetre


MANY = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10)]


@pytest.mark.parametrize("seed", [0, *MANY])
def test_killed_at_random_moments(tmp_path: Path, check_lerobot_rules, seed: int) -> None:
    """20 kills a seed, 200 in all."""
    rng = random.Random(seed)
    bank = make_example_bank(tmp_path / "bank")
    finished = 0
    for _ in range(20):
        process = start_writer(bank.path)
        assert process.stdout is not None
        let_go(process)
        for _ in range(rng.randrange(3)):
            assert process.stdout.readline() == f"appended {finished}\n"
            finished += 1
        time.sleep(rng.uniform(0.0, 0.08))  # about the time of an append
        process.kill()
        output, _ = process.communicate()
        finished += output.count("\n")
        assert check_lerobot_rules(bank.path, settled=False) >= finished  # before any repair
        bank = DemoBank.open(bank.path)
        assert len(bank) >= finished
        finished = len(bank)
        assert check_lerobot_rules(bank.path) == finished
        assert DemoBank.open(bank.path).repairs == ()
    assert finished >= 5
    check_content(bank)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after_renames", range(9))
def test_killed_between_any_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_lerobot_rules, after_renames: int
) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    rename, left = Path.replace, [after_renames]

    def replace(source: Path, target: Path) -> Path:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(shutil, "rmtree", lambda *a, **k: None)  # the dead do not tidy up
        with pytest.raises(Killed):
            bank.append(make_example(1))
    # data, video, two side files, depth, tasks; the list of episodes; statistics, totals
    committed = after_renames > 6
    assert check_lerobot_rules(bank.path, settled=False) == 1 + committed
    bank = DemoBank.open(bank.path)
    assert len(bank) == 1 + committed
    assert bank.repairs
    assert not (bank.path / transaction.STAGING).exists()
    assert check_lerobot_rules(bank.path) == 1 + committed
    assert bank.append(make_example(1 + committed)) == 1 + committed
    check_content(DemoBank.open(bank.path))
    assert check_lerobot_rules(bank.path) == 2 + committed


def test_a_second_writer_waits_and_then_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    monkeypatch.setattr(transaction, "PATIENCE", 0.2)
    with transaction.writing(bank.path):
        with pytest.raises(DatasetBusy, match="another process is writing") as caught:
            bank.append(make_example(1))
        assert caught.value.where == str(bank.path)
        assert len(DemoBank.open(bank.path)) == 1  # reading goes on
    assert bank.append(make_example(1)) == 1


def test_two_writers_at_once_lose_nothing(tmp_path: Path, check_lerobot_rules) -> None:
    bank = make_example_bank(tmp_path / "bank")
    writers = [start_writer(bank.path, "5") for _ in range(2)]
    for process in writers:
        let_go(process)
    indices = []
    for process in writers:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        indices += [int(line.split()[-1]) for line in output.splitlines()]
    assert sorted(indices) == list(range(10))
    bank = DemoBank.open(bank.path)
    assert (len(bank), bank.repairs) == (10, ())
    assert check_lerobot_rules(bank.path) == 10
    check_content(bank)


def contents(path: Path) -> dict[str, bytes]:
    files = (p for p in path.rglob("*") if p.is_file() and p.name != transaction.LOCK)
    return {str(p.relative_to(path)): p.read_bytes() for p in files}


def test_file_size_limit(tmp_path: Path) -> None:
    """The kernel refuses to write past a limit: the same path through the code as a full disk."""
    bank = make_example_bank(tmp_path / "bank", episodes=1)
    before = contents(bank.path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # depth needs more
    try:
        with pytest.raises(DiskFull) as caught:
            bank.append(make_example(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(bank.path) in str(caught.value)
    assert "needed" in str(caught.value)
    assert contents(bank.path) == before
    assert bank.append(make_example(1)) == 1


@pytest.fixture
def small_disk(tmp_path: Path):
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(small_disk: Path, check_lerobot_rules) -> None:
    bank = make_example_bank(small_disk / "bank")
    with pytest.raises(DiskFull) as caught:
        for seed in range(100):
            before = contents(bank.path)
            bank.append(make_example(seed))
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert str(bank.path) in str(caught.value)
    assert contents(bank.path) == before
    assert 0 < len(bank) == check_lerobot_rules(bank.path)
    check_content(DemoBank.open(bank.path))
