"""Removing, merging and rewriting make a new version, whole or not at all, and keep the old one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_vla_retrieval import BankError, BankMismatch, DemoBank, make_example, make_example_bank
from icl_vla_retrieval.versions import Taken, revise


def seeds(bank: DemoBank) -> list[int]:
    """Which examples a bank holds; each is compared with what was recorded."""
    for found in bank:
        expected = make_example(int(found.provenance["seed"]))
        assert np.array_equal(found.q, expected.q.astype(np.float32))
        assert np.array_equal(found.commands["hand"], expected.commands["hand"])
        assert found.instruction == expected.instruction
    return [int(d.provenance["seed"]) for d in bank]


def test_remove_keeps_the_old_version(tmp_path: Path, check_lerobot_rules) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=4)
    cache = bank.path / "icl_vla/tokens/some-encoder"
    cache.mkdir(parents=True)
    for i in range(4):
        (cache / f"episode_{i:06d}.npz").write_text(f"tokens of {i}")
    pictures = [d.cameras["front"].rgb for d in bank]
    new = bank.remove([0, 2])
    assert new.path == bank.path
    assert seeds(new) == [1, 3]
    assert check_lerobot_rules(new.path) == 2
    for i, seed in enumerate((1, 3)):  # byte for byte, caches too: nothing is encoded again
        assert np.array_equal(new[i].cameras["front"].rgb, pictures[seed])
        assert (cache / f"episode_{i:06d}.npz").read_text() == f"tokens of {seed}"
    assert [h["what"] for h in new.history] == [["removed episodes [0, 2]"]]
    old = DemoBank.open(tmp_path / new.history[0]["before"])
    assert seeds(old) == [0, 1, 2, 3]
    assert new.append(make_example(7)) == 2
    assert seeds(DemoBank.open(new.remove([1]).path)) == [1, 7]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bank", "bank.v1", "bank.v2"]
    with pytest.raises(BankError, match="no such episode"):
        new.remove([9])


def test_a_writer_that_was_open_before_goes_on_in_the_new_version(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=3)
    other = DemoBank.open(bank.path)
    other.append(make_example(3))  # it remembers four episodes' numbers
    bank.remove([0])
    assert other.append(make_example(4)) == 3
    again = DemoBank.open(bank.path)
    assert seeds(again) == [1, 2, 3, 4]
    largest = np.concatenate([d.actions for d in again]).max(axis=0)
    stats = json.loads((bank.path / "meta/stats.json").read_text())
    assert np.allclose(stats["action"]["max"], largest)


def test_merge(tmp_path: Path, check_lerobot_rules) -> None:
    ours = make_example_bank(tmp_path / "ours", episodes=2)
    theirs = make_example_bank(tmp_path / "theirs", episodes=3)
    theirs.append(make_example(3))
    merged = ours.merge(theirs)  # 0 and 1 are in both
    assert seeds(merged) == [0, 1, 2, 3]
    assert check_lerobot_rules(merged.path) == 4
    assert seeds(merged.merge(theirs)) == [0, 1, 2, 3]
    one = make_example()
    slow = replace(one.action_space, rate=5.0)
    other = DemoBank.create(
        tmp_path / "slow",
        embodiment=one.embodiment,
        urdf_sha256="0" * 64,
        joints=ours.spec.joints,
        action_space=slow,
        cameras=ours.spec.cameras,
    )
    with pytest.raises(BankMismatch, match="do not belong together"):
        merged.merge(other)


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("after_renames", [0, 9, 1])
def test_killed_while_rewriting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_renames: int
) -> None:
    """Killed in the copying (0 of the two renames), between the renames, or after both."""
    bank = make_example_bank(tmp_path / "bank", episodes=3)
    rename, left = Path.rename, [after_renames]

    def renamed(source: Path, target: Path) -> Path:
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        return rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        patch.setattr(shutil, "rmtree", lambda *a, **k: None)  # the dead do not tidy up
        if after_renames < 2:
            with pytest.raises(Killed):
                bank.remove([1])
        else:
            bank.remove([1])
    assert seeds(DemoBank.open(bank.path)) == ([0, 1, 2] if after_renames == 0 else [0, 2])
    left_over = bank.path.with_name(".bank.new").exists()
    assert left_over == (after_renames == 0)
    again = DemoBank.open(bank.path).remove([0])  # what was left over does no harm
    assert seeds(again) == ([1, 2] if after_renames == 0 else [2])
    assert not bank.path.with_name(".bank.new").exists()


def test_a_changed_demonstration_takes_an_episodes_place(tmp_path: Path) -> None:
    bank = make_example_bank(tmp_path / "bank", episodes=3)
    new = revise(
        bank,
        lambda now: [Taken(now, 0), Taken(now, 1, make_example(9)), Taken(now, 2)],
        ["episode 1 recorded anew"],
    )
    assert seeds(new) == [0, 9, 2]
