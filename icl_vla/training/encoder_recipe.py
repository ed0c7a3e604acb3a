"""What a training run of the scene encoder is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_LAST = 0.25  # share of a stage in which the rate falls


@dataclass(frozen=True)
class Variety:
    """What makes scenes harder than things side by side in colour.

    Attributes:
        nested: Share of the collections with things in, on and held over hollow ones.
        grey: Share of those that are seen without colours, in all or in half of the pictures.
        held: Share of the pictures of an arm in which it holds something.
        moving: Share of the collections about things with parts that move; these stand elsewhere
            in each picture then.
        flat: Share of those about what lies on the table, or is painted on it.
        video: Share of the pictures that went through a video's compression.
        sides: Of the pictures [px]; a batch has one.
        least: Smaller pictures are enlarged to this [px], as they are before they are looked at.
    """

    nested: float = 0.0
    grey: float = 0.0
    held: float = 0.0
    moving: float = 0.0
    flat: float = 0.0
    video: float = 0.0
    sides: tuple[int, ...] = (96, 96, 128)
    least: int = 0


@dataclass(frozen=True)
class TrainingStage:
    """A stretch of training: the rate rises, stays, and falls to nothing over its last quarter.

    Attributes:
        steps: With one batch each.
        rate: Highest learning rate.
        warmup: Steps until then.
        scenes: What is shown.
    """

    steps: int
    rate: float = 2e-3
    warmup: int = 50
    scenes: Variety = field(default_factory=Variety)

    def rate_at(self, step: int) -> float:
        """Learning rate of one of its steps, counted from 0."""
        left = (self.steps - step) / (_LAST * self.steps)
        return self.rate * min(1.0, (step + 1) / max(self.warmup, 1), left)


@dataclass(frozen=True)
class EncoderRecipe:
    """Everything that decides what comes out; the same recipe gives the same weights.

    Attributes:
        seed: Of weights and pictures.
        pictures: Of a batch.
        decay: Of the weights.
        checks: Batches on which the features' scale is measured in the end.
        network: Of :class:`icl_vla.perception.network.NetworkConfig`.
        robots: Beside drawn ones; see :func:`.views.views`.
        stages: In turn.
    """

    seed: int = 0
    pictures: int = 16
    decay: float = 0.01
    checks: int = 20
    network: Mapping[str, Any] = field(default_factory=dict)
    robots: tuple[str, ...] = ()
    stages: tuple[TrainingStage, ...] = (TrainingStage(4000),)

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return sum(stage.steps for stage in self.stages)

    def continues(self, begun: Mapping[str, Any]) -> bool:
        """Whether a run that was begun with a recipe, as a dictionary, is the start of this one.

        It may have fewer stages.
        """
        mine = asdict(self)
        stages, theirs = mine.pop("stages"), begun["stages"]
        rest = {k: v for k, v in begun.items() if k != "stages"}
        return rest == mine and stages[: len(theirs)] == theirs

    def at(self, step: int) -> tuple[TrainingStage, int]:
        """The stage that a step of the run belongs to, and its number there."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise IndexError(step)


@dataclass(frozen=True)
class DepthRecipe(EncoderRecipe):
    """The same for the network that guesses depth."""
