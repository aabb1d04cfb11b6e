"""What stores and runs say of themselves in JSON, held to what reading them needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError


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
