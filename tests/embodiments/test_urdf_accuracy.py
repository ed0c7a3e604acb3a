"""What analysis makes of labelled robots, with and without names, and how few words mend it."""

import json

import pytest


def outcomes(labels, benchmark, *, strip):
    accuracy = benchmark("urdf_accuracy")
    known = json.loads(labels.read_text())
    found = []
    for name, label in known.items():
        if accuracy.locate(labels, label["urdf"]).is_file():
            found.append(accuracy.judge(name, label, labels, strip=strip))
    return found


def share(found, field):
    seen = [o.right[field] for o in found if field in o.right]
    return sum(seen) / len(seen)


BARS = {
    "load": 1.0,
    "family": 0.96,
    "base": 0.96,
    "arms": 0.95,
    "ee": 0.95,
    "gripper": 0.93,
    "feet": 0.96,
    "wheels": 0.96,
}


@pytest.mark.slow
def test_labelled_robots(labels, benchmark):
    found = outcomes(labels, benchmark, strip=False)
    for field, bar in BARS.items():
        assert share(found, field) >= bar, [(o.robot, o.wrong) for o in found if o.wrong]
    assert sum(not o.wrong for o in found) >= 0.92 * len(found)
    assert sum(bool(o.silent) for o in found) <= 0.03 * len(found)
    assert sum(bool(o.asked) for o in found) <= 0.25 * len(found)


@pytest.mark.slow
def test_without_names_every_error_is_asked_about(labels, benchmark):
    found = outcomes(labels, benchmark, strip=True)
    assert max(len(o.asked) for o in found) <= 3
    wrong = [o for o in found if o.wrong]
    told = [o for o in wrong if not o.silent]
    assert len(told) >= 0.9 * len(wrong), [(o.robot, o.silent) for o in wrong]
    assert len(wrong) <= 0.15 * len(found)


# A robot without names that is analysed wrongly, and one line for each thing that is wrong.
CORRECTIONS = {
    "hextilt": {"family": "drone_arm", "base": "floating"},  # rotors without joints
    "alex_psyonic": {  # followers whose master does not exist
        "groups": {
            "left_hand": {"joints": [f"joint_{i}" for i in (31, 34, 37, 40, 43, 44)]},
            "right_hand": {"joints": [f"joint_{i}" for i in (47, 50, 53, 56, 59, 60)]},
        }
    },
    "pr2": {"family": "mobile_manipulator", "base": "planar_holo"},  # wheels without joints
    "borinot": {"family": "drone_arm", "base": "floating"},  # so are these
    "tiago_pro": {"base": "planar_holo"},  # mecanum wheels
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CORRECTIONS)
def test_five_lines_mend_the_hardest(labels, benchmark, name):
    accuracy = benchmark("urdf_accuracy")
    label = json.loads(labels.read_text())[name]
    if not accuracy.locate(labels, label["urdf"]).is_file():
        pytest.skip("example-robot-data is not installed")
    overrides = CORRECTIONS[name]
    lines = sum(len(v) if isinstance(v, dict) else 1 for v in overrides.values())
    assert lines <= 5
    assert accuracy.judge(name, label, labels, strip=True).wrong
    mended = accuracy.judge(name, label, labels, strip=True, overrides=overrides)
    assert not mended.wrong, mended.details
    assert not mended.asked & {"family", "base"} & set(overrides)
