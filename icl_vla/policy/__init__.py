"""Policies that read demonstrations and act; their weights never change."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .relational import IclVlaPolicy as IclVlaPolicy

__all__ = ["IclVlaPolicy"]


def __getattr__(name: str) -> object:
    """Torch is read when the policy is asked for, and not before."""
    if name in __all__:
        from .relational import IclVlaPolicy

        return IclVlaPolicy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
