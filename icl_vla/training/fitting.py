"""Steps of a network that learns from drawn pictures: logged, kept and gone on with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically

from .encoder_recipe import EncoderRecipe
from .views import Views, views

KEEP = 50  # steps from one saved state to the next
FRESH = 1_000_000  # added to the seed for pictures that nothing was learned from


class Learner(Protocol):
    """A module that tells what it gets wrong."""

    def losses(self, batch: Views) -> dict[str, Tensor]:
        """Parts of the loss, by name."""
        ...


def fit(
    recipe: EncoderRecipe,
    folder: Path,
    model: nn.Module,
    learner: Learner,
    weights: Mapping[str, float],
    progress: Callable[[str], None] | None = None,
) -> None:
    """Train, from the last saved state on.

    Args:
        recipe: What is done; a resumed run may have more stages.
        folder: For the state, the log and the curves.
        model: What is trained.
        learner: The same, as what tells its losses.
        weights: Of the parts of the loss.
        progress: Called with a line every :data:`KEEP` steps.

    Raises:
        ReportedError: The folder holds a run of another recipe.
    """
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=recipe.decay)
    begun, log = _resume(folder, recipe, model, optimiser)
    sums: dict[str, float] = {}
    for step in range(begun, recipe.total):
        stage, number = recipe.at(step)
        for group in optimiser.param_groups:
            group["lr"] = stage.rate_at(number)
        rng = np.random.default_rng([recipe.seed, step])
        batch = views(rng, recipe.pictures, recipe.robots, stage.scenes)
        parts = learner.losses(batch)
        loss = torch.stack([weights[k] * v for k, v in parts.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        for k, v in parts.items():
            sums[k] = sums.get(k, 0.0) + float(v.detach())
        if (step + 1) % KEEP == 0 or step + 1 == recipe.total:
            steps = step + 1 - (log[-1]["step"] if log else 0)
            log.append({"step": step + 1, **{k: round(v / steps, 4) for k, v in sums.items()}})
            sums = {}
            _keep(folder, recipe, model, optimiser, log)
            if progress is not None:
                progress(", ".join(f"{k} {log[-1][k]:.2f}" for k in weights))


def _draw(log: list[dict[str, float]], file: Path) -> None:
    """Each part of the loss over the steps."""
    from matplotlib.figure import Figure

    parts = [part for part in log[-1] if part != "step"]
    figure = Figure(figsize=(3 * len(parts), 2.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(parts)))
    for axis, part in zip(axes, parts, strict=True):
        axis.plot([r["step"] for r in log], [r[part] for r in log])
        axis.set_title(part)
        axis.set_xlabel("steps")
    figure.savefig(file, dpi=110)


def _keep(
    folder: Path,
    recipe: EncoderRecipe,
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    log: list[dict[str, float]],
) -> None:
    buffer = BytesIO()
    state = {
        "model": model.state_dict(), "optimiser": optimiser.state_dict(), "log": log,
        "recipe": asdict(recipe),
    }  # fmt: skip
    torch.save(state, buffer)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "state.pt", buffer.getvalue())
    write_atomically(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log))
    _draw(log, folder / "curves.png")


def _resume(
    folder: Path, recipe: EncoderRecipe, model: nn.Module, optimiser: torch.optim.Optimizer
) -> tuple[int, list[dict[str, float]]]:
    """Steps that are done already, and their log.

    Raises:
        ReportedError: They are those of another recipe.
    """
    file = folder / "state.pt"
    if not file.exists():
        return 0, []
    state: dict[str, Any] = torch.load(file, weights_only=True)
    if not recipe.continues(state["recipe"]):
        raise ReportedError(
            "this folder holds a run of another recipe",
            where=folder,
            remedy="choose another folder with --out, or delete this one",
        )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["log"][-1]["step"]), list(state["log"])
