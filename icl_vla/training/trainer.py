"""The training loop: rounds of new examples and steps, which can be interrupted anywhere.

A round's examples and its batches follow from the recipe's seed, the round's number and the
network that acts in it, so a run that was cut off goes on from its last round and ends with the
same weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically

from ..policy.relational import IclVlaConfig, IclVlaPolicy
from .examples import Example, examples
from .losses import batch_of, losses
from .recipe import Recipe

_CHECK = 1_000_000  # seeds of examples that are only looked at
Progress = Callable[[str], None]
_State = dict[str, torch.Tensor]


def train(recipe: Recipe, folder: Path, progress: Progress | None = None) -> IclVlaPolicy:
    """Train, from the last finished round on, and write the checkpoint.

    Args:
        recipe: What is done.
        folder: For the checkpoint, the state, the log and the curves.
        progress: Called with a line after every round.

    Raises:
        ReportedError: The folder holds a run of another recipe.
    """
    torch.manual_seed(recipe.seed)
    config = IclVlaConfig(horizon=recipe.mixture.horizon, **recipe.network)
    network = IclVlaPolicy(config)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=recipe.rate, betas=(0.9, 0.98), weight_decay=recipe.decay
    )
    begun, actors = _resume(folder, recipe, network, optimiser)
    kept: dict[int, list[Example]] = {}
    unlike = replace(recipe.mixture, kept=0.2)
    check = list(islice(examples(unlike, recipe.seed + _CHECK), recipe.checks))
    log = _read_log(folder)[:begun]
    if not log:
        log.append({"round": 0, "steps": 0, **_measure(network, check)})
    for number in range(begun, recipe.rounds):
        actors[number] = deepcopy(network.state_dict())
        window = range(max(0, number - recipe.window + 1), number + 1)
        actors = {r: actors[r] for r in window}
        kept = {r: kept[r] if r in kept else _made(recipe, r, config, actors[r]) for r in window}
        pool = [e for r in sorted(kept) for e in kept[r]]
        parts = _round(network, optimiser, recipe, number, pool)
        log.append(
            {"round": number + 1, "steps": (number + 1) * recipe.steps,
             **{f"train {k}": v for k, v in parts.items()}, **_measure(network, check)}
        )  # fmt: skip
        _keep(folder, recipe, network, optimiser, actors, number + 1, log)
        if progress is not None:
            progress(f"place {log[-1]['place']:.3f} (vote {log[0]['place']:.3f})")
    network.eval()
    network.save_pretrained(folder / "checkpoint")
    return network


def _made(recipe: Recipe, number: int, config: IclVlaConfig, actor: _State) -> list[Example]:
    """A round's examples; the network as it was then acts in some."""
    network = IclVlaPolicy(config).eval()
    network.load_state_dict(actor)
    made = examples(recipe.mixture, recipe.seed * 100_000 + number, network)
    return list(islice(made, recipe.examples))


def _round(
    network: IclVlaPolicy,
    optimiser: torch.optim.Optimizer,
    recipe: Recipe,
    number: int,
    pool: list[Example],
) -> dict[str, float]:
    """One round of steps; mean of each part of the loss."""
    network.train()
    rng = np.random.default_rng([recipe.seed, number])
    sums: dict[str, float] = {}
    for i in range(recipe.steps):
        step = number * recipe.steps + i
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate * _schedule(step, recipe)
        m, wanted = batch_of([pool[j] for j in rng.integers(len(pool), size=recipe.batch)])
        parts = losses(m, network(**m), wanted)
        loss = torch.stack([recipe.losses[k] * v for k, v in parts.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        for k, v in parts.items():
            sums[k] = sums.get(k, 0.0) + float(v.detach())
    return {k: v / recipe.steps for k, v in sums.items()}


def _schedule(step: int, recipe: Recipe) -> float:
    cosine = 0.5 * (1 + np.cos(np.pi * step / recipe.total))
    return float(min(1.0, (step + 1) / max(recipe.warmup, 1)) * (0.02 + 0.98 * cosine))


def _measure(network: IclVlaPolicy, check: list[Example]) -> dict[str, float]:
    """Parts of the loss on examples that are not learned from."""
    network.eval()
    sums: dict[str, float] = {}
    with torch.inference_mode():
        for i in range(0, len(check), 50):
            m, wanted = batch_of(check[i : i + 50])
            for k, v in losses(m, network(**m), wanted).items():
                sums[k] = sums.get(k, 0.0) + float(v) * len(check[i : i + 50]) / len(check)
    return sums


def _keep(
    folder: Path,
    recipe: Recipe,
    network: IclVlaPolicy,
    optimiser: torch.optim.Optimizer,
    actors: dict[int, _State],
    done: int,
    log: list[dict[str, float]],
) -> None:
    """Everything that going on needs, then the log and the curves."""
    from io import BytesIO

    buffer = BytesIO()
    state = {
        "network": network.state_dict(), "optimiser": optimiser.state_dict(), "rounds": done,
        "actors": actors, "recipe": repr(recipe),
    }  # fmt: skip
    torch.save(state, buffer)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "log.jsonl", "".join(json.dumps(row) + "\n" for row in log))
    write_atomically(folder / "state.pt", buffer.getvalue())
    _draw(log, folder / "curves.png")


def _resume(
    folder: Path, recipe: Recipe, network: IclVlaPolicy, optimiser: torch.optim.Optimizer
) -> tuple[int, dict[int, _State]]:
    """Rounds that are done already, and the networks that acted in the last ones."""
    file = folder / "state.pt"
    if not file.exists():
        return 0, {}
    state = torch.load(file, weights_only=True)
    if state["recipe"] != repr(recipe):
        raise ReportedError(
            "this folder holds a run of another recipe",
            where=folder,
            remedy="choose another folder with --out, or delete this one",
        )
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["rounds"]), dict(state["actors"])


def _read_log(folder: Path) -> list[dict[str, float]]:
    file = folder / "log.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _draw(log: list[dict[str, float]], file: Path) -> None:
    """Each part of the loss over the steps, learned from and not."""
    from matplotlib.figure import Figure

    parts = ("place", "turn", "gripper", "done", "right")
    figure = Figure(figsize=(3 * len(parts), 2.6), layout="constrained")
    for axis, part in zip(figure.subplots(1, len(parts)), parts, strict=True):
        axis.plot([r["steps"] for r in log], [r[part] for r in log], label="new tasks")
        rows = log[1:]
        axis.plot(
            [r["steps"] for r in rows], [r[f"train {part}"] for r in rows], label="trained on"
        )
        axis.axhline(log[0][part], color="grey", lw=0.8, ls=":", label="vote without learning")
        axis.set_title(part)
        axis.set_xlabel("steps")
    figure.axes[0].legend(fontsize=7)
    figure.savefig(file, dpi=110)
