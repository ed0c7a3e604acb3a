"""Moving the tool by keys typed in a terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Mapping
from types import TracebackType

import numpy as np

from icl_vla_embodiments import Observation, ReportedError, TaskTarget, se3
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array

STEP, TURN = 0.01, 0.06  # [m], [rad] that one key press moves
AT_ONCE = 3  # presses that count in one period: a held key repeats faster than the robot moves
AXES: Mapping[str, tuple[int, int]] = {
    "w": (0, 1),
    "s": (0, -1),
    "a": (1, 1),
    "d": (1, -1),
    "r": (2, 1),
    "f": (2, -1),
    "u": (3, 1),
    "j": (3, -1),
    "i": (4, 1),
    "k": (4, -1),
    "q": (5, 1),
    "e": (5, -1),
}
"""Key -> which of x y z, turn about x y z (base axes), and its sign."""
GRIP, DONE, DISCARD = " ", "\n", "x"
HELP = (
    "w/s forward, back   a/d left, right   r/f up, down   q/e turn   u/j i/k tilt"
    "   space gripper   enter stop   x discard"
)


class Terminal:
    """Keys as they are pressed, without waiting for a line; a context manager.

    Raises:
        ReportedError: Standard input is no terminal.
    """

    def __enter__(self) -> Terminal:
        if not sys.stdin.isatty():
            raise ReportedError(
                "the keyboard operator needs a terminal",
                value="standard input is none",
                remedy="run the command in a terminal, or use --operator scripted",
            )
        self._fd = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)

    def read(self, wait: float = 0.0) -> str:
        """Keys pressed since, or within ``wait`` [s] the first one; may be empty."""
        ready, _, _ = select.select([self._fd], [], [], wait)
        if not ready:
            return ""
        keys = os.read(self._fd, 64)
        if not keys:
            raise ReportedError("the terminal was closed", remedy="what was kept is in the bank")
        return keys.decode(errors="ignore")

    def ask(self, keys: str) -> str:
        """Wait until one of ``keys`` is pressed."""
        while True:
            for key in self.read(wait=0.5):
                if key in keys:
                    return key


class KeyboardOperator:
    """A set-point that keys move, in real time.

    Args:
        model: Kinematics.
        effector: The arm.
        read: Returns the keys pressed since it was called last.
        period: Time of one step [s]; each call of :meth:`act` waits for its turn.
        watch: Called with each observation and the seconds since the start, for pictures and
            counters.

    Attributes:
        discarded: Whether the person stopped in order to throw the episode away.
    """

    def __init__(
        self,
        model: RobotModel,
        effector: str,
        read: Callable[[], str],
        period: float,
        watch: Callable[[Observation, float, int], None] = lambda *_: None,
    ) -> None:
        self.discarded = False
        self._model, self._effector, self._read, self._period = model, effector, read, period
        self._watch = watch
        self._setpoint: Array | None = None
        self._gripper = 1.0
        self._frames = 0
        self._due = time.monotonic()

    def act(self, observation: Observation) -> TaskTarget | None:
        """The set-point after what was pressed; None when the person stops."""
        if self._setpoint is None:
            assert observation.q is not None
            self._setpoint = self._model.poses(observation.q)[self._effector]
            self._gripper = round(observation.effectors[self._effector].gripper or 0.0)
        self._watch(observation, self._frames * self._period, self._frames)
        self._due += self._period
        time.sleep(max(0.0, self._due - time.monotonic()))
        self._due = max(self._due, time.monotonic() - self._period)  # do not hurry after a stall
        keys = self._read() if self._frames else ""  # an episode has at least one frame
        if DONE in keys or DISCARD in keys:
            self.discarded = DISCARD in keys
            return None
        if keys.count(GRIP) % 2:
            self._gripper = 1.0 - self._gripper
        self._setpoint = moved(self._setpoint, keys)
        self._frames += 1
        return TaskTarget(
            poses={self._effector: self._setpoint}, grippers={self._effector: self._gripper}
        )


def moved(T: Array, keys: str) -> Array:
    """A pose ``(4, 4)`` after key presses; turns are about the tool's place, in the base's axes."""
    presses = np.zeros(6)
    for key in keys:
        if key in AXES:
            axis, sign = AXES[key]
            presses[axis] += sign
    presses = np.clip(presses, -AT_ONCE, AT_ONCE)
    return se3.pose(se3.exp3(TURN * presses[3:]) @ T[:3, :3], T[:3, 3] + STEP * presses[:3])
