"""How soon runs pass a held-out pseudo-ELBO.

    python benchmarks/curve.py RUN... --elbo -2900
    python benchmarks/curve.py RUN... --like ORIGINAL [--step 500] [--rate 8.9]

RUN is a folder of ``galvae train`` or of ``benchmarks/original.py``; each line of its metrics.jsonl is a point. What is
compared is the same only with the same store, ``train.validation`` and ``train.seed``. ``--like`` takes the ELBO that
another run has at a step (at its last one where not given); ``ratio`` is the seconds that run took over those at which
RUN is first past it. With ``--rate`` an original that trained on a busy machine is taken to have seen so many images a
second, as it does on a quiet one (``benchmarks/original.py --rate-only``).

The seconds of ``galvae train`` have its validation and saving in them, those of the original its training alone. While
it trains, galvae validates on as many pixels of an image as it trains on, weighed so that their expectation is that of
every pixel; its last line has every pixel.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from galvae.description import METRICS


def curve(run: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics; those that have no ELBO (it was not finite) are left out."""
    lines = map(json.loads, (run / METRICS).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line["validation_elbo"] is not None]


def first_past(lines: list[dict[str, Any]], elbo: float) -> dict[str, Any] | None:
    return next((line for line in lines if line["validation_elbo"] >= elbo), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--elbo", type=float)
    wanted.add_argument("--like", type=Path, metavar="RUN")
    parser.add_argument("--step", type=int)
    parser.add_argument("--rate", type=float)
    chosen = parser.parse_args()
    elbo, seconds = chosen.elbo, None
    if chosen.like:
        points = [line for line in curve(chosen.like) if chosen.step in (None, line["step"])]
        if not points:
            raise SystemExit(f"{chosen.like}: no ELBO at step {chosen.step}; see its {METRICS}")
        line = points[-1]
        elbo = line["validation_elbo"]
        seconds = line["images"] / chosen.rate if chosen.rate else line["seconds"]
        print(json.dumps({"run": str(chosen.like), "step": line["step"], "seconds": seconds, "validation_elbo": elbo}))
    for run in chosen.runs:
        line = first_past(curve(run), elbo)
        told = {name: line and line[name] for name in ("step", "seconds", "validation_elbo", "images_per_second")}
        ratio = {"ratio": round(seconds / line["seconds"], 1)} if seconds and line else {}
        print(json.dumps({"run": str(run), **told, **ratio}))


if __name__ == "__main__":
    main()
