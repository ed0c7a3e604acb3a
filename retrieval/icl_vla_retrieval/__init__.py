"""Demonstrations, the banks that keep them, and finding the moment that matters."""

from .bank import DemoBank
from .collection import BankCollection
from .demonstration import CameraTrack, Demonstration, decode_commands
from .errors import (
    AmbiguousInstruction,
    BankError,
    BankMismatch,
    DatasetBusy,
    DatasetError,
    DemonstrationError,
    DiskFull,
    InstructionError,
    KeyIndexError,
    KeySchemaError,
    RetrievalError,
    TextEncoderError,
)
from .example import make_example, make_example_bank
from .familiarity import Familiarity
from .keys import KeyEncoder, bank_keys, retriever_of
from .lerobot import LeRobotReader, LeRobotWriter
from .retriever import EpisodeLabels, Retriever
from .spec import BankSpec, CameraSpec
from .text import TextEncoder, choose_instruction, different_words

__all__ = [
    "AmbiguousInstruction",
    "BankCollection",
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
    "EpisodeLabels",
    "Familiarity",
    "InstructionError",
    "KeyEncoder",
    "KeyIndexError",
    "KeySchemaError",
    "LeRobotReader",
    "LeRobotWriter",
    "RetrievalError",
    "Retriever",
    "TextEncoder",
    "TextEncoderError",
    "bank_keys",
    "choose_instruction",
    "decode_commands",
    "different_words",
    "make_example",
    "make_example_bank",
    "retriever_of",
]
