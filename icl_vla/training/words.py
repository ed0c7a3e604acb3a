"""Training of what acts by words alone: the reader of instructions, and what is remembered.

The reader learns from the trained families' sentences, said in other ways, alone and joined. Then
demonstrations of each sense are recorded in simulation, and those that succeed are kept: the hand's
motion, and the places of the things named, as the scene encoder saw them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.store import EmbodimentStore
from icl_vla_embodiments.urdf import embodiment_from_urdf
from icl_vla_retrieval.text import BATCH

from ..perception.encoders import LEARNED, schema_of
from ..perception.memory import tracked_tokens
from ..policy.context import DemoContext
from ..policy.reader import Reader, ReaderConfig, piece_labels, text_encoder
from ..policy.recall import Hand, Recollections, Remembered
from ..processes import in_processes
from ..sim.families import draw
from ..sim.families.family import TableTask
from ..sim.operators import TRAINED as OPERATORS
from ..sim.recording import OPERATOR_SEED, record_in
from ..sim.workcell import Workcell
from .sentences import (
    SINGLE,
    Said,
    clause,
    count_senses,
    meant,
    named_things,
    single_tasks,
    together,
)
from .words_recipe import WordsRecipe

_TASKS = (1_000, 100_000)  # numbers of the families' tasks that sentences are made of
_JOINED = 0.25  # share of the sentences that ask for several things
KEEP = 100  # steps from one line of progress to the next
_NEAR = 0.06  # [m] over the table between a thing's middle and its token
_AT_ONCE = 256  # sentences
_FOLDS = 3  # of the wordings, one of which a reader does not read
_RARELY = 0.05  # quantile
_RECIPE = "recipe.json"
_TRIES = 3  # times as many demonstrations as are to be kept


@dataclass(frozen=True)
class Pieces:
    """``n`` sentences as the reader gets them, and what it should say.

    Attributes:
        states: ``(n, L, 384)`` float16.
        mask: ``(n, L)``.
        real: ``(n, L)`` pieces that stand for characters.
        begins: ``(n, L)`` where a clause begins.
        names: ``(n, L)`` which thing is named, from 1; 0 for none.
        sense: ``(n,)``; -1 for several clauses.
        wording: ``(n,)`` which of the sense's wordings.
    """

    states: Tensor
    mask: Tensor
    real: Tensor
    begins: Tensor
    names: Tensor
    sense: Tensor
    wording: Tensor

    def __getitem__(self, rows: Tensor) -> Pieces:
        longest = int(self.mask[rows].sum(dim=1).max())
        parts = (getattr(self, f)[rows] for f in self.__dataclass_fields__)
        return Pieces(*(x if x.ndim == 1 else x[:, :longest] for x in parts))


def sentences(rng: np.random.Generator, count: int) -> list[Said]:
    """Random ones: alone, or two or three in one."""

    def one() -> Said:
        family = SINGLE[int(rng.integers(len(SINGLE)))]
        return clause(rng, draw(family, int(rng.integers(*_TASKS))))

    return [
        together(rng, [one() for _ in range(int(rng.integers(2, 4)))])
        if rng.random() < _JOINED
        else one()
        for _ in range(count)
    ]


def pieces(said: Sequence[Said]) -> Pieces:
    """What the text encoder makes of sentences."""
    texts = [s.text for s in said]
    rows = [text_encoder().states(texts[i : i + BATCH]) for i in range(0, len(texts), BATCH)]
    longest = max(states.shape[1] for states, _, _ in rows)

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, (0,) * (2 * (x.ndim - 2)) + (0, longest - x.shape[1]))

    states, mask, places = (torch.cat([padded(row[i]) for row in rows]) for i in range(3))
    starts = places[..., 0]
    real = places[..., 1] > starts
    begins = torch.zeros(real.shape)
    for i, s in enumerate(said):
        begins[i] = torch.isin(starts[i], torch.tensor(s.begins, dtype=starts.dtype)) & real[i]
    names = np.stack([piece_labels(p.numpy(), s.things) for p, s in zip(places, said, strict=True)])
    sense, wording = (torch.tensor([getattr(s, f) for s in said]) for f in ("sense", "wording"))
    return Pieces(states.half(), mask, real, begins, torch.from_numpy(names), sense, wording)


def losses(reader: Reader, sharp: Tensor, batch: Pieces) -> dict[str, Tensor]:
    """Parts of the loss: where clauses begin, what names which thing, which clauses are alike."""
    begins, names, sense = reader(batch.states.float(), batch.mask)
    alone = batch.sense >= 0
    told = batch.real & alone[:, None]
    z, of = sense[alone], batch.sense[alone]
    same = of[:, None] == of[None]
    same.fill_diagonal_(False)
    likeness = (sharp.exp() * z @ z.T).fill_diagonal_(-1e4).log_softmax(dim=1)
    pairs = (likeness * same).sum(1) / same.sum(1).clamp(min=1)
    return {
        "begins": F.binary_cross_entropy_with_logits(
            begins[batch.real], batch.begins[batch.real], pos_weight=torch.tensor(5.0)
        ),
        "names": F.cross_entropy(names[told], batch.names[told]),
        "sense": -pairs[same.any(1)].mean(),
    }


def train(
    recipe: WordsRecipe,
    folder: Path,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> Recollections:
    """Learn to read, record what is to be remembered, and write ``checkpoint``.

    What is done already stands in ``state``: the reader, and the senses that are recorded.

    Args:
        recipe: What is done.
        folder: For the checkpoint and the state.
        workers: Processes that record.
        progress: Called with a line every :data:`KEEP` steps, and for each sense recorded.

    Raises:
        ReportedError: The robot's operators rarely succeed, or the folder holds a run of another
            recipe.
    """
    made = _resumed(recipe, folder)
    if made is None:
        data = pieces(sentences(np.random.default_rng(recipe.seed), recipe.sentences))
        reader = train_reader(recipe, data, progress)
        vectors = sense_vectors(reader, data).double().numpy()
        least = least_cosine(recipe, data)
        made = Recollections(reader, vectors, examples(), least, schema_of(LEARNED), ())
        made.save(folder / "state")
        write_atomically(folder / _RECIPE, json.dumps(asdict(recipe)) + "\n")
    with tempfile.TemporaryDirectory() as store:
        robot = EmbodimentStore(Path(store)).add(embodiment_from_urdf(_urdf(recipe.robot)))
        for sense in range(count_senses()):
            if all(d.sense != sense for d in made.demonstrations):
                kept = record(Path(store), robot.name, sense, recipe.demonstrations, workers)
                made = replace(made, demonstrations=(*made.demonstrations, *kept))
                made.save(folder / "state")
            if progress is not None:
                progress(made.examples[sense])
    made.save(folder / "checkpoint")
    return made


def _resumed(recipe: WordsRecipe, folder: Path) -> Recollections | None:
    """What an interrupted run has made so far.

    Raises:
        ReportedError: It was one of another recipe.
    """
    file = folder / _RECIPE
    if not file.exists():
        return None
    if json.loads(file.read_text()) != asdict(recipe):
        raise ReportedError(
            "this folder holds a run of another recipe",
            where=folder,
            remedy="choose another folder with --out, or delete this one",
        )
    return Recollections.load(folder / "state")


def train_reader(
    recipe: WordsRecipe, data: Pieces, progress: Callable[[str], None] | None = None
) -> Reader:
    """A reader of the sentences."""
    torch.manual_seed(recipe.seed)
    reader = Reader(ReaderConfig())
    sharp = torch.nn.Parameter(torch.tensor(np.log(10.0), dtype=torch.float32))
    optimiser = torch.optim.AdamW(
        [*reader.parameters(), sharp], recipe.rate, weight_decay=recipe.decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
    for step in range(recipe.steps):
        rng = np.random.default_rng([recipe.seed, step])
        rows = torch.from_numpy(rng.choice(len(data.sense), recipe.batch, replace=False))
        parts = losses(reader, sharp, data[rows])
        optimiser.zero_grad()
        torch.stack(list(parts.values())).sum().backward()
        optimiser.step()
        schedule.step()
        if progress is not None and (step + 1) % KEEP == 0:
            progress(", ".join(f"{k} {float(v.detach()):.3f}" for k, v in parts.items()))
    return reader.eval()


def sense_vectors(reader: Reader, data: Pieces) -> Tensor:
    """``(n, S)`` mean of the clauses of each sense that there is, of length 1."""
    z = _senses(reader, data)
    known = [i for i in data.sense.unique().tolist() if i >= 0]
    return F.normalize(torch.stack([z[data.sense == i].mean(0) for i in known]), dim=1)


def _senses(reader: Reader, data: Pieces) -> Tensor:
    """``(n, S)`` of the sentences."""
    with torch.inference_mode():
        rows = torch.arange(len(data.sense)).split(_AT_ONCE)
        batches = [data[r] for r in rows]
        return torch.cat([reader(b.states.float(), b.mask)[2] for b in batches])


def least_cosine(recipe: WordsRecipe, data: Pieces) -> float:
    """Cosine that clauses in wordings which a reader has not read nearly always reach."""
    brief, reached = replace(recipe, steps=recipe.steps // _FOLDS), []
    for fold in range(_FOLDS):
        unread = (data.sense >= 0) & (data.wording % _FOLDS == fold)
        read, rest = data[torch.nonzero(~unread)[:, 0]], data[torch.nonzero(unread)[:, 0]]
        reader = train_reader(brief, read)
        known = sense_vectors(reader, read)
        reached.append((_senses(reader, rest) @ known.T).max(dim=1).values)
    return float(torch.cat(reached).quantile(_RARELY))


def tasks_of(sense: int) -> Iterator[TableTask]:
    """Training tasks that are asked for in this sense."""
    return (task for task in single_tasks(range(*_TASKS)) if meant(task) == sense)


def remember(store: Path, robot: str, family: str, number: int, index: int) -> Remembered | None:
    """Record one demonstration of a task in this process; None where it fails.

    Args:
        store: Where the robot is kept.
        robot: Its name.
        family: Of the task.
        number: Of the task within its family.
        index: Of the scene, and of the operator's style.
    """
    cell, task = _cell(store, robot), draw(family, number)
    cell.lay_out(task, lambda seed: task.sample(cell.workspace, np.random.default_rng(seed)))
    observation = cell.reset(index)
    assert observation.T_world_base is not None
    to_base = se3.inverse(observation.T_world_base)
    world = cell.driver.world
    places = np.array([(to_base @ world.pose(r))[:3, 3] for r in named_things(task)])
    style = list(OPERATORS)[index % len(OPERATORS)]
    acting = task.operator(style, cell.workspace, np.random.default_rng([OPERATOR_SEED, index]))
    shown = record_in(cell, lambda o: acting.act(cell.driver, o), style, index)
    if not shown.provenance["success"]:
        return None
    seen = tracked_tokens(shown, cell.encoder)
    apart = np.linalg.norm(places[:, None, :2] - seen["first"][None, :, :2], axis=-1)
    rows = apart.argmin(axis=1) if len(seen["first"]) else np.zeros(0, dtype=int)
    found = len(set(rows.tolist())) == len(places)
    if not found or apart.min(axis=1).max() > _NEAR:
        return None
    e = cell.effector
    motion = DemoContext(
        episode=0,
        times=shown.times,
        tcp=shown.poses[e],
        opening=shown.grippers[e],
        commands=shown.commands[e],
        gripper=shown.gripper_commands[e],
        tokens=seen["tokens"][:, rows],
        first=seen["first"][rows],
        features=np.zeros((len(rows), 0)),
        clouds=seen["clouds"][rows],
    )
    assert cell.components.hulls is not None
    hand = Hand.of(cell.model, e, cell.components.hulls)
    looks = [task.roles[role].words for role in named_things(task)]
    return Remembered(meant(task), tuple(looks), hand.remembers(motion))


@lru_cache(maxsize=1)
def _cell(store: Path, robot: str) -> Workcell:
    cell = Workcell.build(EmbodimentStore(store), robot)
    cell.see_with(LEARNED)
    return cell


def record(store: Path, robot: str, sense: int, count: int, workers: int) -> list[Remembered]:
    """The first successful demonstrations of a sense.

    Args:
        store: Where the robot is kept.
        robot: Its name.
        sense: Number.
        count: How many.
        workers: Processes.

    Raises:
        ReportedError: Too few succeed.
    """
    made: list[Remembered] = []
    jobs = [
        (store, robot, task.family, task.seed, i)
        for i, task in enumerate(islice(tasks_of(sense), _TRIES * count))
    ]
    for start in range(0, len(jobs), count):
        some = jobs[start : start + count]
        made += [m for m in in_processes(remember, some, workers) if m is not None]
        if len(made) >= count:
            return made[:count]
    raise ReportedError(
        "the operators rarely succeed",
        where=f"sense {sense}",
        value=len(made),
        valid=[f"{count} of {_TRIES * count}"],
    )


def _urdf(name: str) -> Path:
    import pybullet_data

    if not name:
        raise ReportedError(
            "a recipe for words names no robot that demonstrates",
            remedy="add a line `robot:` with a URDF, absolute or of pybullet_data",
        )
    file = Path(name)
    return file if file.exists() else Path(pybullet_data.getDataPath()) / name


def examples() -> tuple[str, ...]:
    """For each sense a sentence."""
    return tuple(next(tasks_of(i)).instruction for i in range(count_senses()))
