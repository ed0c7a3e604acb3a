"""Bad input is told with its place, and never hangs or ends in a traceback of ours."""

import numpy as np
import pinocchio as pin
import pytest

from icl_vla_embodiments import UrdfError
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_embodiments.urdf.read import MAX_BYTES

LINKS = '<link name="a"/><link name="b"/>'
JOINT = '<parent link="a"/><child link="b"/><axis xyz="0 0 1"/>'
LIMIT = '<limit lower="-1" upper="1" velocity="1" effort="1"/>'


def joint(body: str = JOINT + LIMIT, kind: str = "revolute", name: str = "j") -> str:
    return f'{LINKS}<joint name="{name}" type="{kind}">{body}</joint>'


BOMB = '<!DOCTYPE robot [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
FILES = {
    "empty": (b"", "empty"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "does not begin with XML"),
    "binary": (bytes(range(1, 256)), "does not begin with XML"),
    "syntax": (b'<robot name="r">\n<link name="a">\n</robot>', "line 3"),
    "cut off": (b'<robot name="r"><link name="a"/>', "XML syntax error"),
    "bomb": (f'{BOMB}<robot name="&b;"><link name="a"/></robot>'.encode(), "document type"),
    "root": (b'<sdf version="1.6"/>', "root element"),
    "encoding": (b'<?xml version="1.0" encoding="klingon"?><robot/>', "encoding"),
    "deep": (b"<robot>" + b"<a>" * 10_000, "nested"),
    "no links": (b'<robot name="r"/>', "no links"),
}
BODIES = {
    "no name": ("<link/>", "without a name"),
    "two links": ('<link name="a"/><link name="a"/>', "same name"),
    "two joints": (joint() + joint()[len(LINKS) :], "same name"),
    "ball": (joint(kind="spherical"), "three revolute"),
    "no type": (joint(kind=""), "unknown joint type"),
    "two roots": (LINKS, "roots: a, b"),
    "unknown parent": (joint('<parent link="x"/><child link="b"/>'), "does not exist"),
    "circle": (
        joint() + '<joint name="k" type="fixed"><parent link="b"/><child link="a"/></joint>',
        "circle",
    ),
    "island": (
        '<link name="z"/>'
        + joint()
        + '<joint name="k" type="fixed"><parent link="b"/><child link="a"/></joint>',
        "circle",
    ),
    "loop": (
        '<link name="c"/>'
        + joint()
        + '<joint name="k" type="fixed"><parent link="a"/><child link="c"/></joint>'
        + '<joint name="l" type="fixed"><parent link="c"/><child link="b"/></joint>',
        "hangs on two joints",
    ),
    "nan": (joint(JOINT + LIMIT.replace("-1", "nan")), "lower needs 1 finite number"),
    "inf": (joint(f'<origin xyz="0 inf 0"/>{JOINT}{LIMIT}'), "xyz needs 3 finite numbers"),
    "huge": (joint(f'<origin xyz="0 -1e300 0"/>{JOINT}{LIMIT}'), "absurdly large"),
    "words": (joint(f'<origin rpy="zero 0 0"/>{JOINT}{LIMIT}'), "rpy needs 3 finite numbers"),
    "too few": (joint(f'<origin xyz="0 1"/>{JOINT}{LIMIT}'), "xyz needs 3 finite numbers"),
    "axis": (joint(JOINT.replace("0 0 1", "0 0 0") + LIMIT), "axis is zero"),
    "macro": ('<xacro:include filename="x"/><link name="a"/>', "unbound prefix"),
    "expression": ('<link name="${prefix}a"/>', "'prefix' is not defined"),
    "self mimic": (joint(JOINT + LIMIT + '<mimic joint="j"/>'), "j -> j"),
    "shape": (
        '<link name="a"><visual><geometry><torus/></geometry></visual></link>',
        "unknown shape",
    ),
    "mass": (
        '<link name="a"><inertial><mass value="-1"/><inertia ixx="1"/></inertial></link>',
        "negative mass",
    ),
    "mesh": (
        '<link name="a"><visual><geometry><mesh filename="package://acme/arm.stl"/></geometry>'
        "</visual></link>",
        "--package acme=FOLDER",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_bad_files(tmp_path, case):
    data, message = FILES[case]
    (tmp_path / "bad.urdf").write_bytes(data)
    check(tmp_path / "bad.urdf", message)


@pytest.mark.parametrize("case", BODIES)
def test_bad_robots(write, case):
    body, message = BODIES[case]
    check(write(body), message)


def check(path, message):
    with pytest.raises(UrdfError) as caught:
        embodiment_from_urdf(path)
    assert message in str(caught.value)
    assert str(path) in caught.value.where


def test_no_file_and_folder(tmp_path):
    check(tmp_path / "none.urdf", "no such file")
    check(tmp_path, "not a file")


def test_huge_file(tmp_path):
    file = tmp_path / "huge.urdf"
    with file.open("wb") as handle:  # sparse
        handle.truncate(MAX_BYTES + 1)
    check(file, "too large")


def test_broken_mesh_is_told_and_survived(write, tmp_path):
    (tmp_path / "broken.stl").write_bytes(b"solid nothing")
    (tmp_path / "broken.dae").write_bytes(b"<COLLADA><oops></COLLADA>")
    part = '<visual><geometry><mesh filename="{}"/></geometry></visual>'
    body = "".join(part.format(f"broken.{kind}") for kind in ("stl", "dae"))
    robot = embodiment_from_urdf(write(f'<link name="a">{body}</link>'))
    assert sum("broken." in w for w in robot.warnings) == 2


def test_missing_meshes_can_be_allowed(write):
    robot = embodiment_from_urdf(write(BODIES["mesh"][0]), allow_missing_meshes=True)
    assert "arm.stl" in robot.warnings[0]


def test_repairs(write):
    """What can be mended is mended, told, and accepted by Pinocchio."""
    body = f"""
    {LINKS}<link name="c"/><link name="d"/><link name="e"/>
    <joint name="swapped" type="revolute"><origin xyz="0, 0, 1"/>{JOINT}
      <limit lower="1" upper="-1" velocity="1" effort="1"/></joint>
    <joint name="long" type="prismatic"><parent link="b"/><child link="c"/>
      <axis xyz="0 0 2"/><limit lower="0" upper="0.1" velocity="1" effort="1"/></joint>
    <joint name="endless" type="revolute"><parent link="c"/><child link="d"/></joint>
    <joint name="placeholder" type="revolute"><parent link="d"/><child link="e"/>
      <limit lower="0" upper="0" velocity="0" effort="0"/></joint>"""
    robot = embodiment_from_urdf(write(body))
    told = "\n".join((*robot.repairs, *robot.warnings))
    for word in ("commas", "swapped", "unit vector", "continuous", "placeholder"):
        assert word in told
    model = pin.buildModelFromXML(robot.urdf)
    assert model.nv == 4 and model.nq == 5  # the endless joint has a cosine and a sine
    assert robot.limits["swapped"].lower == -1 and robot.limits["placeholder"].upper == np.pi
    assert np.isinf(robot.limits["endless"].upper)
    assert all(x.velocity > 0 and x.effort > 0 for x in robot.limits.values())


def test_a_follower_without_master(write):
    """It follows the one that is meant (its own prefix), or is driven by itself."""
    links = '<link name="a"/><link name="b"/><link name="c"/><link name="d"/>'
    body = links
    for i, (name, mimic) in enumerate((("l_one", ""), ("l_two", "one"), ("l_three", "ghost"))):
        follows = f'<mimic joint="{mimic}"/>' if mimic else ""
        body += f'''<joint name="{name}" type="revolute"><parent link="{"abc"[i]}"/>
            <child link="{"bcd"[i]}"/><axis xyz="0 0 1"/>{LIMIT}{follows}</joint>'''
    robot = embodiment_from_urdf(write(body))
    assert [(m.joint, m.master) for m in robot.mimic] == [("l_two", "l_one")]
    assert robot.joints == ("l_one", "l_three")
    assert sum("mimics" in r for r in robot.repairs) == 2


def test_limits_of_any_size_are_placeholders(write):
    limit = '<limit lower="-1e308" upper="1e308" velocity="1e308" effort="1e308"/>'
    for kind in ("revolute", "prismatic"):
        robot = embodiment_from_urdf(write(joint(JOINT + limit, kind)))
        found = robot.limits["j"]
        assert found.velocity < 100 and found.effort < 1000
        assert np.isinf(found.upper) if kind == "revolute" else found.upper == 1.0
        assert "limits" in robot.repairs[0]


def test_trailing_nul_bytes(tmp_path, data):
    file = tmp_path / "nul.urdf"
    file.write_bytes(b'\n<?xml version="1.0"?><robot name="r"><link name="a"/></robot>\n\0')
    assert len(embodiment_from_urdf(file).repairs) == 2


@pytest.mark.parametrize("seed", range(40))
def test_mutilated_files_never_crash(tmp_path, data, seed):
    """Random damage to a real file yields a robot or a UrdfError, nothing else."""
    rng = np.random.default_rng(seed)
    text = bytearray((data / "kuka_iiwa/model.urdf").read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        a = int(rng.integers(0, len(text) - 60))
        kind = rng.integers(3)
        if kind == 0:
            del text[a : a + int(rng.integers(1, 50))]
        elif kind == 1:
            text[a : a + 3] = rng.integers(32, 127, 3, dtype=np.uint8).tobytes()
        else:
            text[a:a] = text[a : a + int(rng.integers(1, 300))]
    (tmp_path / "r.urdf").write_bytes(bytes(text))
    try:
        robot = embodiment_from_urdf(tmp_path / "r.urdf", allow_missing_meshes=True)
    except UrdfError:
        return
    assert np.isfinite(robot.neutral_q).all()
