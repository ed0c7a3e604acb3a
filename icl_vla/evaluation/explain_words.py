"""One look of a run in sentences, and the whole run in a few stretches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from icl_vla_embodiments import Neighbour

from .explain import Account, Look

_HEARD = 0.005  # weight of a neighbour
_HALF_OPEN = 0.5
_AS_BEFORE = 0.1  # of an opening


def words(account: Account, step: int) -> list[str]:
    """One look in sentences."""
    look = account.looks[step]
    parts = (_other_way, _knocked, _led, _remembered, _weighed, _moved, _grip, _ended, _sure)
    said = [sentence for part in parts if (sentence := part(account, step, look))]
    return said or ["The policy tells nothing about this look."]


def _other_way(account: Account, step: int, look: Look) -> str:
    names = look.chunk.trace.get("other_way", ())
    if step or not names:
        return ""
    return (
        f"The demonstrations show that {_list(list(names))} run the other way than described;"
        " they are read so."
    )


def _knocked(account: Account, step: int, look: Look) -> str:
    cameras = look.chunk.trace.get("knocked", {})
    if step or not cameras:
        return ""
    where = [
        f"{name} is {1e3 * shift:.0f} mm and {np.degrees(turn):.1f} degrees"
        for name, (shift, turn) in cameras.items()
    ]
    return (
        f"Camera {_list(where)} from where it was calibrated, as the robot and the table show;"
        " pictures are taken to be from there."
    )


def _led(account: Account, step: int, look: Look) -> str:
    if not look.shares:
        return ""
    named = [f"{_the(what)} ({share:.0%})" for what, share in look.shares.items() if share > 0.1]
    return "The motion is carried over in the frames of " + _list(named[:3]) + "."


def _remembered(account: Account, step: int, look: Look) -> str:
    best = nearest(look)
    if not best:
        return ""
    if "clause" in look.chunk.trace:
        return (
            f'Nothing was shown. For "{look.chunk.trace["clause"]}" it remembers'
            f" {len(best)} demonstrations from training: {_phase(best):.0%} of the way through."
        )
    named = [f"{n.episode} at frame {n.step} ({n.weight:.0%})" for n in best[:3]]
    few = "" if len(best) <= 3 else f", and {len(best) - 3} more"
    return (
        f"It remembers demonstration{'' if len(named) == 1 else 's'} {_list(named)}{few}:"
        f" {_phase(best):.0%} of the way through the task."
    )


def _phase(best: Sequence[Neighbour]) -> float:
    return sum(n.weight * n.phase for n in best) / max(sum(n.weight for n in best), 1e-9)


def _weighed(account: Account, step: int, look: Look) -> str:
    trace = look.chunk.trace
    if "agreement" not in trace:
        return ""
    before = trace["agreement"]
    moved = sum(abs(s - before.get(f, 0.0)) for f, s in trace["frames"].items()) / 2
    sentence = f"What was learned moved {moved:.0%} of the weight away from where they agree most"
    if "correction" in trace:
        sentence += f", and shifts the places by up to {1000 * trace['correction']:.0f} mm"
    return sentence + "."


def _moved(account: Account, step: int, look: Look) -> str:
    e = look.effector
    if e is None or not len(look.chunk):
        return ""
    due, asked = look.due(), look.path()
    now = due <= account.until(step) + 1e-6
    if now.sum() < 2:
        return ""
    went = account.executed(e, due[now])
    off = np.linalg.norm(went - asked[now], axis=1)
    way = np.linalg.norm(np.diff(asked[now], axis=0), axis=1).sum()
    return (
        f"In the {due[now][-1] - due[0]:.1f} s until it looked again, {e} was asked to go"
        f" {1000 * way:.0f} mm and ended {1000 * off[-1]:.0f} mm from there"
        f" (at most {1000 * off.max():.0f} mm off on the way)."
    )


def _grip(account: Account, step: int, look: Look) -> str:
    asked, measured = look.opening, look.observation.effectors.get(look.effector or "")
    if asked is None or measured is None or measured.gripper is None:
        return ""
    before = account.looks[step - 1].opening if step else None
    before = measured.gripper if before is None else before
    how = f"closes to {asked:.0%}" if asked < before else f"opens to {asked:.0%}"
    if abs(asked - before) < _AS_BEFORE:
        how = f"keeps its opening of {asked:.0%}"
    return f"The gripper {how} (measured {measured.gripper:.0%})."


def _ended(account: Account, step: int, look: Look) -> str:
    missed = look.chunk.trace.get("missed", 0.0)
    if missed <= 0:
        return ""
    then = "it takes the task to be over all the same" if look.chunk.done else "it begins again"
    return (
        f"The motion has come to its end, but a thing is {1000 * missed:.0f} mm farther from its"
        f" place than it was shown: {then}."
    )


def _sure(account: Account, step: int, look: Look) -> str:
    said = []
    if look.confidence is not None:
        share = (
            "of left-out demonstrations that strayed as far as this attempt has"
            if look.chunk.done
            else "of a left-out demonstration's moments that lie as far from the others"
        )
        said.append(f"confidence {look.confidence:.2f}, the share {share}")
    if "right" in look.chunk.trace:
        said.append(f"{look.chunk.trace['right']:.0%} sure that they show this task")
    if look.chunk.done:
        said.append("takes the task to be over")
    sentence = "; ".join(said)
    return sentence[:1].upper() + sentence[1:] + ("." if said else "")


def nearest(look: Look) -> list[Neighbour]:
    """Neighbours that had a say, the weightiest first."""
    heard = [n for n in look.chunk.neighbours if n.weight > _HEARD]
    return sorted(heard, key=lambda n: -n.weight)


@dataclass(frozen=True)
class Stretch:
    """Looks in a row that were led by the same, with the gripper asked for alike.

    Attributes:
        first: Number of the first look.
        last: Of the last.
        begin: When it began [s].
        end: When the last look's answer was replaced [s].
        leader: What led.
        opening: Of the gripper, asked for on average; None where there is none.
        confidence: The least; None where nothing is told.
    """

    first: int
    last: int
    begin: float
    end: float
    leader: str
    opening: float | None
    confidence: float | None


def story(account: Account) -> list[Stretch]:
    """The whole run in a few stretches."""

    def alike(i: int) -> tuple[str, bool | None]:
        look = account.looks[i]
        return look.leader, None if look.opening is None else look.opening > _HALF_OPEN

    stretches = []
    for (leader, _), run in groupby(range(len(account.looks)), alike):
        rows = list(run)
        asked = [x for i in rows if (x := account.looks[i].opening) is not None]
        sure = [c for i in rows if (c := account.looks[i].confidence) is not None]
        stretches.append(
            Stretch(
                first=rows[0],
                last=rows[-1],
                begin=account.looks[rows[0]].observation.time,
                end=account.until(rows[-1]),
                leader=leader,
                opening=float(np.mean(asked)) if asked else None,
                confidence=min(sure, default=None),
            )
        )
    return stretches


def _the(what: str) -> str:
    return what if what.startswith("thing") else f"the {what}"


def _list(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]
