"""Keeps the last findings beside a bank, as long as the bank stays as it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from icl_vla_embodiments.home import write_atomically

from ..bank import DemoBank
from .finding import Finding

REPORT = "icl_vla/lint.json"


def write_report(bank: DemoBank, findings: Sequence[Finding]) -> None:
    """Remember what was found in the bank as it is."""
    report = {"bank": bank.fingerprint(), "findings": [asdict(f) for f in findings]}
    write_atomically(bank.path / REPORT, json.dumps(report, indent=2))


def read_report(bank: DemoBank) -> tuple[Finding, ...] | None:
    """What was found last; None where nobody looked, or the bank has changed since."""
    file = bank.path / REPORT
    if not file.exists():
        return None
    report = json.loads(file.read_text())
    if report["bank"] != bank.fingerprint():
        return None
    return tuple(
        Finding(
            **{
                **f,
                "frames": None if f["frames"] is None else tuple(f["frames"]),
                "drop": tuple(f["drop"]),
            }
        )
        for f in report["findings"]
    )
