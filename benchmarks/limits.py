"""How well could axis and centre of simulated galaxies be known at all? The Cramer-Rao bound, beside `galvae verify`'s.

    python benchmarks/limits.py [-n 400] [--seed 7] [--set simulate.KEY=VALUE ...]

For who knows each galaxy's image without noise, in three bands before any stretch, alone on the sky, and has only its
place and its angle to find: no estimator without that knowledge does better. Median and 84th percentile of what the
normal errors of that covariance come to: of the axis in degrees (elongated galaxies, by kind as well), of the centre in
pixels.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from galvae.data.survey import ELECTRONS, SKY_NOISE, Field, field
from galvae.data.truth import truth_of
from galvae.recipe import load_recipe
from galvae.verify.summary import ELONGATED, figures

DRAWS = 100
TURN, MOVE = 0.2, 0.1  # degrees and pixels, either way


def bound(seen: Field) -> np.ndarray:
    """Covariance of the turn about the cutout's middle (deg) and of the move right and up (pixels)."""
    pairs = []
    for (angle, (x, y)), step in [((TURN, (0, 0)), TURN), ((0, (MOVE, 0)), MOVE), ((0, (0, MOVE)), MOVE)]:
        there, back = seen.turned(angle, (x, y)), seen.turned(-angle, (-x, -y))
        pairs.append((there.draw(alone=True), back.draw(alone=True), 2 * step))
    information = np.zeros((3, 3))
    for band, light in seen.draw(alone=True).items():
        slopes = np.array([(there[band] - back[band]).ravel() / apart for there, back, apart in pairs])
        weight = 1 / (SKY_NOISE[band] ** 2 + np.maximum(light, 0) / ELECTRONS).ravel()
        information += (slopes * weight) @ slopes.T
    return np.linalg.inv(information)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    settings = load_recipe("galaxy-zoo-cpu", arguments.changes, only="simulate").simulate
    random = np.random.default_rng(0)
    axis, centre, kind, elongated = [], [], [], []
    for number in range(arguments.n):
        seen = field(number, seed=arguments.seed, settings=settings)
        truth = truth_of(seen)
        turn, x, y = random.multivariate_normal(np.zeros(3), bound(seen), DRAWS).T
        axis.append(np.abs(turn))
        # A turn about the cutout's middle moves a galaxy that lies elsewhere.
        along = np.radians(turn)
        centre.append(np.hypot(x - along * truth["dy"], y + along * truth["dx"]))
        kind.append(truth["kind"])
        elongated.append(truth["axis_ratio"] < ELONGATED)
    axis, kind, elongated = np.array(axis), np.array(kind), np.array(elongated)
    found = {"axis": figures(axis[elongated].ravel()), "centre": figures(np.ravel(centre))}
    found |= {f"axis, {one}": figures(axis[elongated & (kind == one)].ravel()) for one in np.unique(kind)}
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
