"""Questions to a person about a robot, and what the answers change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from icl_vla_embodiments import Embodiment, Flag, ReportedError
from icl_vla_embodiments.embodiment import Base, Family
from icl_vla_embodiments.urdf.normalise import tree_of_text

FORMS: Mapping[str, str] = {
    "arms": "first to last joint, commas between arms, or none",
    "ee": "a link for each arm, in order",
    "gripper": "its joints, or none",
    "feet": "links, or none",
    "wheels": "joints, or none",
}


class Questions:
    """Asks each flag of a robot; the guess is the default."""

    def __init__(self, robot: Embodiment) -> None:
        self.robot = robot
        self.tree = tree_of_text(robot.urdf, robot.urdf_path)

    def ask(self, flags: tuple[Flag, ...]) -> dict[str, Any]:
        """Overrides that the answers amount to; an answer that cannot be is asked again."""
        import typer

        from . import output

        given: dict[str, Any] = {}
        for flag in flags:
            output.console.print(f"  [yellow]?[/] {flag.question}", soft_wrap=True)
            while True:
                answer = typer.prompt(f"    {self._label(flag)}", default=flag.guess)
                try:
                    change = self.overrides(flag, answer.strip())
                except ReportedError as error:
                    output.show_error(error)
                    continue
                break
            for field, value in change.items():
                old = given.get(field)
                given[field] = {**old, **value} if isinstance(old, dict) else value
        return given

    def _label(self, flag: Flag) -> str:
        if flag.field == "family":
            return f"family ({', '.join(get_args(Family))})"
        if flag.field == "base":
            return f"base ({', '.join(get_args(Base))})"
        return f"{flag.field} ({FORMS[flag.field]})"

    def overrides(self, flag: Flag, answer: str) -> dict[str, Any]:
        """What one answer changes, as ``embodiment_from_urdf`` takes it.

        Raises:
            ReportedError: No such value, joint or link.
        """
        if flag.field in ("family", "base"):
            valid = get_args(Family if flag.field == "family" else Base)
            return {flag.field: _one_of(answer, valid, flag.field)}
        if answer == flag.guess:
            return {"groups": {}}
        words = [] if answer == "none" else [w.strip() for w in answer.split(",") if w.strip()]
        change = {
            "arms": self._arms,
            "ee": self._tips,
            "gripper": self._gripper,
            "feet": self._feet,
            "wheels": self._wheels,
        }[flag.field]
        return {"groups": change(words)}

    def _drop(self, *kinds: str) -> dict[str, Any]:
        return {g.name: None for g in self.robot.groups if g.kind in kinds}

    def _arms(self, words: list[str]) -> dict[str, Any]:
        groups = self._drop("arm")
        for i, word in enumerate(words):
            first, _, last = (part.strip() for part in word.partition(" to "))
            name = "arm" if len(words) == 1 else f"arm_{i + 1}"
            groups[name] = {"kind": "arm", "joints": self._chain(first, last or first)}
        return groups

    def _tips(self, words: list[str]) -> dict[str, Any]:
        arms = self.robot.arms
        if len(words) != len(arms):
            raise ReportedError("a link for each arm is needed", value=", ".join(words))
        links = [_one_of(w, self.tree.links, "link") for w in words]
        return {a.name: {"tip_link": link} for a, link in zip(arms, links, strict=True)}

    def _gripper(self, words: list[str]) -> dict[str, Any]:
        groups = self._drop("gripper", "hand")
        joints = [_one_of(w, self.robot.joints, "joint") for w in words]
        for arm in self.robot.arms:  # what grips is no longer the arm's
            rest = [j for j in arm.joints if j not in joints]
            if len(rest) < len(arm.joints):
                groups[arm.name] = {"joints": rest}
        carriers: dict[str, list[str]] = {}
        for joint in joints:
            carriers.setdefault(self._carrier(joint), []).append(joint)
        for arm_name, own in carriers.items():
            side = arm_name.removesuffix("arm").rstrip("_")
            name = f"{side}_gripper" if side else "gripper"
            groups[name] = {"kind": "gripper", "joints": own, "effector": arm_name}
        return groups

    def _carrier(self, joint: str) -> str:
        """The arm that a joint hangs on; empty where there is none."""
        above = {j.name for j in self.tree.chain(self.tree.joints[joint])}
        return next((a.name for a in self.robot.arms if above & {*a.joints}), "")

    def _feet(self, words: list[str]) -> dict[str, Any]:
        groups = self._drop("leg")
        for i, word in enumerate(words, 1):
            foot = _one_of(word, self.tree.links, "link")
            body = self.tree.body[foot]
            chain = [] if body == self.tree.root else self.tree.chain(self.tree.above[body])
            joints = [j.name for j in chain if j.mimic is None and j.name in self.robot.joints]
            groups[f"leg_{i}"] = {"kind": "leg", "joints": joints, "tip_link": foot}
            for arm in self.robot.arms:  # the same chain cannot be both
                if {*arm.joints} & {*joints}:
                    groups[arm.name] = None
        return groups

    def _wheels(self, words: list[str]) -> dict[str, Any]:
        groups = self._drop("wheel")
        for word in words:
            joint = _one_of(word, self.robot.joints, "joint")
            groups[joint] = {"kind": "wheel", "joints": [joint]}
        return groups

    def _chain(self, first: str, last: str) -> list[str]:
        for name in (first, last):
            _one_of(name, self.robot.joints, "joint")
        chain = [j.name for j in self.tree.chain(self.tree.joints[last])]
        if first not in chain:
            raise ReportedError(
                f"{first} does not lie before {last}", value=f"{first} to {last}", valid=chain
            )
        return [j for j in chain[chain.index(first) :] if j in self.robot.joints]


def _one_of(word: str, valid: Any, noun: str) -> str:
    if word not in valid:
        raise ReportedError(f"no such {noun}", value=word, valid=valid)
    return word
