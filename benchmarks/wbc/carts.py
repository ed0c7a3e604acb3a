"""Small wheeled robots with an arm of six joints, written out as URDF."""

from __future__ import annotations

from pathlib import Path

from icl_vla_embodiments.robot_model import RobotModel

# joint, axis, offset from the parent [m], range [rad], length of the link along z [m]
ARM = (
    ("shoulder_pan", "0 0 1", "0.1 0 0.25", 2.9, 0.1),
    ("shoulder_lift", "0 1 0", "0 0 0.1", 1.8, 0.35),
    ("elbow", "0 1 0", "0 0 0.35", 2.4, 0.3),
    ("wrist_1", "0 1 0", "0 0 0.3", 2.0, 0.1),
    ("wrist_2", "0 0 1", "0 0 0.1", 2.9, 0.1),
    ("wrist_3", "0 1 0", "0 0 0.1", 2.9, 0.08),
)


def _link(name: str, shape: str, mass: float, at: str = "0 0 0", turned: str = "0 0 0") -> str:
    origin = f'<origin xyz="{at}" rpy="{turned}"/>'
    body = f"{origin}<geometry>{shape}</geometry>"
    i = 0.01 * mass
    return (
        f'<link name="{name}"><inertial>{origin}<mass value="{mass}"/>'
        f'<inertia ixx="{i}" iyy="{i}" izz="{i}" ixy="0" ixz="0" iyz="0"/></inertial>'
        f"<visual>{body}</visual><collision>{body}</collision></link>"
    )


def _joint(name: str, kind: str, parent: str, child: str, at: str, axis: str, limit: str) -> str:
    return (
        f'<joint name="{name}" type="{kind}"><origin xyz="{at}"/><parent link="{parent}"/>'
        f'<child link="{child}"/><axis xyz="{axis}"/>{limit}</joint>'
    )


def _wheel(name: str, parent: str, at: str) -> str:
    limit = '<limit effort="30" velocity="20"/>'
    shape = '<cylinder radius="0.1" length="0.04"/>'
    return _link(f"{name}_wheel", shape, 1.0, turned="1.5707963 0 0") + _joint(
        f"{name}_wheel_joint", "continuous", parent, f"{name}_wheel", at, "0 1 0", limit
    )


def cart(kind: str, folder: Path, arm: bool = True) -> RobotModel:
    """A cart: "differential", "holonomic" (on virtual joints) or "ackermann"."""
    parts = [_link("base_link", '<box size="0.6 0.36 0.15"/>', 25.0, at="0.1 0 0")]
    if kind == "holonomic":
        limit = '<limit lower="-99" upper="99" effort="1000" velocity="1"/>'
        chain = ["world", "along", "across", "base_link"]
        parts += [f'<link name="{name}"/>' for name in chain[:-1]]
        for i, (joint, axis) in enumerate((("x", "1 0 0"), ("y", "0 1 0"), ("yaw", "0 0 1"))):
            sort = "continuous" if joint == "yaw" else "prismatic"
            parts.append(_joint(joint, sort, chain[i], chain[i + 1], "0 0 0", axis, limit))
    else:
        parts += [_wheel("left", "base_link", "0 0.2 -0.05")]
        parts += [_wheel("right", "base_link", "0 -0.2 -0.05")]
    if kind == "differential":
        for name, x in (("front", "0.3"), ("back", "-0.15")):
            parts.append(_link(f"{name}_caster", '<sphere radius="0.02"/>', 0.1))
            at = f"{x} 0 -0.13"
            parts.append(
                _joint(f"{name}_c", "fixed", "base_link", f"{name}_caster", at, "1 0 0", "")
            )
    if kind == "ackermann":
        limit = '<limit lower="-0.7" upper="0.7" effort="30" velocity="6"/>'
        for side, y in (("left", "0.2"), ("right", "-0.2")):
            hinge = f"{side}_steering"
            parts.append(_link(hinge, '<box size="0.03 0.03 0.03"/>', 0.3))
            at = f"0.35 {y} -0.05"
            parts.append(
                _joint(f"{hinge}_joint", "revolute", "base_link", hinge, at, "0 0 1", limit)
            )
            parts.append(_wheel(f"front_{side}", hinge, "0 0 0"))
    if arm:
        parent = "base_link"
        for name, axis, at, end, length in ARM:
            shape = f'<cylinder radius="0.03" length="{length}"/>'
            limit = f'<limit lower="{-end}" upper="{end}" effort="120" velocity="2.5"/>'
            parts.append(_link(f"{name}_link", shape, 1.0, at=f"0 0 {length / 2}"))
            joint = f"{name}_joint"
            parts.append(_joint(joint, "revolute", parent, f"{name}_link", at, axis, limit))
            parent = f"{name}_link"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind}{'_arm' if arm else ''}.urdf"
    file.write_text(f'<robot name="{file.stem}">{"".join(parts)}</robot>')
    return RobotModel.from_urdf(file)
