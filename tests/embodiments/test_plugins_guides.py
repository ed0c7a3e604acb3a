"""The guides for robot developers and vendors, done as a reader would do them."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LINK = """<link name="{0}"><inertial><mass value="1"/>
  <inertia ixx="0.01" iyy="0.01" izz="0.01" ixy="0" ixz="0" iyz="0"/></inertial>
  <visual><origin xyz="0 0 0.1"/><geometry><box size="0.05 0.05 0.2"/></geometry></visual></link>"""
JOINT = """<joint name="j{0}" type="revolute"><parent link="l{0}"/><child link="l{1}"/>
  <origin xyz="0 0 0.2"/><axis xyz="{2}"/>
  <limit lower="-2" upper="2" velocity="2" effort="20"/></joint>"""
AXES = ["0 0 1", "0 1 0", "0 1 0", "0 0 1", "0 1 0", "0 0 1"]


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A folder with my_robot.urdf, which is also the current one."""
    links = [LINK.format(f"l{i}") for i in range(7)]
    joints = [JOINT.format(i, i + 1, axis) for i, axis in enumerate(AXES)]
    text = "\n".join(['<robot name="my_robot">', *links, *joints, "</robot>"])
    (tmp_path / "my_robot.urdf").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICL_VLA_HOME", str(tmp_path / "home"))
    return tmp_path


def commands(page):
    lines = [line for block in blocks(page, "") for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("icl-vla ")]


def test_the_robot_developers_guide(reader, icl_vla, python):
    page = (ROOT / "docs/embodiments.md").read_text()
    typed = commands(page)
    assert [words[-2] for words in typed] == [
        "add-embodiment", "embodiments", "show", "describe", "remove"
    ]  # fmt: skip
    for words in typed:
        if words[-2] == "remove":
            file = reader / "home/embodiments/my_robot/my_robot.embodiment.yaml"
            written = yaml.safe_load(file.read_text())["fields"]
            (shown,) = blocks(page, "yaml")
            for field, entry in yaml.safe_load(shown).items():
                assert written[field] == entry
        done = icl_vla(reader / "home", *words)
        assert done.returncode == 0, done.stderr
    code = "\n".join(blocks(page, "python"))
    done = python(f"{code}\nprint(EmbodimentStore().get('my_robot').payload)")
    assert done.stdout.split() == ["0.5"], done.stderr
    table = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ", page, re.MULTILINE)
    fields = set(re.findall(r"`(\w+)`", " ".join(table)))
    assert len(fields) == 9 and fields <= written.keys()


def test_the_vendors_guide(reader, icl_vla):
    page = (ROOT / "docs/plugins.md").read_text()
    new, check, *installed = commands(page)
    assert new[:2] == ["plugins", "new"] and check[:2] == ["plugins", "check"]
    for words in (new, check):
        done = icl_vla(reader / "home", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    # what follows an installation is done in a clean environment by test_scaffold.py
    assert [words[:2] for words in installed] == [
        ["plugins", "list"], ["plugins", "check"], ["embodiments", "show"]
    ]  # fmt: skip
    for row in re.findall(r"^\| (`.+?) \| .+ \| .* \|$", page.split("## Conf")[0], re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", row):
            place = reader / "acme-arm" / (name if "/" in name or "." in name else "")
            assert name == "meshes/" or list(place.parent.glob(place.name)), name
