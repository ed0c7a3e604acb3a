"""LeRobotDataset folders: read v3.0 and v2.x, write v3.0."""

from .reader import Episode, EpisodeRecord, LeRobotReader
from .writer import LeRobotWriter

__all__ = ["Episode", "EpisodeRecord", "LeRobotReader", "LeRobotWriter"]
