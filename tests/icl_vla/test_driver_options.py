"""`--driver-option key=value`, read as the signature of the driver's factory says."""

from __future__ import annotations

import enum
import functools
from pathlib import Path
from typing import Literal, Optional

import pytest

from icl_vla.runtime.driver_options import read_options
from icl_vla_embodiments import ReportedError


class Mode(enum.Enum):
    soft = 1
    stiff = 2


def factory(
    embodiment,
    port: str,
    rate: int = 100,
    speed: float = 0.5,
    dry: bool = False,
    log: Path = Path("log"),
    level: Literal["low", "high", 3] = "low",
    mode: Mode = Mode.soft,
    timeout: float | None = None,
    name: Optional[str] = None,  # noqa: UP045 - both spellings are in use
    untyped=1.5,
    bare=None,
): ...


def bags(embodiment, **options): ...


def numbers(embodiment, *, first: int = 0, **options: float): ...


class Made:
    def __init__(self, embodiment, host: str = "localhost") -> None: ...


def unreadable(embodiment, host: Nowhere, port: int = 1): ...  # noqa: F821 - for type checkers


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["port=/dev/tty=USB0"], {"port": "/dev/tty=USB0"}),  # only the first = counts
        (["port=5"], {"port": "5"}),
        (["port="], {"port": ""}),
        (["port=a", "rate=-3", "speed=1e-2"], {"port": "a", "rate": -3, "speed": 0.01}),
        (["port=a", "dry=True"], {"port": "a", "dry": True}),
        (["port=a", "dry=0"], {"port": "a", "dry": False}),
        (["port=a", "log=x/y.txt"], {"port": "a", "log": Path("x/y.txt")}),
        (["port=a", "level=3"], {"port": "a", "level": 3}),
        (["port=a", "mode=stiff"], {"port": "a", "mode": Mode.stiff}),
        (["port=a", "timeout=2"], {"port": "a", "timeout": 2.0}),
        (["port=a", "timeout=none", "name=None"], {"port": "a", "timeout": None, "name": None}),
        (["port=a", "name=none of these"], {"port": "a", "name": "none of these"}),
        (["port=a", "untyped=2"], {"port": "a", "untyped": 2.0}),
        (["port=a", "bare=7"], {"port": "a", "bare": 7}),
    ],
)
def test_values_are_what_the_signature_says(words, read):
    found = read_options("acme", factory, words)
    assert found == read and [type(x) for x in found.values()] == [type(x) for x in read.values()]
    factory(None, **found)


def test_names_that_the_signature_leaves_open():
    words = ["a=1", "b=1.5", "c=true", "d=left arm", "e=192.168.0.1"]
    assert read_options("acme", bags, words) == {
        "a": 1,
        "b": 1.5,
        "c": True,
        "d": "left arm",
        "e": "192.168.0.1",
    }
    assert read_options("acme", numbers, ["first=2", "gain=3"]) == {"first": 2, "gain": 3.0}
    assert read_options("acme", Made, ["host=here"]) == {"host": "here"}
    assert read_options("acme", functools.partial(factory, rate=5), ["port=a"]) == {"port": "a"}
    assert read_options("acme", unreadable, ["host=7", "port=7"]) == {"host": 7, "port": 7}


@pytest.mark.parametrize(
    ("made", "words", "said"),
    [
        (factory, ["port"], ["has no value", "port", "key=value"]),
        (factory, ["=x"], ["has no value"]),
        (factory, ["port=a", "port=b"], ["given twice", "port=b"]),
        (factory, ["porrt=a"], ["no option 'porrt'", "port=str", "rate=int (100)"]),
        (factory, ["embodiment=x"], ["no option 'embodiment'"]),
        (factory, [], ["needs more options", "port=str"]),
        (factory, ["port=a", "rate=1.5"], ["cannot be read", "rate=1.5", "rate=int"]),
        (factory, ["port=a", "dry=maybe"], ["cannot be read", "dry=true|false"]),
        (factory, ["port=a", "level=middle"], ["level=low|high|3"]),
        (factory, ["port=a", "mode=1"], ["mode=soft|stiff"]),
        (factory, ["port=a", "timeout=soon"], ["timeout=float | None"]),
        (numbers, ["gain=high"], ["cannot be read", "KEY=float"]),
        (lambda embodiment: None, ["port=a"], ["takes no options"]),
    ],
)
def test_what_cannot_be_is_told(made, words, said):
    with pytest.raises(ReportedError) as caught:
        read_options("acme", made, words)
    text = str(caught.value)
    assert all(s in text for s in [*said, "--driver acme", "--driver-option"]), text
