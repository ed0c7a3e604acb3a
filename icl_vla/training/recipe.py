"""What a training run is: one YAML file, whatever is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from icl_vla_embodiments import ReportedError

from .encoder_recipe import DepthRecipe, EncoderRecipe, TrainingStage, Variety
from .examples import Mixture
from .programs import FAMILIES
from .words_recipe import WordsRecipe

KINDS = ("policy", "encoder", "depth", "words")
RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what comes out; the same recipe gives the same weights.

    Attributes:
        seed: Of everything random.
        rounds: Each makes new examples, then learns from those of the last rounds.
        steps: Of the optimiser in a round.
        examples: New ones in a round.
        window: Rounds whose examples are learned from.
        checks: Examples that are only looked at, after each round.
        batch: Examples a step.
        rate: Highest learning rate; it rises for ``warmup`` steps and falls like a cosine.
        decay: Of the weights.
        warmup: Steps.
        network: Of :class:`IclVlaConfig`.
        mixture: What examples are drawn from.
        losses: Weight of each part of the loss.
    """

    seed: int = 0
    rounds: int = 15
    steps: int = 100
    examples: int = 2000
    window: int = 8
    checks: int = 200
    batch: int = 64
    rate: float = 1.5e-3
    decay: float = 0.01
    warmup: int = 100
    network: Mapping[str, Any] = field(default_factory=dict)
    mixture: Mixture = field(default_factory=lambda: Mixture(dict.fromkeys(FAMILIES, 1.0)))
    losses: Mapping[str, float] = field(
        default_factory=lambda: {
            "place": 1.0, "turn": 20.0, "gripper": 4.0, "done": 0.3, "right": 0.3
        }
    )  # fmt: skip

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.rounds * self.steps


def read_recipe(source: str | Path) -> Recipe | EncoderRecipe | WordsRecipe:
    """A recipe from a YAML file, or a packaged one by its name; ``trains`` says of what.

    Raises:
        ReportedError: There is none, or it says something that no recipe knows.
    """
    file = Path(source)
    if not file.is_file():
        file = RECIPES / f"{source}.yaml"
    if not file.is_file():
        packaged = sorted(p.stem for p in RECIPES.glob("*.yaml"))
        raise ReportedError(
            "there is no such recipe", value=str(source), valid=[*packaged, "a YAML file"]
        )
    try:
        said = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise ReportedError("a recipe cannot be read", where=file, remedy=str(error)) from error
    kind = said.pop("trains", "policy") if isinstance(said, dict) else "policy"
    if kind not in KINDS:
        raise ReportedError(
            "a recipe trains something unknown", where=file, value=kind, valid=KINDS
        )
    if kind == "words":
        return WordsRecipe(**_known(said, WordsRecipe, file))
    if kind == "policy":
        return _of_policy(said, file)
    return _of_pictures(said, file, kind)


def _of_policy(said: Any, file: Path) -> Recipe:
    said = _known(said, Recipe, file)
    if "mixture" in said:
        said["mixture"] = Mixture(**_known(said["mixture"], Mixture, file))
        strange = set(said["mixture"].families) - set(FAMILIES)
        if strange:
            raise ReportedError(
                "a recipe names unknown families",
                where=file,
                value=sorted(strange),
                valid=list(FAMILIES),
            )
    return Recipe(**said)


def _of_pictures(said: Any, file: Path, kind: str) -> EncoderRecipe:
    from ..perception.depth_network import DepthConfig
    from ..perception.network import NetworkConfig

    made = DepthRecipe if kind == "depth" else EncoderRecipe
    said = _known(said, made, file)
    _known(said.get("network", {}), DepthConfig if kind == "depth" else NetworkConfig, file)
    stages = []
    for row in said.get("stages") or []:
        stage = _known(row, TrainingStage, file)
        scenes = _known(stage.pop("scenes", {}), Variety, file)
        if "sides" in scenes:
            scenes["sides"] = tuple(scenes["sides"])
        if not isinstance(stage.get("steps"), int) or stage["steps"] < 1:
            raise ReportedError(
                "a stage of training has no steps", where=file, value=row, valid=["steps: 1000"]
            )
        stages.append(TrainingStage(**stage, scenes=Variety(**scenes)))
    if not stages:
        raise ReportedError(
            "a recipe has no stages", where=file, remedy="add, say, stages: [{steps: 4000}]"
        )
    robots = tuple(said.get("robots") or ())
    return made(**{**said, "stages": tuple(stages), "robots": robots})


def _known(said: Any, kind: type, file: Path) -> dict[str, Any]:
    known = [f.name for f in fields(kind)]
    if not isinstance(said, dict) or set(said) - set(known):
        value = sorted(set(said) - set(known)) if isinstance(said, dict) else type(said).__name__
        raise ReportedError("a recipe says something unknown", where=file, value=value, valid=known)
    return dict(said)
