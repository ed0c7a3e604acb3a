"""What calibration cannot do, said so that a user can act on it."""

from __future__ import annotations

from ..errors import RetrievalError


class CalibrationError(RetrievalError):
    """Demonstrations that do not tell where a camera stands."""
