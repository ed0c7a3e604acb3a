"""An attempt by a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from icl_vla_embodiments import ActionChunk, Observation, ReportedError

from ....runtime.station import Station
from .moments import Eyes, Moments, poses

if TYPE_CHECKING:
    from .networks import ChunkPolicy


class LearnedEpisode:
    """Looks, lets the network answer, and says done when it does.

    Args:
        station: The robot.
        network: Trained.
        rate: Of the steps [Hz].
        effector: Name of the hand.
        seed: Of a flow's noise.
        told: What is read beside the moment, each ``(1, ...)``.
    """

    def __init__(
        self,
        station: Station,
        network: ChunkPolicy,
        rate: float,
        effector: str,
        seed: int,
        told: Moments | None = None,
    ) -> None:
        import torch

        self.station, self.network = station, network
        self.rate, self.effector, self.told = rate, effector, told or {}
        reference = network.reference.double().numpy() if network.design.ordered else None
        self.eyes = Eyes(station, network.design.sees, effector, reference)
        self.generator = torch.Generator().manual_seed(seed)

    def read(self, moment: Moments) -> Moments:
        """What the network gets; a method that retrieves adds to it here."""
        return moment | self.told

    def act(self, observation: Observation) -> ActionChunk:
        """The next steps.

        Raises:
            ReportedError: Joint positions or the gripper's opening are missing.
        """
        from .fitting import one_thread

        if not observation.has("q") or not observation.has(f"effectors.{self.effector}.gripper"):
            raise ReportedError(
                "the policy needs joint positions and the gripper's opening",
                value=f"observation at {observation.time:.2f} s",
            )
        with one_thread():
            moment, tcp = self.eyes.look(observation)
            motion, flags = self.network.act(self.read(moment), self.generator)
        asked = poses(motion[0].double().numpy(), tcp)
        opening, ended = flags[0].double().numpy().T
        return ActionChunk.from_poses(
            observation.time,
            1 / self.rate,
            {self.effector: tcp},
            {self.effector: asked},
            grippers={self.effector: np.where(opening > 0.5, 1.0, 0.0)},
            done=bool(ended[0] > 0.5),
        )
