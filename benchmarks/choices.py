"""What each choice brings: the default CPU recipe, trained again without it, and looked at without refinement.

    python benchmarks/choices.py STORE -o DIR [--copies STORE --moves TABLE] [--limit 1000]

Each training takes what the recipe takes (six minutes on two cores) and is kept in DIR under its name; what is there
and finished is not trained again. Then one ``galvae verify`` of all of them, on galaxies that none was trained on, and
one more of the first with ``--set catalog.refine=false``: one look, no fit, no measurement on the light. The table
is printed, the figures are in DIR/choices.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from galvae.training.checkpoint import DESCRIPTION
from galvae.verify.text import as_text

CHOICES = {
    "as it is": [],
    "no agreement of views": ["train.agree=0"],
    "no noise for the encoder": ["train.noise=0"],
    "no mirror": ["train.mirror=false"],
    "pixels unbiased": ["train.unbiased=true", "train.focus=0.5"],
    "Adam": ["train.optimizer=adam", "train.learning_rate=2e-3"],
}


def galvae(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "galvae", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def changed(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def finished(run: Path) -> bool:
    return (run / DESCRIPTION).is_file() and json.loads((run / DESCRIPTION).read_text())["finished"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--copies", type=Path)
    parser.add_argument("--moves", type=Path)
    parser.add_argument("--limit", type=int, default=1000)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    runs = {name: arguments.output / name.replace(" ", "-") for name in CHOICES}
    for name, run in runs.items():
        if not finished(run):
            words = ["train", arguments.store, "-o", run, "--recipe", "galaxy-zoo-cpu", "--overwrite", "-q"]
            galvae(*words, *changed(CHOICES[name]))
    copies = ["--copies", arguments.copies, "--moves", arguments.moves] if arguments.copies else []
    first, *others = runs.values()
    words = ["verify", first, arguments.store, *copies, "--limit", arguments.limit, "--json", "-q"]
    against = [word for run in others for word in ("--against", run)]
    told = json.loads(galvae(*words, *against))
    plain = json.loads(galvae(*words, "--set", "catalog.refine=false"))
    figures = {name: told[str(run)] for name, run in runs.items()} | {"not refined": plain[str(first)]}
    (arguments.output / "choices.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(as_text(figures, "adaptive moments"))


if __name__ == "__main__":
    main()
