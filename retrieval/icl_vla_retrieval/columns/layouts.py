"""Which joints and grippers the numbers of a column may be: by name, and by usual orders."""

from __future__ import annotations

from icl_vla_embodiments.embodiment import Group
from icl_vla_embodiments.robot_model import RobotModel

from ..errors import DatasetError
from . import names
from .pool import REFERENCES, ROLES, Pool

GRIPPER = "gripper:"  # target of a number that is the gripper of the arm named after it
OTHER = "ignore"


def sliding(model: RobotModel, joint: str) -> bool:
    """Whether a joint slides rather than turns."""
    return (
        "P"
        in model.model.joints[model.model.getJointId(joint)]
        .shortname()
        .removeprefix("JointModel")[:1]
    )


def travelling(group: Group) -> list[int]:
    """Places of a gripper's joints that move when it opens."""
    ends = zip(group.closed, group.open, strict=True)
    return [i for i, (closed, opened) in enumerate(ends) if closed != opened]


def movable(model: RobotModel) -> list[str]:
    """Joints that a recording may name one by one: no wheels, no fingers of an arm's gripper."""
    robot = model.embodiment
    out = {j for g in robot.groups if g.kind == "wheel" for j in g.joints}
    out |= {j for g in robot.of_kind("gripper") if g.effector for j in g.joints}
    return [j for j in robot.joints if j not in out]


def layouts(model: RobotModel) -> list[tuple[str, ...]]:
    """Usual orders of a robot's joints and grippers in one vector, the most usual first."""
    robot = model.embodiment
    fingers = {j: g.effector for g in robot.of_kind("gripper") if g.effector for j in g.joints}
    carriers = [a.name for a in robot.arms if a.name in fingers.values()]
    last = {a.joints[-1]: GRIPPER + a.name for a in robot.arms if a.name in carriers}
    grips = [GRIPPER + name for name in carriers]
    single = [a.name for a in robot.arms if list(fingers.values()).count(a.name) == 1]
    wheels = {j for g in robot.groups if g.kind == "wheel" for j in g.joints}
    arms = {j for a in robot.arms for j in a.joints}
    out: list[tuple[str, ...]] = []
    for own in (set(robot.joints) - wheels, arms | {*fingers}):  # all of it, or its arms alone
        plain = [j for j in movable(model) if j in own]
        each = [t for j in plain for t in (j, *([last[j]] if j in last else []))]
        every = [j for j in robot.joints if j in own]
        named = [GRIPPER + fingers[j] if fingers.get(j) in single else j for j in every]
        out += [tuple(plain), tuple(each), (*plain, *grips), tuple(named)]
    return list(dict.fromkeys(out))


def targets_by_name(pool: Pool, column: str, model: RobotModel) -> dict[int, str]:
    """Place -> target, for numbers that a person or their names settle."""
    robot = model.embodiment
    slots = pool.slots(column)
    out: dict[int, str] = {}
    whole = pool.given.map.get(column, "")
    if "," in whole:
        listed = [w.strip() for w in whole.split(",")]
        if len(listed) != len(slots):
            raise DatasetError(
                f"{column!r} has {len(slots)} numbers",
                where="--map",
                value=whole,
                remedy="name what each of them is, separated by commas; 'ignore' for what is none",
            )
        out |= {i: target(word, model) for i, word in enumerate(listed)}
    elif whole and whole not in (*ROLES, *REFERENCES):
        if len(slots) > 1:
            raise DatasetError(
                f"{column!r} has {len(slots)} numbers",
                where="--map",
                value=whole,
                valid=[*ROLES, *REFERENCES],
                remedy=f"or name what each of them is: --map {column}=joint1,joint2,...",
            )
        out[0] = target(whole, model)
    for i, slot in enumerate(slots):
        told = pool.told("map", slot)
        if told and told != whole:
            out[i] = target(told, model)
    labels = list(pool.names[column])
    if not labels:
        return out
    for i, joint in names.joints(labels, robot).items():
        grips = next((g for g in robot.of_kind("gripper") if joint in g.joints), None)
        moving = [] if grips is None else [grips.joints[k] for k in travelling(grips)]
        alone = grips is not None and grips.effector and (joint not in moving or len(moving) == 1)
        out.setdefault(i, GRIPPER + grips.effector if grips and alone else joint)
    for i, label in enumerate(labels):
        if i in out:
            continue
        if arm := names.gripper(label, robot):
            out[i] = GRIPPER + arm
        elif set(names.words(label)) & names.OTHER or names.pose_part(label):
            out[i] = OTHER
    return out


def target(word: str, model: RobotModel) -> str:
    """A target as a person writes it: a joint, ``gripper`` (or its arm), ``ignore``."""
    robot = model.embodiment
    carriers = [g.effector for g in robot.of_kind("gripper") if g.effector]
    if word == OTHER:
        return OTHER
    for g in robot.of_kind("gripper"):
        if g.effector and (word in (g.name, g.effector) or (word,) == g.joints):
            return GRIPPER + g.effector
    if word == "gripper" and len(carriers) == 1:
        return GRIPPER + carriers[0]
    if word in robot.joints:
        return word
    raise DatasetError(
        "no such joint",
        where="--map",
        value=word,
        valid=[*robot.joints, *(g.name for g in robot.of_kind("gripper")), OTHER],
    )


def spoken(word: str, model: RobotModel) -> str:
    """Inverse of :func:`target`."""
    if not word.startswith(GRIPPER):
        return word
    arm = word.removeprefix(GRIPPER)
    found = model.embodiment.gripper_of(arm)
    return found.name if found else arm
