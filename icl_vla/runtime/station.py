"""A robot behind a driver, with everything that a policy needs to move it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from icl_vla_embodiments import Driver, Embodiment, Observation
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_wbc import ArmMpc

from ..perception.components import ComponentEncoder
from ..sim.workspace import Workspace
from .loop import PERIOD, Audit


@dataclass
class Station:
    """A robot, its controller and its eyes."""

    embodiment: Embodiment
    model: RobotModel
    workspace: Workspace
    driver: Driver
    controller: ArmMpc
    encoder: ComponentEncoder
    audit: Audit

    @classmethod
    def around(
        cls,
        embodiment: Embodiment,
        make_driver: Callable[[RobotModel, Workspace], Driver],
        **more: Any,
    ) -> Self:
        """Set up what follows from the embodiment; ``more`` are a subclass's own fields.

        Raises:
            ReportedError: The robot has no arm with a gripper that can work on a table.
        """
        model = RobotModel(embodiment)
        hulls = LinkHulls(embodiment)
        workspace = Workspace.of(model, hulls)
        return cls(
            embodiment=embodiment,
            model=model,
            workspace=workspace,
            driver=make_driver(model, workspace),
            controller=ArmMpc(model, workspace.effector, period=PERIOD),
            encoder=ComponentEncoder(model, hulls, reach=1.3 * workspace.far_corner()),
            audit=Audit.of(embodiment),
            **more,
        )

    def reset(self, seed: int) -> Observation:
        """The robot at its start, the controller at rest, a clean audit."""
        observation = self.driver.reset(seed)
        self.controller.reset(observation)
        self.audit = Audit.of(self.embodiment)
        return observation
