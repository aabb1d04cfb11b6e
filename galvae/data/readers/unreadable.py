"""Inputs that are seen to be no image when the ingest is planned: each becomes a line of the skipped table."""

from __future__ import annotations

from galvae.data.readers.base import Cutout
from galvae.data.settings import IngestSettings


def load(place: tuple[str], settings: IngestSettings) -> Cutout:
    """Refuse, with the reason found when planning.

    Raises
    ------
    ValueError
        Always.
    """
    raise ValueError(place[0])
