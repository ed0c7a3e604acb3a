"""Errors of the whole-body controller."""

from __future__ import annotations

from icl_vla_embodiments import ReportedError


class WbcError(ReportedError):
    """A robot, configuration or call that the controller cannot work with."""
