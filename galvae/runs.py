"""Runs that are shipped with galvae: a model to start with."""

from __future__ import annotations

from pathlib import Path

_SHIPPED = Path(__file__).parent / "_runs"


def run_names() -> list[str]:
    """Bare names of the shipped runs."""
    return sorted(path.parent.name for path in _SHIPPED.glob("*/model.json"))


def run_name(path: str | Path) -> str:
    """What to call the run that lies there: a shipped one by its bare name, another by its path."""
    return Path(path).name if Path(path).parent == _SHIPPED else str(path)


def run_path(name: str | Path) -> Path:
    """Where a run lies: what is there by that path, else the shipped one of that bare name."""
    return _SHIPPED / name if str(name) in run_names() and not Path(name).exists() else Path(name)
