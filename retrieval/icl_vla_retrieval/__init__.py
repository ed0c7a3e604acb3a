"""Demonstrations, the banks that keep them, and finding the moment that matters."""

from .bank import DemoBank
from .demonstration import CameraTrack, Demonstration, decode_commands
from .errors import (
    BankError,
    BankMismatch,
    DatasetBusy,
    DatasetError,
    DemonstrationError,
    DiskFull,
    KeySchemaError,
    RetrievalError,
)
from .example import make_example, make_example_bank
from .lerobot import LeRobotReader, LeRobotWriter
from .retriever import Retriever
from .spec import BankSpec, CameraSpec

__all__ = [
    "BankError",
    "BankMismatch",
    "BankSpec",
    "CameraSpec",
    "CameraTrack",
    "DatasetBusy",
    "DatasetError",
    "DemoBank",
    "Demonstration",
    "DemonstrationError",
    "DiskFull",
    "KeySchemaError",
    "LeRobotReader",
    "LeRobotWriter",
    "RetrievalError",
    "Retriever",
    "decode_commands",
    "make_example",
    "make_example_bank",
]
