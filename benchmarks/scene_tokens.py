"""How well encoders find and recognise things, on scenes of families that may be looked at.

Run ``OMP_NUM_THREADS=1 python benchmarks/scene_tokens.py EMBODIMENT [--tasks 4] [--rig pair]`` for
a robot that was added. Of every task two scenes are laid out in PyBullet and looked at. A token
belongs to the thing on which most of its cloud lies, an eye that knows all says which that is. Told
are the share of visible things that have a token, more than one, none, tokens on nothing, and how
often a thing that the instruction names is matched with itself between the two scenes: plain,
and with a look-alike (same colour and shape) in one of them.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from icl_vla.evaluation.artifacts import greyscale
from icl_vla.evaluation.rigs import RIGS
from icl_vla.evaluation.workplace import at_task, table_task
from icl_vla.perception.encoders import encoder_of
from icl_vla.perception.memory import match
from icl_vla.perception.tokens import Encoder, SceneTokens
from icl_vla.sim.families import NEARBY, TRAINED
from icl_vla.sim.workcell import Workcell
from icl_vla.training.stage import of_client
from icl_vla_embodiments import Observation, se3
from icl_vla_embodiments.home import home
from icl_vla_embodiments.types import Array

FIRST_TASK, FIRST_SEED = 800_001, 400_000  # for development; an evaluation has others
VISIBLE = 14  # [px] over all cameras
NEAR = 0.01  # [m] of a cloud's point to what is seen of a thing


@dataclass(frozen=True)
class Shown:
    """A scene: what a robot gets, and what is to be seen there.

    Attributes:
        observation: The robot's.
        surfaces: Visible thing -> points ``(P, 3)`` in the base frame [m].
        referents: Things that the instruction names.
        copied: Those of which there is a look-alike.
    """

    observation: Observation
    surfaces: dict[str, Array]
    referents: frozenset[str]
    copied: frozenset[str]


def shown(cell: Workcell, seed: int) -> Shown:
    """Lay out a scene of the cell's task."""
    observation = cell.driver.reset(seed)
    world, task = cell.driver.world, cell.task
    stage = of_client(world.client, range(world.client.getNumBodies()))
    names = {body: name for name, body in world.bodies.items()}
    assert observation.q is not None and observation.T_world_base is not None
    links = cell.model.link_poses(observation.q)
    surfaces = defaultdict(list)
    for camera in world.scene.cameras.values():
        if camera.link:
            camera = camera.carried(observation.T_world_base @ links[camera.link])
        K, T = camera.intrinsics, camera.T_world_camera
        picture = stage.photograph(K, T, camera.height, camera.width)
        v, u = np.nonzero(picture.depth)
        rays = np.stack([u, v, np.ones_like(u)], axis=1) @ np.linalg.inv(K).T
        points = se3.act(
            se3.inverse(observation.T_world_base) @ T, rays * picture.depth[v, u][:, None]
        )
        body = np.array([p.body for p in stage.props])[picture.instance[v, u]]
        for b, name in names.items():
            surfaces[name].append(points[body == b])
    seen = {n: np.concatenate(p) for n, p in surfaces.items()}
    looks = {o.name: (o.color, o.shape) for o in world.scene.objects}
    referents = frozenset(task.named) & set(looks)  # type: ignore[union-attr]
    twins = {r for r in referents if list(looks.values()).count(looks[r]) > 1}
    return Shown(
        observation,
        {n: p for n, p in seen.items() if len(p) >= VISIBLE},
        referents,
        frozenset(twins),
    )


def colourless(scene: Shown) -> Shown:
    """The same without colours."""
    rng = np.random.default_rng(0)
    cameras = {
        n: replace(c, rgb=greyscale(c.rgb[None], 5, rng)[0])
        for n, c in scene.observation.cameras.items()
        if c.rgb is not None
    }
    return replace(scene, observation=replace(scene.observation, cameras=cameras))


def depthless(scene: Shown) -> Shown:
    """The same without measured depth."""
    cameras = {n: replace(c, depth=None) for n, c in scene.observation.cameras.items()}
    return replace(scene, observation=replace(scene.observation, cameras=cameras))


def owners(tokens: SceneTokens, scene: Shown) -> list[str]:
    """The thing of each token; empty where it is on none."""
    trees = {name: cKDTree(points) for name, points in scene.surfaces.items()}
    out = []
    for cloud in tokens.clouds:
        shares = {n: float((t.query(cloud)[0] < NEAR).mean()) for n, t in trees.items()}
        best = max(shares, key=lambda n: shares[n], default="")
        out.append(best if best and shares[best] > 0.3 else "")
    return out


@dataclass
class Count:
    """What was counted, by name: how often it was so, and how often it could have been."""

    tally: dict[str, list[int]]

    def add(self, name: str, hits: int, of: int) -> None:
        had = self.tally.setdefault(name, [0, 0])
        had[0], had[1] = had[0] + hits, had[1] + of

    def told(self) -> str:
        return "; ".join(
            f"{k} {100 * a / max(n, 1):.1f}% ({n})" for k, (a, n) in self.tally.items()
        )


def measure(encoder: Encoder, pairs: list[tuple[Shown, Shown]]) -> Count:
    """Count over pairs of scenes of one task."""
    count = Count({})
    begin = time.thread_time()
    tokens = [[encoder.encode(s.observation) for s in pair] for pair in pairs]
    spent = time.thread_time() - begin
    for pair, seen in zip(pairs, tokens, strict=True):
        on = [owners(t, s) for t, s in zip(seen, pair, strict=True)]
        for scene, names in zip(pair, on, strict=True):
            times = [names.count(n) for n in scene.surfaces]
            count.add("found", sum(t > 0 for t in times), len(times))
            count.add("doubled", sum(t > 1 for t in times), len(times))
            count.add("tokens on nothing", names.count(""), len(names))
        rows, columns = match(seen[0].features, seen[1].features)
        to = {on[0][i]: on[1][j] for i, j in zip(rows, columns, strict=True) if on[0][i]}
        for name in pair[0].referents & set(pair[0].surfaces) & set(pair[1].surfaces):
            hard = name in pair[0].copied | pair[1].copied
            count.add("look-alike" if hard else "plain", to.get(name) == name, 1)
    count.add("ms", round(10 * spent * 1e3 / (2 * len(pairs))), 1000)
    return count


def main() -> None:
    """Print a line for each encoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embodiment")
    parser.add_argument("--tasks", type=int, default=4, help="of each family")
    parser.add_argument("--family", nargs="*", choices=[*TRAINED, *NEARBY], default=list(TRAINED))
    parser.add_argument("--rig", choices=list(RIGS), default="pair")
    parser.add_argument(
        "--encoder", nargs="*", default=["components", "learned"], help="as `icl-vla run` takes it"
    )
    parser.add_argument("--grey", action="store_true", help="as cameras without colours see it")
    parser.add_argument("--no-depth", action="store_true", help="depth is guessed from colours")
    arguments = parser.parse_args()
    pairs = []
    for number in range(FIRST_TASK, FIRST_TASK + arguments.tasks):
        for family in arguments.family:
            cell = at_task(
                home(), arguments.embodiment, table_task(f"{family}:{number}"), arguments.rig
            )
            pairs.append((shown(cell, FIRST_SEED), shown(cell, FIRST_SEED + 1)))
    if arguments.grey:
        pairs = [(colourless(a), colourless(b)) for a, b in pairs]
    if arguments.no_depth:
        pairs = [(depthless(a), depthless(b)) for a, b in pairs]
    for name in arguments.encoder:
        encoder = encoder_of(name, cell.components)
        print(f"{name}, {arguments.rig}: {measure(encoder, pairs).told()}", flush=True)


if __name__ == "__main__":
    main()
