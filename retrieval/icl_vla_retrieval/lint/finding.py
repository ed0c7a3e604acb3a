"""What lint finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    Attributes:
        kind: Name of the fault, one of :data:`icl_vla_retrieval.lint.KINDS`.
        episode: Index in the bank; None where the finding is about several together.
        frames: First and last frame that show it; None where all do.
        value: What was found, with its unit.
        remedy: What to do about it.
        drop: Frames that may be dropped without asking; :func:`fix` does it.
    """

    kind: str
    episode: int | None
    frames: tuple[int, int] | None
    value: str
    remedy: str
    drop: tuple[int, ...] = ()

    @property
    def place(self) -> str:
        """Episode and frames in words."""
        if self.episode is None:
            return "all"
        if self.frames is None:
            return f"episode {self.episode}"
        first, last = self.frames
        return f"episode {self.episode}, frame {first}" + (f" to {last}" if last > first else "")
