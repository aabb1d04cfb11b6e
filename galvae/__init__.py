"""Rotation- and translation-free galaxy morphologies from survey cutouts, as an astropy table."""

from __future__ import annotations

from typing import Any

_PUBLIC = {
    "load": "galvae.inference.model",
    "Model": "galvae.inference.model",
    "Posterior": "galvae.inference.model",
    "ImageStore": "galvae.data.store",
    "read_catalog": "galvae.catalog",
    "write_catalog": "galvae.catalog",
    "join": "galvae.crossmatch",
    "Flag": "galvae.flags",
    "__version__": "galvae.version",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from galvae.version import version

        return version()
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'galvae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
