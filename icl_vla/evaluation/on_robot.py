"""A policy on a robot behind a vendor's driver: nobody lays out scenes, and nobody judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from icl_vla_embodiments import ActionChunk, Embodiment, Observation, PluginError
from icl_vla_embodiments.home import write_atomically
from icl_vla_retrieval import DemoBank

from ..paths import run_path
from ..perception.encoders import DEFAULT
from ..runtime.drivers import ReportingDriver
from ..runtime.station import Station
from ..runtime.weights import Weights
from .film import Picture, write_video
from .methods import find_method, folder_name

_RATE = 5  # [Hz] of films: one picture a chunk, about twice as fast as it was


def run_on_robot(
    base: Path,
    robot: Embodiment,
    bank: DemoBank,
    instruction: str,
    *,
    driver: str,
    method: str,
    seeds: Sequence[int],
    options: Sequence[str] = (),
    weights: Weights = "equal",
    encoder: str = DEFAULT,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """One method on a robot, once for each seed; the robot is stopped however that ends.

    Raises:
        UnknownName: No such driver or method.
        ReportedError: The options are not the driver's, or there is no such encoder.
        PluginError: The driver fails.
    """
    way = find_method(method)
    station = Station.around(robot, lambda _: ReportingDriver(driver, robot, options))
    station.see_with(encoder)
    folder = run_path(base, robot.name) / folder_name(driver, method, weights, encoder)
    episodes: list[dict[str, Any]] = []
    films = []
    knocked: dict[str, tuple[float, float]] = {}
    for seed in seeds:
        seen: list[Picture] = []
        try:
            _see(seen, station.reset(seed))
            outcome = way.run(station, bank, instruction, seed, _watcher(seen, knocked), weights)
        except BaseException:  # an interrupt, too, must not leave it moving
            with suppress(PluginError):
                station.driver.stop()
            raise
        if seen:
            films.append(folder / f"seed_{seed}" / "film.mp4")
            films[-1].parent.mkdir(parents=True, exist_ok=True)
            write_video(films[-1], seen, _RATE)
        audit = station.audit
        episodes.append(
            {
                "seed": seed,
                "ended": f"{outcome.reason} after {outcome.seconds:.1f} s",
                "limit_violations": audit.violations,
            }
        )
        if progress is not None:
            progress(f"{seed}: {episodes[-1]['ended']}")
    report = {
        "embodiment": robot.name,
        "instruction": instruction,
        "driver": driver,
        "driver_options": list(options),
        "weights": weights,
        "encoder": station.encoder.schema,
        "folder": str(folder),
        "judged": False,
        "ended": ", ".join(e["ended"] for e in episodes),
        "episodes": episodes,
        "knocked_cameras": {
            name: {"shift": round(shift, 4), "turn": round(turn, 4)}
            for name, (shift, turn) in knocked.items()
        },
        "pictures": [str(film) for film in films],
    }
    write_atomically(folder / "run.json", json.dumps(report, indent=2) + "\n")
    return report


def _watcher(
    seen: list[Picture], knocked: dict[str, tuple[float, float]]
) -> Callable[[Observation, ActionChunk], None]:
    def watch(observation: Observation, chunk: ActionChunk) -> None:
        _see(seen, observation)
        knocked.update(chunk.trace.get("knocked", {}))

    return watch


def _see(seen: list[Picture], observation: Observation) -> None:
    """Keep the first camera's picture."""
    for image in observation.cameras.values():
        if image.rgb is not None:
            seen.append(image.rgb)
            return
