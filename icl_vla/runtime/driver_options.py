"""Options for a driver, typed as text and read as its factory's signature says."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from icl_vla_embodiments import ReportedError

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def read_options(
    driver: str, factory: Callable[..., Any], words: Sequence[str]
) -> dict[str, object]:
    """Keyword arguments for ``factory(embodiment, **options)`` from ``key=value`` words.

    A value is read as its parameter's annotation says: text, numbers, ``bool``, ``Path``,
    ``Literal``, an ``Enum`` by name, or any of these or None; without one, as the type of the
    default. Where the signature tells neither (``**options``), numbers and true or false are read
    as such and everything else stays text.

    Raises:
        ReportedError: A word is no ``key=value``, a key is unknown, given twice or missing, or a
            value cannot be read; what would be right is listed.
    """
    known, others = _parameters(factory)
    options: dict[str, object] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals):
            raise _error(driver, "an option of the driver has no value", word, ["key=value"])
        if key in options:
            raise _error(driver, f"the driver's option {key!r} is given twice", word)
        parameter = known.get(key, others)
        if parameter is None:
            raise _error(
                driver,
                f"the driver has no option {key!r}",
                word,
                [_told(p) for p in known.values()] or ["none: it takes no options"],
            )
        options[key] = _read(driver, parameter, word, value)
    missing = [p for k, p in known.items() if p.default is p.empty and k not in options]
    if missing:
        raise _error(
            driver, "the driver needs more options", list(words), [_told(p) for p in missing]
        )
    return options


def _parameters(
    factory: Callable[..., Any],
) -> tuple[Mapping[str, inspect.Parameter], inspect.Parameter | None]:
    """What can be given by name, and the parameter that takes any other name."""
    try:
        signature = inspect.signature(factory, eval_str=True)
    except (NameError, TypeError, AttributeError):  # annotations that only a type checker can read
        signature = inspect.signature(factory)
    every = list(signature.parameters.values())[1:]  # the first is the embodiment
    named = {p.name: p for p in every if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    others = next((p for p in every if p.kind is p.VAR_KEYWORD), None)
    return named, others


def _read(driver: str, parameter: inspect.Parameter, word: str, text: str) -> object:
    try:
        return _value(_kind(parameter), text)
    except ValueError as error:
        raise _error(
            driver, "an option of the driver cannot be read", word, [_told(parameter)]
        ) from error


def _kind(parameter: inspect.Parameter) -> Any:
    """Annotation, else the default's type, else Any."""
    if parameter.annotation is not parameter.empty and not isinstance(parameter.annotation, str):
        return parameter.annotation
    if parameter.default is parameter.empty or parameter.default is None:
        return Any
    return type(parameter.default)


def _value(kind: Any, text: str) -> object:
    """``text`` as a kind.

    Raises:
        ValueError: It is none.
    """
    if kind is bool:
        if text.lower() in (*_TRUE, *_FALSE):
            return text.lower() in _TRUE
        raise ValueError(text)
    if kind in (int, float, str, Path):
        return kind(text)
    if isinstance(kind, type) and issubclass(kind, Enum):
        if text in kind.__members__:
            return kind[text]
        raise ValueError(text)
    if kind is type(None):
        if text.lower() == "none":
            return None
        raise ValueError(text)
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        for choice in choices:
            if str(choice) == text:
                return choice
        raise ValueError(text)
    if get_origin(kind) in (Union, types.UnionType):
        return _first(sorted(choices, key=lambda c: c is str), text)  # any text is text: last
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return _first((int, float, str), text)


def _first(kinds: Sequence[Any], text: str) -> object:
    """As the first kind that it can be."""
    for kind in kinds:
        try:
            return _value(kind, text)
        except ValueError:
            continue
    raise ValueError(text)


def _told(parameter: inspect.Parameter) -> str:
    """A parameter as people type it: ``port=TEXT``."""
    kind = _kind(parameter)
    if get_origin(kind) is Literal:
        what = "|".join(map(str, get_args(kind)))
    elif isinstance(kind, type) and issubclass(kind, Enum):
        what = "|".join(kind.__members__)
    elif kind is bool:
        what = "true|false"
    else:
        plain = kind in (int, float, str, Path)
        what = "VALUE" if kind is Any else kind.__name__ if plain else str(kind)
    name = "KEY" if parameter.kind is parameter.VAR_KEYWORD else parameter.name
    default = parameter.default
    return f"{name}={what}" + ("" if default is parameter.empty else f" ({default!r})")


def _error(driver: str, problem: str, value: object, valid: Sequence[str] = ()) -> ReportedError:
    return ReportedError(
        problem,
        where=f"--driver {driver}",
        value=value,
        valid=valid,
        remedy="--driver-option key=value, once for each option",
    )
