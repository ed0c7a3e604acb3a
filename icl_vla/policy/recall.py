"""What the policy remembers of its training: demonstrations of trained tasks, found by words.

Where nothing is demonstrated, remembered demonstrations stand in. Of each are kept the hand's
motion and the places of the things that its instruction named; which things of the present scene
take their parts, words decide (:mod:`.by_words`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from icl_vla_embodiments import ReportedError, se3
from icl_vla_embodiments.geometry import LinkHulls
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.robot_model import RobotModel
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import InstructionError

from ..sim.workspace import closing_of, pointing_down, tips_of
from .context import DemoContext
from .reader import Clause, Reader, ReaderConfig

DEFAULT = Path(__file__).with_name("checkpoints") / "words"
_SERIES = ("times", "opening", "gripper")
_POSES = ("tcp", "commands")


@dataclass(frozen=True)
class Hand:
    """What makes one robot's hand move like another's.

    Attributes:
        down: ``R_base_ee`` ``(3, 3)`` with the tool pointing down, fingers closing along y.
        aperture: How wide the fingers open [m]; lengths are remembered in these.
        tips: How far they reach beyond the tool centre point, closed and open [m].
    """

    down: Array
    aperture: float
    tips: tuple[float, float]

    @classmethod
    def of(cls, model: RobotModel, effector: str, hulls: LinkHulls) -> Hand:
        """Of an arm with a gripper.

        Raises:
            ReportedError: It carries none, or one whose fingers do not move.
        """
        if model.embodiment.gripper_of(effector) is None:
            raise ReportedError(
                "what is remembered was done by a gripper, and this hand carries none",
                where=model.embodiment.name,
                value=effector,
                remedy="show the task",
            )
        closing, aperture = closing_of(model, effector, hulls)
        return cls(pointing_down(closing), aperture, tips_of(model, effector, hulls))

    def remembers(self, motion: DemoContext) -> DemoContext:
        """A motion of this hand as it is kept: of its fingertips, from ``down``, in apertures."""
        return _scaled(self._shifted(motion, 1), self.down.T, 1 / self.aperture)

    def repeats(self, motion: DemoContext) -> DemoContext:
        """A motion that is kept, as this hand makes it."""
        return self._shifted(_scaled(motion, self.down, self.aperture), -1)

    def _shifted(self, motion: DemoContext, sign: int) -> DemoContext:
        """From the tool centre point to the fingertips, or with -1 back."""
        closed, opened = self.tips
        poses = {}
        for name, opening in (("tcp", motion.opening), ("commands", motion.gripper)):
            reach = np.outer(closed + opening * (opened - closed), [0.0, 0.0, sign])
            poses[name] = getattr(motion, name) @ se3.pose(p=reach)
        return replace(motion, **poses)


def _scaled(motion: DemoContext, R: Array, scale: float) -> DemoContext:
    """With the hand's axes turned by ``R``, and all lengths scaled."""
    turn = se3.pose(R)
    poses = {n: getattr(motion, n) @ turn for n in _POSES}
    for T in poses.values():
        T[:, :3, 3] *= scale
    lengths = {n: scale * getattr(motion, n) for n in ("tokens", "first", "clouds")}
    return replace(motion, **poses, **lengths)


@dataclass(frozen=True)
class Remembered:
    """One demonstration of a trained task.

    Attributes:
        sense: Number of what was asked for.
        things: What its things were called.
        motion: As :meth:`Hand.remembers` it, with one token for each thing; features are blank.
    """

    sense: int
    things: tuple[str, ...]
    motion: DemoContext


@dataclass(frozen=True)
class Recalled:
    """What one clause brings to mind.

    Attributes:
        clause: As it was read.
        motions: Demonstrations of the same sense, as they are kept.
        familiar: Cosine of the clause's sense with theirs.
    """

    clause: Clause
    motions: tuple[DemoContext, ...]
    familiar: float


@dataclass(frozen=True)
class Recollections:
    """All that is remembered.

    Attributes:
        reader: Reads instructions.
        senses: ``(n, S)`` each of length 1.
        examples: For each sense, a sentence.
        least: Cosine below which a clause is of no known sense.
        encoder: Schema of the scene tokens that motions were seen with.
        demonstrations: Of all senses.
    """

    reader: Reader
    senses: Array
    examples: tuple[str, ...]
    least: float
    encoder: str
    demonstrations: tuple[Remembered, ...]

    def recall(self, instruction: str) -> list[Recalled]:
        """Demonstrations for each clause of an instruction.

        Raises:
            InstructionError: A clause is like nothing that is remembered; the nearest are listed.
        """
        return [self._of(clause, instruction) for clause in self.reader.read(instruction)]

    def _of(self, clause: Clause, instruction: str) -> Recalled:
        cosine = self.senses @ clause.sense
        best = int(np.argmax(cosine))
        alike = [d for d in self.demonstrations if d.sense == best]
        parts = len(alike[0].things)
        if cosine[best] < self.least or len(clause.things) != parts:
            order = np.argsort(-cosine, kind="stable")[:5]
            raise InstructionError(
                "nothing was demonstrated, and what is asked for is like nothing that was learned",
                where=instruction,
                value=clause.words,
                valid=[self.examples[i] for i in order],
                remedy="say it otherwise, or show it: `icl-vla demos record`",
            )
        return Recalled(clause, tuple(d.motion for d in alike), float(cosine[best]))

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``, ``memory.npz`` and ``config.json``."""
        from safetensors.torch import save

        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.contiguous() for k, v in self.reader.state_dict().items()}
        write_atomically(folder / "model.safetensors", save(state))
        buffer = BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, senses=self.senses, **self._arrays())
        write_atomically(folder / "memory.npz", buffer.getvalue())
        config = {
            "reader": asdict(self.reader.config),
            "examples": self.examples,
            "least": self.least,
            "encoder": self.encoder,
            "demonstrations": [
                {"sense": d.sense, "things": d.things, "frames": len(d.motion)}
                for d in self.demonstrations
            ],
        }
        write_atomically(folder / "config.json", json.dumps(config, indent=1) + "\n")

    def _arrays(self) -> dict[str, Array]:
        """All demonstrations' one after the other; poses as places and rotation vectors."""
        motions = [d.motion for d in self.demonstrations]
        if not motions:
            return {}
        arrays = {n: np.concatenate([getattr(m, n) for m in motions]) for n in _SERIES}
        for n in _POSES:
            T = np.concatenate([getattr(m, n) for m in motions])
            arrays[n] = np.concatenate([T[:, :3, 3], se3.log3(T[:, :3, :3])], axis=1)
        arrays["tokens"] = np.concatenate([m.tokens.reshape(-1, 3) for m in motions])
        arrays["clouds"] = np.concatenate([m.clouds for m in motions])
        arrays["first"] = np.concatenate([m.first for m in motions])
        return {n: a.astype(np.float32) for n, a in arrays.items()}

    @classmethod
    def load(cls, folder: Path = DEFAULT) -> Recollections:
        """Read what :meth:`save` has written; once a process, as long as it stays as it is.

        Raises:
            ReportedError: There is no such folder.
        """
        file = folder / "config.json"
        return _load(folder, file.stat().st_mtime_ns if file.exists() else 0)


@lru_cache(maxsize=2)
def _load(folder: Path, changed: int) -> Recollections:
    from safetensors.torch import load

    try:
        config = json.loads((folder / "config.json").read_text())
        reader = Reader(ReaderConfig(**config["reader"]))
        reader.load_state_dict(load((folder / "model.safetensors").read_bytes()))
        with np.load(folder / "memory.npz", allow_pickle=False) as stored:
            arrays = {n: np.asarray(stored[n], dtype=float) for n in stored.files}
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ReportedError(
            "what the policy remembers cannot be read",
            where=folder,
            value=str(error).split("\n")[0],
            valid=["a folder that `icl-vla train words` has written"],
        ) from error
    return Recollections(
        reader.eval(),
        arrays["senses"],
        tuple(config["examples"]),
        config["least"],
        config["encoder"],
        tuple(_motions(config["demonstrations"], arrays)),
    )


def _motions(rows: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array]) -> list[Remembered]:
    out, frame, place, thing = [], 0, 0, 0
    for number, row in enumerate(rows):
        things: tuple[str, ...] = tuple(row["things"])
        T, M = int(row["frames"]), len(things)
        now, mine = slice(frame, frame + T), slice(thing, thing + M)
        series = {n: arrays[n][now] for n in _SERIES}
        poses = {n: se3.pose(se3.exp3(arrays[n][now, 3:]), arrays[n][now, :3]) for n in _POSES}
        motion = DemoContext(
            episode=number,
            tokens=arrays["tokens"][place : place + T * M].reshape(T, M, 3),
            first=arrays["first"][mine],
            features=np.zeros((M, 0)),
            clouds=arrays["clouds"][mine],
            **series,
            **poses,
        )
        out.append(Remembered(int(row["sense"]), things, motion))
        frame, place, thing = frame + T, place + T * M, thing + M
    return out
