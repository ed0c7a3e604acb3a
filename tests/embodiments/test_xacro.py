"""Macros are expanded without ROS; a file that is up to something is refused."""

import time

import pytest

from icl_vla_embodiments import UrdfError
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_embodiments.urdf.xacro import expand

HEAD = '<robot name="r" xmlns:xacro="http://www.ros.org/wiki/xacro">'
PART = f"""{HEAD}
  <xacro:macro name="segment" params="name parent length:=0.2 *origin">
    <link name="${{name}}"><visual><geometry><cylinder radius="0.02" length="${{length}}"/>
      </geometry></visual></link>
    <joint name="${{name}}_joint" type="revolute"><xacro:insert_block name="origin"/>
      <parent link="${{parent}}"/><child link="${{name}}"/><axis xyz="0 1 0"/>
      <limit lower="${{-pi/2}}" upper="${{radians(90)}}" velocity="1" effort="1"/></joint>
  </xacro:macro>
</robot>"""
ROBOT = f"""{HEAD}
  <xacro:arg name="segments" default="2"/>
  <xacro:include filename="$(find acme_parts)/urdf/part.xacro"/>
  <xacro:property name="lengths" value="${{xacro.load_yaml('../config/lengths.yaml')}}"/>
  <link name="base"/>
  <xacro:macro name="chain" params="parent count">
    <xacro:if value="${{count > 0}}">
      <xacro:segment name="s${{count}}" parent="${{parent}}" length="${{lengths.segment}}">
        <origin xyz="0 0 ${{lengths['segment']}}"/></xacro:segment>
      <xacro:chain parent="s${{count}}" count="${{count - 1}}"/>
    </xacro:if>
  </xacro:macro>
  <xacro:chain parent="base" count="$(arg segments)"/>
</robot>"""


@pytest.fixture
def workspace(tmp_path):
    """Two packages side by side, one of them in a folder of another name."""
    for folder, name in (("arm", "acme_arm"), ("parts", "acme_parts")):
        (tmp_path / folder / "urdf").mkdir(parents=True)
        (tmp_path / folder / "package.xml").write_text(f"<package><name>{name}</name></package>")
    (tmp_path / "parts/urdf/part.xacro").write_text(PART)
    (tmp_path / "arm/config").mkdir()
    (tmp_path / "arm/config/lengths.yaml").write_text("segment: 0.3")
    (tmp_path / "arm/urdf/arm.urdf.xacro").write_text(ROBOT)
    return tmp_path


def test_macros_arguments_packages_and_yaml(workspace):
    file = workspace / "arm/urdf/arm.urdf.xacro"
    robot = embodiment_from_urdf(file, xacro_arguments={"segments": "4"})
    assert robot.joints == tuple(f"s{i}_joint" for i in (4, 3, 2, 1))
    assert robot.limits["s1_joint"].upper == pytest.approx(1.5707963)
    assert 'xyz="0.0 0.0 0.3"' in robot.urdf and robot.name == "r"
    assert len(embodiment_from_urdf(file).joints) == 2


def test_given_package_comes_first(workspace, tmp_path):
    other = tmp_path / "elsewhere/mine"
    (other / "urdf").mkdir(parents=True)
    (other / "urdf/part.xacro").write_text(PART.replace("revolute", "prismatic"))
    file = workspace / "arm/urdf/arm.urdf.xacro"
    robot = embodiment_from_urdf(file, packages={"acme_parts": other})
    assert 'type="prismatic"' in robot.urdf


BOMB = '<!DOCTYPE robot [<!ENTITY a "aaaaaaaaaa">]>'
CASES = {
    "package": ('<xacro:include filename="$(find ghost)/a.xacro"/>', "--package ghost=FOLDER"),
    "argument": ('<link name="$(arg prefix)a"/>', "--xacro-arg prefix:=VALUE"),
    "macro": ("<xacro:ghost/>", "unknown macro name: xacro:ghost"),
    "property": ('<link name="${ghost}"/>', "ghost"),
    "file": ('<xacro:include filename="none.xacro"/>', "no such file"),
    "path": ('<xacro:include filename="../../../../etc/hostname"/>', "leads out of"),
    "absolute": ('<xacro:include filename="/etc/hostname"/>', "leads out of"),
    "yaml": ("<link name=\"${xacro.load_yaml('/etc/passwd')}\"/>", "leads out of"),
    "package path": ('<xacro:include filename="$(find ../..)/a.xacro"/>', "not found"),
    "bomb": ('<xacro:include filename="bomb.xacro"/>', "document type"),
    "escape": ('<link name="${(lambda: ().__class__)()}"/>', "may not use this name"),
    "eval": ('<link name="$(eval open)"/>', "open"),
    "recursion": (
        '<xacro:macro name="a" params="n"><xacro:a n="${n}"/></xacro:macro><xacro:a n="1"/>',
        "without end",
    ),
    "memory": ("<link name=\"${'a' * 10**10}\"/>", "memory"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path, case):
    body, message = CASES[case]
    folder = tmp_path / "acme" / "urdf"
    folder.mkdir(parents=True)
    (folder / "bomb.xacro").write_text(BOMB + f'{HEAD}<link name="&a;"/></robot>')
    file = folder / "r.xacro"
    file.write_text(f"{HEAD}{body}</robot>")
    with pytest.raises(UrdfError) as caught:
        embodiment_from_urdf(file)
    assert message in str(caught.value)
    assert str(folder) in caught.value.where or caught.value.where.startswith("--")
    assert not list(tmp_path.rglob("x"))


def test_unknown_arguments_are_told(workspace):
    with pytest.raises(UrdfError) as caught:
        expand(workspace / "arm/urdf/arm.urdf.xacro", {}, {"segment": "3"})
    assert caught.value.value == "segment" and caught.value.valid == ("segments",)


def test_endless_arithmetic_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("icl_vla_embodiments.urdf.xacro.SECONDS", 1)
    file = tmp_path / "r.xacro"
    file.write_text(f'{HEAD}<link name="${{len(str(9**9**8))}}"/></robot>')
    start = time.monotonic()
    with pytest.raises(UrdfError, match="do not come to an end"):
        expand(file, {}, {})
    assert time.monotonic() - start < 10


def test_a_plain_urdf_takes_no_arguments(write):
    with pytest.raises(UrdfError, match="no arguments"):
        embodiment_from_urdf(write('<link name="a"/>'), xacro_arguments={"a": "1"})
