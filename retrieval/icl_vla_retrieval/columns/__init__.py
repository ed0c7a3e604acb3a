"""Columns of a recording matched to a robot: order, units, references, grippers, rate."""

from .decision import Decision
from .importing import Recording, add_to_bank, read_recording, rematch
from .matching import Match, match

__all__ = ["Decision", "Match", "Recording", "add_to_bank", "match", "read_recording", "rematch"]
