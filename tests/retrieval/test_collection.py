"""Several banks read as one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icl_vla_retrieval import BankCollection, BankError, DemoBank
from icl_vla_retrieval.example import make_example
from icl_vla_retrieval.spec import BankSpec, CameraSpec


def bank(path: Path, embodiment: str, *instructions: str) -> DemoBank:
    """One episode an instruction."""
    d = replace(make_example(), embodiment=embodiment)
    height, width = d.cameras["front"].rgb.shape[1:3]
    depth = d.cameras["front"].depth is not None
    joints = tuple(f"j{i}" for i in range(d.q.shape[1]))
    cameras = {"front": CameraSpec(height, width, depth=depth)}
    made = DemoBank.of_spec(path, BankSpec(embodiment, "0" * 64, joints, d.action_space, cameras))
    for words in instructions:
        made.append(replace(d, instruction=words))
    return made


@pytest.fixture
def both(tmp_path: Path) -> BankCollection:
    own = bank(tmp_path / "own", "ours", "push", "push", "pick")
    other = bank(tmp_path / "other", "theirs", "push", "stack")
    return BankCollection([own, other], limit=2)


def test_episodes_are_numbered_through(both, tmp_path):
    assert len(both) == 4 and both.instructions == ("push", "stack")
    assert [d.embodiment for d in both] == ["ours", "ours", "theirs", "theirs"]
    assert both.source(3) == (tmp_path / "other", 1)
    assert both.action_space == both.banks[0].action_space


def test_ones_own_demonstrations_come_before_those_of_others(both):
    assert both.select("push") == [0, 1]
    assert both.select("stack") == [3]
    assert both.select("pick") == [] and both.select() == [0, 1, 2, 3]


def test_effectors_of_another_robot_go_by_ones_own_names(both, tmp_path):
    d = make_example()
    (name,) = d.action_space.effectors
    renamed = tuple(replace(x, effector="claw") for x in d.action_space.dimensions)
    space = replace(d.action_space, dimensions=renamed)
    theirs = both.banks[1].spec
    spec = replace(theirs, action_space=space)
    foreign = DemoBank.of_spec(tmp_path / "claw", spec)
    channels = ("grippers", "poses", "commands", "gripper_commands")
    moved = {c: {"claw": getattr(d, c)[name]} for c in channels}
    foreign.append(replace(d, embodiment="theirs", action_space=space, **moved))
    seen = BankCollection([both.banks[0], foreign])[3]
    for channel in channels:
        np.testing.assert_allclose(getattr(seen, channel)[name], getattr(d, channel)[name])


def test_what_is_not_read_does_not_count(both):
    one = BankCollection(both.banks, limit=1)
    assert one.digest("push") != both.digest("push") == both.banks[0].digest("push")
    assert both.digest("stack") == both.banks[1].digest("stack") != one.digest("stack")
    assert one.fingerprint() != both.fingerprint()


def test_it_is_only_read(both):
    with pytest.raises(BankError, match="only read"):
        both.append(make_example())
    with pytest.raises(BankError):
        BankCollection([])
