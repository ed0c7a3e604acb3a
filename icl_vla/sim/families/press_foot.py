"""Press a button on the floor with a foot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icl_vla_embodiments.types import Array

from ..driver import PyBulletDriver
from ..fixtures import TRAVEL
from ..floor import Floor
from ..looks import Look
from ..operator import Stage
from ..rolling import MovingDriver
from ..scene import ObjectSpec
from ..workspace import Workspace
from .driven import DrivenTask, Where, floor_of, heading, on_floor, pose
from .family import Step, apart, draw_looks, spec_of

_RUN_UP = 0.35  # [m] before the place from which the foot presses
_OUT = 0.2  # [m] at least from the floor's middle, which the button is approached from
_UPRIGHT = 0.9  # cosine of the greatest tilt
_DWELL = 10  # steps on the button


class PressFoot(DrivenTask):
    """A named button is down, no other is, and the robot stands beside it."""

    family = "press_foot"

    def draw(self, rng: np.random.Generator) -> None:
        count = int(rng.integers(1, 3))
        looks = draw_looks(rng, (("button",),) * count)
        names = self.names(*(f"button{i}" for i in range(count)))
        self.button, self.spared = names[0], names[1:]
        self.roles = dict(zip(names, looks, strict=True))
        self.named = frozenset({self.button})
        words = looks[0].words
        self.say(
            rng,
            f"step on the {words}",
            f"press the {words} with a foot",
            f"put a foot on the {words} and leave it",
        )
        self.steps = (Step("drive", "button"), Step("step", "button", dwell=True))

    def size(self, role: str, look: Look, workspace: Workspace) -> tuple[float, float, float]:
        """Wide and flat, so that a walking robot can step on it."""
        x, y, z = super().size(role, look, workspace)
        return (1.2 * x, 1.2 * y, 0.25 * z) if look.shape == "button" else (x, y, z)

    def pushed(self) -> frozenset[str]:
        return frozenset({self.button})

    def clear(self, objects: Sequence[ObjectSpec]) -> bool:
        placed = {o.name: np.array(o.position[:2]) for o in objects}
        return bool(np.linalg.norm(placed[self.button]) > _OUT)

    def route(self, where: Where, floor: Floor) -> list[Array]:
        """Before the button, and where a front foot stands on it."""
        button = where(self.button)
        turn = heading(np.zeros(2), button)
        along = np.array([np.cos(turn), np.sin(turn)])
        foot = floor.feet[int(np.argmax(floor.feet @ [1.0, 0.1]))]  # the left one of the front
        on = button - np.array([[along[0], -along[1]], [along[1], along[0]]]) @ foot
        return [np.array([*(on - _RUN_UP * along), turn]), np.array([*on, turn])]

    def stages(self, workspace: Workspace, rng: np.random.Generator) -> list[Stage]:
        floor = floor_of(workspace)

        def place(index: int, driver: PyBulletDriver) -> Array:
            return pose(self.route(on_floor(driver), floor)[index])

        def before(driver: PyBulletDriver) -> Array:
            return place(0, driver)

        def on(driver: PyBulletDriver) -> Array:
            return place(1, driver)

        def done(driver: PyBulletDriver) -> bool:
            return self.down(driver, self.button)

        begin = Stage(before, 1.0, tolerance=0.04)
        again = Stage(before, 1.0, tolerance=0.04, unless=done)
        step = Stage(on, 1.0, straight=True, speed=0.6, dwell=_DWELL, unless=done)
        away = Stage(before, 1.0, straight=True)
        return [begin, step, away, again, step, away, again, step, away]

    def down(self, driver: PyBulletDriver, name: str) -> bool:
        """Whether a button is pressed: nine tenths of the way or more."""
        return bool(driver.world.joint(name) >= 0.9 * TRAVEL * spec_of(driver, name).size[2])

    def succeeded(self, driver: PyBulletDriver) -> bool:
        """The named button alone is down, the robot has left it and stands upright."""
        assert isinstance(driver, MovingDriver)
        upright = driver.base()[0][2, 2] > _UPRIGHT
        pressed = self.down(driver, self.button) and apart(driver, self.button)
        return bool(upright and pressed and not any(self.down(driver, n) for n in self.spared))
