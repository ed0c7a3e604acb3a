"""This package's errors; each names the bad value, where it stands and what to do."""

from __future__ import annotations

from icl_vla_embodiments.errors import ReportedError


class RetrievalError(ReportedError):
    """Root of this package's errors."""


class DatasetError(RetrievalError):
    """A folder that is no LeRobot dataset, or one that is damaged."""


class DemonstrationError(RetrievalError):
    """A demonstration whose channels contradict each other."""


class BankError(RetrievalError):
    """A bank that cannot be opened or created."""


class BankMismatch(BankError):
    """A bank, a demonstration and a robot that do not belong together."""


class DatasetBusy(BankError):
    """Another process is writing to the same folder."""


class DiskFull(BankError):
    """There is no room for what should be written; nothing was changed."""


class KeySchemaError(RetrievalError):
    """Retrieval keys of different schemas, which must not be compared."""


class KeyIndexError(RetrievalError):
    """A stored or requested index of keys that cannot be used."""


class InstructionError(RetrievalError):
    """An instruction that no demonstration has, or that several may mean."""


class AmbiguousInstruction(InstructionError):
    """An instruction that may mean several demonstrated ones."""


class TextEncoderError(RetrievalError):
    """A text encoder that cannot be loaded."""
