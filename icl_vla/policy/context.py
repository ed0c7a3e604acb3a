"""Demonstrations as a policy reads them: motions beside tracked scene tokens, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from icl_vla_embodiments import ReportedError
from icl_vla_embodiments.home import write_atomically
from icl_vla_embodiments.types import Array
from icl_vla_retrieval import DemoBank, Demonstration, choose_instruction
from icl_vla_retrieval.keys import schema_slug

from ..perception.depth import depth_from_colour
from ..perception.memory import VERSION, tracked_tokens
from ..perception.tokens import Encoder
from .doing import Doing, Standing, cylindrical, dealt_with

Found = TypeVar("Found")
OPEN = 1.0
"""Opening of a hand that has nothing to open."""
_OUT = 0.1  # [m]


@dataclass(frozen=True)
class DemoContext:
    """One demonstration of ``T`` frames with ``M`` tokens, for one effector.

    Attributes:
        episode: Index in the bank.
        times: ``(T,)`` [s].
        tcp: ``(T, 4, 4)`` measured ``T_base_ee``.
        opening: ``(T,)`` measured gripper opening.
        commands: ``(T, 4, 4)`` commanded ``T_base_ee``; row t is due one step after frame t.
        gripper: ``(T,)`` commanded opening.
        tokens: ``(T, M, 3)`` tracked token positions.
        first: ``(M, 3)`` their positions when first seen.
        features: ``(M, F)``.
        clouds: ``(M, P, 3)`` their surfaces when first seen.
        hands: ``(T, h, 3)`` places of the robot's other hands that took part; None for none.
        middles: ``(T, M, 3)`` of what is seen of the tokens, which a lid that opens moves; None
            for the positions.
        ended: ``(M, P, 3)`` points by which they were last seen; None where nobody knows.
    """

    episode: int
    times: Array
    tcp: Array
    opening: Array
    commands: Array
    gripper: Array
    tokens: Array
    first: Array
    features: Array
    clouds: Array
    hands: Array | None = None
    middles: Array | None = None
    ended: Array | None = None

    def __len__(self) -> int:
        return len(self.tcp)

    @cached_property
    def seen_from_hand(self) -> Array:
        """Tokens, then other hands, by horizontal distance and height: ``(T, M + h, 2)``."""
        places = self.tokens
        if self.hands is not None:
            places = np.concatenate([places, self.hands], axis=1)
        return cylindrical(places - self.tcp[:, None, :3, 3])

    @cached_property
    def doing(self) -> Doing:
        """What the hand does at every frame."""
        return Doing.along(self.times, self.tcp[:, :3, 3], self.opening, self.gripper)

    @cached_property
    def past(self) -> Array:
        """What has been done to the tokens by every frame: ``(T, M, 2)``."""
        return dealt_with(self.shapes, self.first, self.tcp[:, :3, 3])

    @cached_property
    def longest_stand(self) -> float:
        """For how long the hand stands still at the most [s]."""
        hand = Standing()
        frames = zip(self.times, self.tcp, self.opening, strict=True)
        return max((hand.by(float(t), T, float(o)) for t, T, o in frames), default=0.0)

    @property
    def shapes(self) -> Array:
        """``(T, M, 3)`` middles of what is seen of the tokens."""
        return self.tokens if self.middles is None else self.middles

    def without_robot(self) -> DemoContext:
        """Without tokens that set out together with the hand, before it can hold anything.

        For pictures in which nobody has left the robot out. When the hand is first :data:`_OUT`
        from where it began, they have gone a third of that way or more. A hand that never gets
        there tells nothing.
        """
        way = self.tcp[:, :3, 3] - self.tcp[0, :3, 3]
        far = np.linalg.norm(way, axis=-1) > _OUT
        if not far.any():
            return self
        t = int(np.argmax(far))
        along = (self.tokens[t] - self.tokens[0]) @ way[t]
        others = along < (way[t] @ way[t]) / 3
        return replace(
            self,
            tokens=self.tokens[:, others],
            middles=self.shapes[:, others],
            first=self.first[others],
            features=self.features[others],
            clouds=self.clouds[others],
            ended=None if self.ended is None else self.ended[others],
        )


class Demonstrations(list[DemoContext]):
    """Those of one task for one effector, and what has been found out about them so far.

    What they tell of each other does not depend on now: found out before an attempt begins, it
    takes no time at the first look.
    """

    def __init__(self, contexts: Iterable[DemoContext]) -> None:
        super().__init__(contexts)
        self._found: dict[Hashable, Any] = {}

    def once(self, key: Hashable, find: Callable[[], Found]) -> Found:
        """What was found under a key; it is found now if it was not."""
        if key not in self._found:
            self._found[key] = find()
        found: Found = self._found[key]
        return found


def once(contexts: Sequence[DemoContext], key: Hashable, find: Callable[[], Found]) -> Found:
    """See :meth:`Demonstrations.once`; of other sequences nothing is kept."""
    return contexts.once(key, find) if isinstance(contexts, Demonstrations) else find()


def read_context(
    bank: DemoBank | Sequence[Demonstration],
    instruction: str,
    encoder: Encoder,
    effector: str,
    limit: int = 20,
) -> list[DemoContext]:
    """The demonstrations of an instruction, with tokens (cached beside a bank), for one effector.

    Other words for an instruction of the bank are understood (:func:`choose_instruction`).

    Raises:
        InstructionError: The bank knows no such instruction; the known ones are listed.
    """
    return read_hands(find_shown(bank, instruction, encoder, limit), encoder, (effector,))[effector]


@dataclass(frozen=True)
class Shown:
    """A demonstration that was chosen.

    Attributes:
        demonstration: The same.
        episode: Index in the bank.
        cache: Where its tokens are kept; None where there is no bank on disk.
    """

    demonstration: Demonstration
    episode: int
    cache: Path | None


def find_shown(
    bank: DemoBank | Sequence[Demonstration], instruction: str, encoder: Encoder, limit: int = 20
) -> list[Shown]:
    """The demonstrations of an instruction, the first ones; other words for it are understood.

    Raises:
        InstructionError: The bank knows no such instruction; the known ones are listed.
    """
    if isinstance(bank, DemoBank):
        episodes = bank.select(choose_instruction(instruction, bank.instructions))[:limit]
        return [Shown(bank[i], i, _cached(bank, i, encoder)) for i in episodes]
    meant = choose_instruction(instruction, list(dict.fromkeys(d.instruction for d in bank)))
    chosen = [i for i, d in enumerate(bank) if d.instruction == meant][:limit]
    return [Shown(bank[i], i, None) for i in chosen]


def read_hands(
    shown: Sequence[Shown], encoder: Encoder, effectors: Sequence[str]
) -> dict[str, list[DemoContext]]:
    """Demonstrations as each of several effectors saw them that moved in all of them.

    Raises:
        ReportedError: No effector moved in all of them.
    """
    each = [s.demonstration for s in shown]
    moved = [e for e in effectors if all(e in d.commands for d in each)]
    if shown and not moved:
        raise ReportedError(
            "the demonstrations have no hand in common that the robot has",
            where=each[0].instruction,
            value=sorted({e for d in each for e in d.commands}),
            valid=effectors,
        )
    hands: dict[str, list[DemoContext]] = {e: [] for e in moved}
    for d, s in zip(each, shown, strict=True):
        tokens = _tokens(d, encoder, s.cache)
        for e in moved:
            others = [d.poses[o][:, :3, 3] for o in moved if o != e]
            seen = np.stack(others, axis=1) if others else None
            hands[e].append(_context(d, s.episode, e, tokens, seen))
    return hands


def measures_depth(bank: DemoBank | Sequence[Demonstration]) -> bool:
    """Whether a camera of the demonstrations did, if there were any cameras."""
    if isinstance(bank, DemoBank):
        measured = [camera.depth for camera in bank.spec.cameras.values()]
    else:
        measured = [track.depths is not None for d in bank for track in d.cameras.values()]
    return any(measured) or not measured


def _cached(bank: DemoBank, episode: int, encoder: Encoder) -> Path:
    """Where an episode's tokens are kept; those of guessed depth beside those of measured."""
    folder, index = bank.source(episode)
    schema = f"{encoder.schema}/followed {VERSION}"
    if not measures_depth(bank):
        schema += f"/{depth_from_colour().schema}"
    tokens = folder / "icl_vla" / "tokens" / schema_slug(schema)
    return tokens / f"episode_{index:06d}.npz"


def _tokens(demonstration: Demonstration, encoder: Encoder, path: Path | None) -> dict[str, Array]:
    """An episode's tracked tokens, from the cache or into it."""
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    arrays = tracked_tokens(demonstration, encoder)
    if path is not None:
        write_atomically(path, _npz(arrays))
    return arrays


def _context(
    demonstration: Demonstration,
    episode: int,
    effector: str,
    tokens: dict[str, Array],
    hands: Array | None,
) -> DemoContext:
    if effector not in demonstration.poses:
        raise ReportedError(
            "a demonstration lacks the measured poses of a hand",
            where=f"{demonstration.instruction!r}, number {episode}",
            value=effector,
            valid=demonstration.poses,
            remedy="give them, or the robot's kinematics: Demonstration.from_arrays(poses=...,"
            " model=...)",
        )
    open_ = np.full(len(demonstration), OPEN)
    return DemoContext(
        episode=episode,
        times=demonstration.times,
        tcp=demonstration.poses[effector],
        opening=demonstration.grippers.get(effector, open_),
        commands=demonstration.commands[effector],
        gripper=demonstration.gripper_commands.get(effector, open_),
        hands=hands,
        **tokens,
    )


def index_episodes(bank: DemoBank, encoder: Encoder, effector: str, episodes: Sequence[int]) -> int:
    """Encode episodes ahead of their first use; returns how many were new."""
    fresh = [i for i in episodes if not _cached(bank, i, encoder).exists()]
    for i in fresh:
        _tokens(bank[i], encoder, _cached(bank, i, encoder))
    return len(fresh)


def copy_tokens(source: DemoBank, i: int, target: DemoBank, episode: int, encoder: Encoder) -> None:
    """Take over the tokens of a demonstration that shows the same in both banks, where known."""
    known, wanted = _cached(source, i, encoder), _cached(target, episode, encoder)
    if known.exists() and known.parent.name == wanted.parent.name:  # of the same depth
        write_atomically(wanted, known.read_bytes())


def _npz(arrays: dict[str, Array]) -> bytes:
    import io

    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
