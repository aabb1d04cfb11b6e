"""What stores and runs say of themselves in JSON, held to what reading them needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

METRICS = "metrics.jsonl"


def weighted(description: dict[str, Any]) -> bool:
    """Whether a run's bound in training is that of weighted pixels."""
    train = description["recipe"]["train"]
    return not train.get("unbiased", True) and 0 < train["pixels"] < description["window"] ** 2


def read_description(path: Path, needed: type[BaseModel], *, remedy: str) -> dict[str, Any]:
    """A JSON object from a file, as it is.

    Parameters
    ----------
    path
        The file.
    needed
        What must be in it.
    remedy
        What to do where it is not, for the error.

    Raises
    ------
    ValueError
        If it is not JSON, or lacks what is needed: the first thing that is wrong, in one line.
    """
    text = path.read_bytes()
    try:
        needed.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        got = "" if first["type"] in ("missing", "json_invalid") else f", got {json.dumps(first['input']):.60}"
        what = f"{key}: {first['msg']}" if key else first["msg"]
        raise ValueError(f"{path}: not a description by this galvae ({what}{got}); {remedy}") from None
    return json.loads(text)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a training's metrics, none if there is no file; a last one that is half-written is left out.

    Raises
    ------
    ValueError
        If another line is no JSON.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}: line {number} is no JSON ({error}); go on with galvae train --resume"
                ) from None
    return found
