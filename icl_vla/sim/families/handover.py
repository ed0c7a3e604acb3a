"""Hand a bar from one hand to the other in the air, and lay it where only the other one reaches."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from icl_vla_embodiments import ReportedError, se2, se3
from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..looks import Look
from ..operator import Stage, upright_yaw
from ..scene import ObjectSpec
from ..task import place_apart
from ..workspace import Workspace
from .family import EVERYWHERE, Step, TableTask, apart, draw_looks, spec_of
from .motions import Goal, Hand, half_turn

_TOLERANCE = np.deg2rad(10)
_FAST = 1.5  # of the usual speed, far above the table
_BACK = 0.02  # [m] at most that the hands meet away from the usual place


class Handover(TableTask):
    """Named bars, one or two, lie on the lines beyond the reach of the hand they were next to.

    A single bar has another one beside it. Both hands are those of one robot.
    """

    family = "handover"
    seconds = 60.0

    def draw(self, rng: np.random.Generator) -> None:
        looks = draw_looks(rng, (("bar",), ("bar",), ("line",), ("line",)))
        bars, lines = self.names("bar", "other bar"), self.names("line", "other line")
        self.roles = dict(zip((*bars, *lines), looks, strict=True))
        self.both = bool(rng.random() < 0.5)
        self.passes = tuple(zip(bars, lines, strict=True))[: 2 if self.both else 1]
        self.named = frozenset(name for pair in self.passes for name in pair)
        self.backwards = bool(rng.random() < 0.5)  # from the second hand to the first
        what, where = looks[0].words, looks[2].words
        if self.both:
            what_2, where_2 = looks[1].words, looks[3].words
            self.say(
                rng,
                f"hand the {what} and the {what_2} to your other hand and lay them on the {where}"
                f" and the {where_2}",
                f"pass two bars from hand to hand: the {what} to the {where}, then the {what_2}"
                f" to the {where_2}",
                f"with one hand give the other the {what} for the {where} and the {what_2} for"
                f" the {where_2}",
            )
        else:
            self.say(
                rng,
                f"hand the {what} to your other hand and lay it on the {where}",
                f"pass the {what} from one hand to the other, and put it down along the {where}",
                f"take the {what} with one hand, give it to the other, and lay it on the {where}",
            )
        one = (
            Step("grasp", "bar", (-0.5, 0.0, 0.0), closed=True),
            Step("pass", "bar", (0.5, 0.0, 0.0), closed=True),
            Step("place", "line", closed=True),
        )
        self.steps = one * len(self.passes)

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        """Long enough for two hands; the usual bar's width."""
        length = workspace.between + 0.6 * workspace.aperture
        thick = 0.4 * workspace.aperture
        if look.shape == "bar":
            return (length, thick, thick)
        if look.shape == "line":
            return (1.1 * length, 0.5 * thick, 0.001)
        return super().size(role, look, workspace)

    def sides(self, workspace: Workspace) -> tuple[Workspace, Workspace]:
        """Where things come from, and where they go.

        Raises:
            ReportedError: The robot has no two hands that meet.
        """
        if workspace.partner is None:
            raise ReportedError(
                "a handover needs two arms with grippers, each with a patch of table that the"
                " other does not reach",
                where=self.name,
                value=workspace.effector,
            )
        pair = (workspace, workspace.partner)
        return (pair[1], pair[0]) if self.backwards else pair

    def _objects(self, workspace: Workspace, rng: np.random.Generator) -> list[ObjectSpec]:
        """Bars on one side, lines on the other, distractors on both."""
        sides = self.sides(workspace)
        things = [self._thing(role, look, workspace, rng) for role, look in self.roles.items()]
        others = self._others(workspace, rng)
        placed: list[ObjectSpec] = []
        for side, shape, rest in zip(
            sides, ("bar", "line"), (others[::2], others[1::2]), strict=True
        ):
            named = [t for t in things if t.shape == shape]
            zones = [EVERYWHERE] * len(named + rest)
            placed += place_apart(side, rng, [*named, *rest], zones, self.gap, len(named))
        return placed

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """Each bar lies on its line, middle on middle to 1 cm, along it to 10 degrees, let go."""
        return all(self._lies(driver, bar, line) for bar, line in self.passes)

    def _lies(self, driver: PyBulletDriver, bar: str, line: str) -> bool:
        T, there = driver.world.pose(bar), driver.world.pose(line)
        off = half_turn(upright_yaw(T[:3, :3]) - upright_yaw(there[:3, :3]))
        return bool(
            np.linalg.norm((T - there)[:2, 3]) <= 0.01
            and abs(off) <= _TOLERANCE
            and abs(T[2, 3] - 0.5 * spec_of(driver, bar).size[2]) < 0.004
            and apart(driver, bar)
        )

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        giver, taker = self.sides(workspace)
        shift = np.array([*rng.uniform(-_BACK, _BACK, 2), 0.0])
        plans = [
            _Pass(
                giver,
                taker,
                bar,
                line,
                self.size(bar, self.roles[bar], workspace),
                workspace.between,
                shift,
            )
            for bar, line in self.passes
        ]
        return [stage for plan in plans for stage in plan.stages()]


@dataclass
class _Pass:
    """One bar's way from hand to hand.

    Attributes:
        giver: Where it comes from.
        taker: Where it goes.
        bar: Its name.
        line: The name of what it is laid on.
        size: Its edges [m].
        between: Distance of the hands that hold it [m].
        shift: ``(3,)`` of this plan's meeting place from the usual one [m].
        end: +1 or -1: the end of the bar's x axis at which the giver holds it; 0 before that.
    """

    giver: Workspace
    taker: Workspace
    bar: str
    line: str
    size: tuple[float, float, float]
    between: float
    shift: Array
    end: int = 0
    _first: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.giver.meeting is not None and self.taker.meeting is not None
        self.give, self.take = Hand(self.giver), Hand(self.taker)
        self.way = (self.taker.meeting - self.giver.meeting)[:3, 3]  # from hand to hand
        self.way = self.way / np.linalg.norm(self.way)

    def stages(self) -> list[Stage]:
        """The giver's and the taker's, each in order."""
        give, take = self.giver.effector, self.taker.effector
        low, high = 0.5 * self.size[2], 0.5 * self.giver.start_height
        opened, up = 1.0, np.array([0.0, 0.0, 1.0])
        clear = 1.2 * self.giver.aperture + 0.02  # [m] from a bar between the fingers to over it
        offered, taken, left = (f"{self.bar} {word}" for word in ("offered", "taken", "left"))
        meet = self._meet(self.giver)
        aside = self._meet(self.taker, clear * up)

        def gives(goal: Goal, gripper: float, **rest: object) -> Stage:
            return Stage(goal, gripper, effector=give, **rest)  # type: ignore[arg-type]

        def takes(goal: Goal, gripper: float, **rest: object) -> Stage:
            return Stage(goal, gripper, effector=take, **rest)  # type: ignore[arg-type]

        return [
            gives(self._over(high), opened, speed=_FAST),
            gives(self._over(low), opened, tolerance=0.006, dwell=1),
            gives(self._kept("grasp", give, 0.0), 0.0, tolerance=0.02, dwell=5),
            gives(self._kept("grasp", give, high), 0.0, tolerance=0.03),
            gives(meet, 0.0, tolerance=0.01, dwell=1, speed=_FAST, name=offered),
            gives(meet, opened, tolerance=0.02, dwell=4, after=taken),
            gives(
                self._meet(self.giver, clear * up), opened, tolerance=0.01, straight=True, name=left
            ),
            takes(aside, opened, speed=_FAST),
            takes(self._free_end, opened, tolerance=0.006, dwell=1, straight=True, after=offered),
            takes(self._kept("take", take, 0.0), 0.0, tolerance=0.02, dwell=5, name=taken),
            takes(self._onto(high), 0.0, tolerance=0.01, speed=_FAST, after=left),
            takes(self._onto(0.002), 0.0, tolerance=0.004, dwell=2, speed=0.7),
            takes(self._kept("put", take, 0.0), opened, tolerance=0.02, dwell=4),
            takes(self._kept("put", take, high), opened, tolerance=0.03),
        ]

    def _meet(self, hand: Workspace, by: Array | float = 0.0) -> Goal:
        assert hand.meeting is not None
        T = hand.meeting.copy()
        T[:3, 3] += self.shift + by
        return lambda driver: T

    def _kept(self, key: str, effector: str, above: float) -> Goal:
        """Where the hand was asked to be when this was first asked for, or above that [m]."""

        def goal(driver: PyBulletDriver) -> Array:
            if key not in self._first:
                self._first[key] = driver.tool(effector)
            T = self._first[key].copy()
            T[2, 3] += above
            return T

        return goal

    def _over(self, height: float) -> Goal:
        """Above the end that leaves the other one to the taker, the hand square to the bar."""

        def goal(driver: PyBulletDriver) -> Array:
            T = driver.world.pose(self.bar)
            along = T[:2, 0] / np.linalg.norm(T[:2, 0])
            usual = self._usual(self.giver)
            if not self.end:
                turns = {e: self._turn(self.way, -e * along) for e in (1, -1)}
                self.end = min(turns, key=lambda e: abs(se2.wrap(turns[e] - usual)))
            yaw = self._turn(self.way, -self.end * along)
            assert self.giver.meeting is not None
            R = se3.yaw(yaw) @ self.giver.meeting[:3, :3]
            self.give.stay_clear(driver, 0.5 * self.size[2])
            place = T[:2, 3] + 0.5 * self.end * self.between * along
            return se3.pose(R, [*place, height + self.give.extra])

        return goal

    def _free_end(self, driver: PyBulletDriver) -> Array:
        """At the end that the giver does not hold, as the bar hangs."""
        assert self.taker.meeting is not None
        T = driver.world.pose(self.bar)
        yaw = self._turn(-self.way, self.end * T[:2, 0])
        place = T[:3, 3] - 0.5 * self.end * self.between * T[:3, 0]
        place[2] += self.take.extra
        return se3.pose(se3.yaw(yaw) @ self.taker.meeting[:3, :3], place)

    def _onto(self, height: float) -> Goal:
        """The bar above its line, its lowest edge at a height [m], as it lies in the hand."""

        def goal(driver: PyBulletDriver) -> Array:
            assert self.taker.meeting is not None
            hand, T = driver.tool(self.taker.effector), driver.world.pose(self.bar)
            line = driver.world.pose(self.line)
            upright = self.taker.meeting[:3, :3]
            held = upright @ hand[:3, :3].T  # from the world's axes to the upright hand's
            along = held @ T[:3, 0]
            usual = self._usual(self.taker)
            yaw = min(
                (self._turn(along, s * line[:2, 0]) for s in (1, -1)),
                key=lambda a: abs(se2.wrap(a - usual)),
            )
            R = se3.yaw(yaw)
            middle = R @ held @ (T[:3, 3] - hand[:3, 3])
            lowest = middle[2] - 0.5 * (self.size[0] * abs(along[2]) + self.size[2])
            return se3.pose(R @ upright, [*(line[:2, 3] - middle[:2]), height - lowest])

        return goal

    def _usual(self, hand: Workspace) -> float:
        """Yaw [rad] of a hand on its patch, from how it is turned at the meeting place."""
        assert hand.meeting is not None
        return upright_yaw(hand.grasp @ hand.meeting[:3, :3].T)

    @staticmethod
    def _turn(then: Array, now: Array) -> float:
        """Angle [rad] about the vertical from one horizontal direction to another."""
        return float(np.arctan2(now[1], now[0]) - np.arctan2(then[1], then[0]))
