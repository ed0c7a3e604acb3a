"""A robot behind a driver, with everything that a policy needs to move it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from icl_vla_embodiments import Driver, Embodiment, Observation, ReportedError
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel

from ..perception.components import ComponentEncoder
from ..perception.encoders import encoder_of
from ..perception.tokens import Encoder
from ..sim.workspace import Workspace, hands, horizontal_reach
from .controllers import controller_for, rolls
from .loop import Audit, Controller
from .record import LONGEST


@dataclass
class Station:
    """A robot, its controller and its eyes.

    Attributes:
        components: The encoder without weights, for this robot and where it stands.
        encoder: The one that is looked with: the former, until :meth:`see_with` names another.
    """

    embodiment: Embodiment
    model: RobotModel
    effector: str
    driver: Driver
    controller: Controller
    components: ComponentEncoder
    audit: Audit
    encoder: Encoder = field(init=False)

    def __post_init__(self) -> None:
        self.encoder = self.components

    def see_with(self, encoder: str) -> None:
        """Go over to another encoder; see :func:`icl_vla.perception.encoders.encoder_of`.

        Raises:
            ReportedError: There is no encoder of this name.
        """
        self.encoder = encoder_of(encoder, self.components)

    @classmethod
    def around(cls, embodiment: Embodiment, make_driver: Callable[[RobotModel], Driver]) -> Self:
        """Set up what follows from the embodiment.

        A robot whose actions command its wheels is not bound to a patch of table: it needs no
        gripper, and sees as far as its arm reaches.

        Raises:
            ReportedError: The robot has no arm, or stands still and cannot work on a table.
        """
        model = RobotModel(embodiment)
        hulls = LinkHulls(embodiment)
        space = embodiment.action_space()
        if rolls(embodiment, space):
            if not embodiment.arms:
                raise ReportedError(
                    "policies move arms, and this robot has none", where=embodiment.name
                )
            effector = embodiment.arms[0].name
            reach = horizontal_reach(model, effector)
        else:
            workspace = Workspace.of(model, hulls)
            effector, reach = workspace.effector, workspace.far_corner()
        return cls(
            embodiment=embodiment,
            model=model,
            effector=effector,
            driver=make_driver(model),
            controller=controller_for(model, hands(embodiment) or effector, space, hulls),
            components=ComponentEncoder(model, hulls, reach=1.3 * reach),
            audit=Audit.of(embodiment),
        )

    @property
    def effectors(self) -> tuple[str, ...]:
        """All that the controller moves; :attr:`effector` alone where it does not say."""
        return tuple(getattr(self.controller, "effectors", (self.effector,)))

    @property
    def seconds(self) -> float:
        """Time [s] that an attempt or a demonstration may take."""
        return float(getattr(getattr(self, "task", None), "seconds", LONGEST))

    def reset(self, seed: int) -> Observation:
        """The robot at its start, the controller at rest, a clean audit."""
        observation = self.driver.reset(seed)
        self.controller.reset(observation)
        self.audit = Audit.of(self.embodiment)
        return observation
