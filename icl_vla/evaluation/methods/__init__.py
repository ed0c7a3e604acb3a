"""What can be evaluated: one class a file; all get the same scenes, keys and controller.

A new method is a class with ``name``, ``summary`` and ``start`` in a file here, and one line in
:data:`_CLASSES`; ``docs/evaluation.md`` shows one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path

from icl_vla_embodiments import ReportedError, UnknownName
from icl_vla_retrieval import DemoBank
from icl_vla_retrieval.tightness import FEWEST

from ...perception.encoders import DEFAULT
from ...runtime.weights import WEIGHTS, Weights
from .method import Method, Watch

__all__ = ["METHODS", "Method", "Watch", "check_weights", "find_method", "folder_name"]

_CLASSES = {
    "vote": "Vote",
    "learned": "Learned",
    "lwr_frames": "LwrFrames",
    "knn": "Knn",
    "nearest": "Nearest",
    "native_knn": "NativeKnn",
    "mean_trajectory": "MeanTrajectory",
    "bc_chunks": "BcChunks",
    "bc_flow": "BcFlow",
    "bc_tokens": "BcTokens",
    "finetuned": "FineTuned",
    "ricl": "Ricl",
    "instant": "Instant",
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


def check_weights(weights: Weights, method: str, bank: DemoBank, instruction: str) -> None:
    """Whether task weights can come from there.

    Raises:
        ReportedError: There is no such source, the method does not tell how demonstrations differ,
            or there are too few.
    """
    if weights not in WEIGHTS:
        raise UnknownName("source of task weights", weights, WEIGHTS)
    if weights == "equal":
        return
    if not find_method(method).spreads:
        raise ReportedError(
            f"the method {method!r} does not tell how demonstrations differ",
            where="--weights",
            value=weights,
            valid=[f"--method {name}" for name, m in METHODS.items() if m.spreads],
            remedy="choose one of these methods, or leave out --weights",
        )
    count = len(bank.select(instruction))
    if count < FEWEST:
        raise ReportedError(
            "too few demonstrations to tell how tightly each direction was held",
            where=bank.path,
            value=f"{count} of {instruction!r}",
            valid=[f"at least {FEWEST}; ten are better"],
            remedy="record more, or leave out --weights",
        )


def folder_name(place: str, method: str, weights: Weights, encoder: str = DEFAULT) -> str:
    """Under which a run's record and pictures are kept; ``place`` is its scenes or its driver."""
    name = f"{place}-{find_method(method).name}"
    if encoder != DEFAULT:
        name += f"-seen-by-{Path(encoder).name}"
    return name if weights == "equal" else f"{name}-{weights}-weights"
