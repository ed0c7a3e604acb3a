"""What is kept of a robot: files that people edit, and nothing half-written."""

import subprocess
import sys

import pytest
import yaml

from icl_vla_embodiments import EmbodimentError, UnknownName
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_embodiments.yaml_io import load_embodiment, save_embodiment


@pytest.fixture
def store(tmp_path):
    return EmbodimentStore(tmp_path)


def edit(store, name, change):
    file = store.folder(name) / f"{name}.embodiment.yaml"
    document = yaml.safe_load(file.read_text())
    change(document)
    file.write_text(yaml.safe_dump(document))


@pytest.mark.parametrize(
    "file",
    ["franka_panda/panda.urdf", "husky/husky.urdf", "mini_cheetah/mini_cheetah.urdf", "r2d2.urdf"],
)
def test_saved_is_loaded(data, tmp_path, file):
    robot = embodiment_from_urdf(data / file)
    save_embodiment(robot, tmp_path)
    assert load_embodiment(tmp_path) == robot


def test_every_field_says_where_it_is_from(panda, tmp_path):
    document = yaml.safe_load(save_embodiment(panda, tmp_path).read_text())
    for field, entry in document["fields"].items():
        assert {"value", "source", "why"} <= set(entry), field
        assert entry["source"] in ("heuristic", "declared", "user") and entry["why"]


def test_store(store, panda):
    assert "panda" in store.names()  # a built-in
    store.add(panda.with_(name="mine"))
    assert "mine" in store.names()
    assert store.get("mine") == panda.with_(name="mine")
    store.remove("mine")
    assert "mine" not in store.names() and not store.folder("mine").exists()


def test_unknown_names_get_a_suggestion(store, panda):
    store.add(panda.with_(name="left_panda"))
    with pytest.raises(UnknownName) as caught:
        store.get("left_pandas")
    assert "left_panda'" in caught.value.remedy and "iiwa" in caught.value.valid
    with pytest.raises(UnknownName):
        store.remove("panda")  # a built-in cannot be removed


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", ".hidden"])
def test_names_that_are_no_folder_names(store, panda, name):
    with pytest.raises(EmbodimentError):
        store.add(panda.with_(name=name))


def test_an_edited_value_wins_and_outlives_a_new_analysis(store, panda):
    store.add(panda)

    def change(document):
        document["fields"]["payload"] = {"value": 0.7, "source": "user", "why": "weighed"}
        document["fields"]["tcp"]["value"]["arm"] = {"link": "panda_hand", "xyz": [0, 0, 0.1]}

    edit(store, "panda", change)
    loaded = store.get("panda")
    assert loaded.payload == 0.7 and loaded.tcp["arm"].link == "panda_hand"
    again = store.add(panda)
    assert again.payload == 0.7  # declared as the user's
    assert again.tcp["arm"].link == "panda_grasptarget"  # not declared, analysed anew
    assert store.get("panda") == again


def test_a_changed_urdf_is_noticed(store, write):
    file = write('<link name="a"/>')
    robot = store.add(embodiment_from_urdf(file))
    assert store.get("r").warnings == robot.warnings
    file.write_text(file.read_text().replace('"a"', '"b"'))
    assert "has changed" in store.get("r").warnings[-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=99), "another schema"),
        (lambda d: d.pop("urdf"), "missing"),
        (lambda d: d["fields"].update(colour={"value": "red"}), "no such field"),
        (lambda d: d["fields"]["family"].update(value="fish"), "bimanual"),
        (lambda d: d["fields"]["limits"]["value"].update(panda_joint1={"lower": 1}), "limits"),
        (lambda d: d["fields"]["action_spaces"].update(value=["nonsense"]), "not an action space"),
    ],
)
def test_wrong_edits_are_told(store, panda, change, message):
    store.add(panda)
    edit(store, "panda", change)
    with pytest.raises(EmbodimentError) as caught:
        store.get("panda")
    assert message in str(caught.value)


def test_broken_yaml_is_told(store, panda):
    store.add(panda)
    (store.folder("panda") / "panda.embodiment.yaml").write_text("a: [")
    with pytest.raises(EmbodimentError, match="cannot read"):
        store.get("panda")


KILLED = """
import os, sys
from icl_vla_embodiments import home
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.embodiment import Embodiment
from pathlib import Path
store = EmbodimentStore(Path(sys.argv[1]))
robot = store.get("r")
replaces = 0
real = Path.replace
def replace(self, target):
    global replaces
    replaces += 1
    if replaces == int(sys.argv[2]):
        os._exit(9)
    return real(self, target)
Path.replace = replace
store.add(robot.with_(payload=2.0))
"""


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_killed_while_adding_leaves_a_whole_robot(store, write, tmp_path, moment):
    """Killed before any of the file moves of an update: the old or the new robot, never neither."""
    robot = embodiment_from_urdf(write('<link name="a"/>'), overrides={"payload": 1.0})
    store.add(robot)
    import icl_vla_embodiments

    path = str(next(iter(icl_vla_embodiments.__path__))).rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), str(moment)], env={"PYTHONPATH": path}
    )
    assert done.returncode == 9
    assert store.get("r").payload == 1.0
    assert store.names().count("r") == 1
