"""What can be evaluated: one class a file; all get the same scenes, keys and controller.

A new method is a class with ``name``, ``summary`` and ``start`` in a file here, and one line in
:data:`_CLASSES`; ``docs/evaluation.md`` shows one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from icl_vla_embodiments import ReportedError, UnknownName

from .method import Method, Watch

__all__ = ["METHODS", "Method", "Watch", "find_method"]

_CLASSES = {
    "vote": "Vote",
    "lwr_frames": "LwrFrames",
    "knn": "Knn",
    "nearest": "Nearest",
    "mean_trajectory": "MeanTrajectory",
    "random": "Random",
    "nothing": "Nothing",
    "expert": "Expert",
}


class _Methods(Mapping[str, Method]):
    """Name -> method; a method's module is read when it is asked for."""

    def __getitem__(self, name: str) -> Method:
        module = "random_walk" if name == "random" else name  # `random` is a module of Python's
        made: Method = getattr(import_module(f"{__name__}.{module}"), _CLASSES[name])()
        return made

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


METHODS: Mapping[str, Method] = _Methods()


def find_method(name: str) -> Method:
    """A method by name, or somebody's own class as ``module:Class``.

    Raises:
        UnknownName: There is none; the message lists the known ones.
        ReportedError: There is no such module or class, or it is no method.
    """
    if ":" in name:
        return _own(name)
    if name not in _CLASSES:
        raise UnknownName("method", name, METHODS)
    return METHODS[name]


def _own(name: str) -> Method:
    module, _, kind = name.partition(":")
    try:
        made = getattr(import_module(module), kind)()
    except (ImportError, AttributeError, TypeError) as error:
        raise ReportedError("a method cannot be found", value=name, remedy=str(error)) from error
    if not isinstance(made, Method):
        raise ReportedError("this is no method", value=name, valid=["a subclass of Method"])
    return made
