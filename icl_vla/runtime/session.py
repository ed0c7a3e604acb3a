"""A person records demonstrations: start, stop, keep or discard."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace

from icl_vla_embodiments import ActionSpace, Driver, Observation
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_retrieval import DemoBank

from .keyboard import HELP, KeyboardOperator, Terminal
from .live import LivePage
from .loop import Controller
from .record import record_episode


@dataclass
class Session:
    """One sitting at one robot.

    Attributes:
        driver: The robot, simulated or real.
        model: Kinematics.
        controller: Tracks the person's set-point.
        effector: The arm that is moved.
        space: What the commands are recorded as.
        bank: Where episodes go.
        instruction: What is shown.
        source: Goes into each episode's provenance.
        judge: Whether the task is done, where somebody can tell.
        seconds: Longest episode.
    """

    driver: Driver
    model: RobotModel
    controller: Controller
    effector: str
    space: ActionSpace
    bank: DemoBank
    instruction: str
    source: dict[str, str]
    judge: Callable[[], bool] | None = None
    seconds: float = 120.0

    def run(
        self,
        episodes: int,
        seed: int,
        terminal: Terminal,
        page: LivePage,
        say: Callable[[str], None],
    ) -> list[int]:
        """Record until so many episodes are kept or the person quits; the episodes' indices.

        Args:
            episodes: How many to keep.
            seed: Of the first scene; a discarded episode's scene is laid out again.
            terminal: Keys.
            page: Shows what the cameras see.
            say: Prints a line.
        """
        kept: list[int] = []
        thrown = 0
        say(f"pictures: {page.address}")
        say(HELP)
        while len(kept) < episodes:
            observation = self.driver.reset(seed + len(kept))
            self.controller.reset(observation)
            page.show(observation)
            say(f"episode {len(kept) + 1} of {episodes}, {thrown} discarded: enter starts, z quits")
            if terminal.ask("\nz") == "z":
                break
            index = self._one(seed + len(kept), terminal, page, say)
            if index is None:
                thrown += 1
            else:
                kept.append(index)
        say(f"{len(kept)} kept, {thrown} discarded")
        return kept

    def _one(
        self, seed: int, terminal: Terminal, page: LivePage, say: Callable[[str], None]
    ) -> int | None:
        """Record one episode; its index, or None where it was thrown away."""

        def watch(observation: Observation, seconds: float, frames: int) -> None:
            page.show(observation)
            if frames % round(self.space.rate) == 0:
                say(f"recording: {seconds:.0f} s, {frames} frames")

        operator = KeyboardOperator(
            self.model, self.effector, terminal.read, 1 / self.space.rate, watch
        )
        demonstration = record_episode(
            self.driver,
            self.model,
            self.controller,
            operator.act,
            self.space,
            instruction=self.instruction,
            embodiment=self.model.embodiment.name,
            seconds=self.driver.clock() + self.seconds,
            provenance={
                **self.source,
                "operator": "keyboard",
                "seed": seed,
                "recorded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            },
        )
        self.driver.stop()
        if operator.discarded:
            return None
        notes = dict(demonstration.provenance)
        if self.judge is not None:
            notes["success"] = self.judge()
            say("the judge says: " + ("done" if notes["success"] else "not done"))
        say(f"{len(demonstration)} frames: k keeps, x discards")
        if terminal.ask("kx") == "x":
            return None
        return self.bank.append(replace(demonstration, provenance=notes))
