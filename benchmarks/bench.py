"""All figures of how fast and how good galvae is on this machine, in one run: ``make bench``.

    python benchmarks/bench.py -o benchmarks/results [--images ZIP] [--original CHECKOUT] [--peers PYTHON]
                               [--run DIR] [--readme README.md] [--quick]

Writes results/NAME.json for each part, results/quality.png and results/README.md, the table. ZIP is an archive of JPEG
cutouts, such as Galaxy Zoo's; without one a synthetic survey is drawn, and ingest is not timed. With a checkout of the
original spatial-VAE its rate is measured in the same run; its curve is drawn if DIR/original holds one (see
original.py). PYTHON is the interpreter of an environment that holds peers (see peers.py). DIR keeps the store and the
trained run; what is there is not made again.

A part that fails is said and left out, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from curve import curve, first_past
from original import entropy, windows

from galvae.cores import cores
from galvae.data.store import ImageStore
from galvae.recipe import load_recipe
from galvae.training.trainer import Trainer
from galvae.version import version

HERE = Path(__file__).parent
RECIPE = "galaxy-zoo-cpu"
BEGIN, END = "<!-- bench -->", "<!-- /bench -->"


def galvae(*words: object) -> None:
    command = [sys.executable, "-m", "galvae", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def script(name: str, *words: object) -> list[Any]:
    """What a benchmark prints as JSON, line by line or as a whole."""
    command = [sys.executable, HERE / f"{name}.py", *map(str, words)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    try:
        return [json.loads(out)]
    except ValueError:
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def machine() -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return {
        "processor": name, "cores": cores(), "gpu": device, "torch": torch.__version__, "galvae": version(),
        "commit": told.stdout.strip() or None, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def prepare(folder: Path, images: Path | None, *, quick: bool) -> tuple[Path, Path]:
    """The store and the trained run, made where they are not there yet."""
    store, run = folder / "store", folder / "run"
    if not (store / "store.json").is_file():
        if images is None:
            galvae("simulate", "-o", folder / "survey", "-n", 200 if quick else 2000, "--overwrite", "-q")
        galvae("ingest", images or folder / "survey", "-o", store, "--overwrite", "-q")
    if not (run / "model.json").is_file() or not json.loads((run / "model.json").read_text())["finished"]:
        galvae(
            "train", store, "-o", run, "--recipe", RECIPE, "--overwrite", "-q",
            *(["--set", "train.epochs=2", "--set", "train.validation=0.3"] if quick else []),
        )  # fmt: skip
    return store, run


def quality(run: Path, store: Path, folder: Path) -> dict[str, Any]:
    """Held-out pseudo-ELBO above its floor against seconds; axis and turn test of what came out."""
    recipe = load_recipe(str(run / "recipe.toml"))
    trainer = Trainer(ImageStore(store), recipe, device=torch.device("cpu"), room=0)
    floor = entropy(windows(trainer, trainer.validation))
    galvae("verify", run, store, "-o", folder / "verify", "--overwrite", "-q")
    [said] = json.loads((folder / "verify" / "verify.json").read_text()).values()
    points = [
        {"seconds": line["seconds"], "above_floor": round(-line["validation_elbo"] - floor, 2)} for line in curve(run)
    ]
    kept = "galaxies", "axis", "axis_clean", "turn_elongated", "turn_round", "z_drift"
    return {"recipe": RECIPE, "floor": round(floor, 2), "curve": points, **{name: said[name] for name in kept}}


def original(checkout: Path, store: Path, folder: Path, run: Path) -> dict[str, Any]:
    """Its rate now; its curve, if there is one, and how soon ours is past its end."""
    [found] = script("original", checkout, store, "-o", folder / "original-rate", "--rate-only", 3)
    lines = curve(folder / "original") if (folder / "original" / "metrics.jsonl").is_file() else []
    if lines:
        found["curve"] = [{"images": line["images"], "above_floor": line["above_floor"]} for line in lines]
        past = first_past(curve(run), lines[-1]["validation_elbo"])
        seconds = lines[-1]["images"] / found["images_per_second"]
        found |= {"end": lines[-1]["step"], "end_seconds": round(seconds, 1)}
        if past:
            found |= {"ours_seconds": past["seconds"], "ratio": round(seconds / past["seconds"], 1)}
    return found


def draw(found: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xscale="log", xlabel="seconds of training", yscale="log")
    axes.set_ylabel("held-out pseudo-ELBO below its floor, nats")
    points = found["quality"]["curve"]
    axes.plot([p["seconds"] for p in points], [p["above_floor"] for p in points], "o-", ms=3, label=RECIPE)
    if "curve" in found.get("original", {}):
        rate = found["original"]["images_per_second"]
        points = found["original"]["curve"]
        axes.plot(
            [p["images"] / rate for p in points], [p["above_floor"] for p in points], "s-", ms=3, label="original"
        )
    axes.legend()
    figure.savefig(path, dpi=150)


def one_gpu(found: dict[str, Any] | None) -> str:
    """What benchmarks/gpu.py has written, in a cell of the table; a try-out of it is no measurement."""
    if found is None or found["quick"] or "paper" not in found:
        return "not yet measured"
    said = found["paper"]
    told = found["machine"]
    cell = [
        f"{told['gpu']}, {told['date']}: the paper's run, in bfloat16, {said['images_per_second']:.0f} images/s",
        f"the steps of its 300 epochs {said['run_minutes_extrapolated']:.1f} min, extrapolated from "
        f"{said['steady_seconds']:.0f} s, with validation {said['run_minutes_with_validation']:.1f}",
    ]
    if "original" in found:
        cell.append(f"{found['original']['ratio']:.1f} times the original")
    if (share := found.get("sooner", {}).get("share_of_papers_seconds")) is not None:
        cell.append(f"`galaxy-zoo` to its pseudo-ELBO in {share:.0%} of the time")
    return "; ".join(cell)


def table(found: dict[str, Any]) -> str:
    """Markdown: what, figure."""
    rows: list[tuple[str, str]] = []

    def two(value: dict[str, float] | None) -> str:
        if value is None or value["median"] is None:
            return "-"
        return f"{value['median']:.2f} / {value['p84']:.1f} deg"

    if said := found.get("quality"):
        last = said["curve"][-1]
        rows += [
            (f"`{RECIPE}`, trained in", f"{last['seconds']:.0f} s"),
            ("held-out pseudo-ELBO from its floor", f"{last['above_floor']:.1f} nats"),
            ("axis against moments; turn test, elongated", f"{two(said['axis'])}; {two(said['turn_elongated'])}"),
        ]
    for each in found.get("steps", []):
        rows.append((
            " ".join(["training,", each["recipe"], *each["set"]]),
            f"{each['images_per_second']:.0f} images/s, {each['resident_GB']:.1f} GB, "
            f"{each['parts']['whole step']['reached']:.0%} of the limit",
        ))  # fmt: skip
    if said := found.get("original"):
        memory = said["resident_bytes"] / 1e9
        rows.append(("the original, its own networks", f"{said['images_per_second']:.1f} images/s, {memory:.1f} GB"))
        if "ratio" in said:
            rows.append((
                f"the original's pseudo-ELBO after {said['end']} steps", f"{said['end_seconds']:.0f} s; "
                f"`{RECIPE}` passes it after {said['ours_seconds']:.0f} s: {said['ratio']:.0f} times sooner",
            ))  # fmt: skip
    for each in found.get("peers", []):
        rate, memory = each["images_per_second"], each["resident_bytes"] / 1e9
        rows.append((
            f"{each['peer']} {each['version']}, {each['channels']} of 3 channels, networks of the same size",
            f"{rate:.1f} images/s, {memory:.1f} GB",
        ))  # fmt: skip
    if said := found.get("ingest"):
        rows.append((
            "ingest", f"{said['ingest']} images/s, {said['ratio']:.0%} of what its decoder alone does on all cores",
        ))  # fmt: skip
    for each in found.get("catalog", [])[1:]:
        rows.append((
            f"catalog: {each['stage'].replace('_', ' ')}",
            f"{each['galaxies_per_second']:.0f} galaxies/s, {each['share']:.0%} of plain products' rate",
        ))  # fmt: skip
    if said := found.get("streaming"):
        rows.append(("fields read in the background against fields held", f"{said['ratio']:.2f} of the rate"))
    for each in found.get("scaling", []):
        rows.append((
            f"{each['against']}: {each['value']:,}",
            f"{each['images_per_second']:.0f} images/s, {each['resident_GB']:.1f} GB"
            + ("" if each["held"] else ", read in the background"),
        ))  # fmt: skip
    rows.append(("one GPU (`benchmarks/gpu.py`)", one_gpu(found.get("gpu"))))
    told = found["machine"]
    head = f"{told['processor']}, {told['cores']} cores, {told['gpu'] or 'no GPU'}; torch {told['torch']}, "
    head += f"galvae {told['commit'] or told['galvae']}, {told['date']}; {found['images']}"
    return "\n".join([f"`make bench` on {head}:", "", "| | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "results")
    parser.add_argument("--images", type=Path, help="archive of JPEG cutouts")
    parser.add_argument("--original", type=Path, help="checkout of the original spatial-VAE")
    parser.add_argument("--peers", type=Path, help="interpreter of an environment with pyroVED and AtomAI")
    parser.add_argument("--run", type=Path, default=Path("bench"), help="where store and run are kept")
    parser.add_argument("--readme", type=Path, help=f"put the table between its {BEGIN} and {END}")
    parser.add_argument("--quick", action="store_true", help="tiny: does everything run?")
    chosen = parser.parse_args()
    chosen.output.mkdir(parents=True, exist_ok=True)
    chosen.run.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {
        "machine": machine(),
        "images": chosen.images.name if chosen.images else "synthetic survey",
    }
    store, run = prepare(chosen.run, chosen.images, quick=chosen.quick)
    few = ["--galaxies", 1000, "--windows", 32, "--latents", 2, "--steps", 1] if chosen.quick else []
    steps = ["--steps", 1] if chosen.quick else []
    parts = {
        "quality": lambda: quality(run, store, chosen.run),
        "steps": lambda: [
            *script("roofline", "--recipe", RECIPE, "--store", store, *steps),
            *script("roofline", "--recipe", "paper/galaxy-zoo", "--set", "train.pixels=256",
                    "--set", "train.precision=auto", *steps),
        ],
        "catalog": lambda: script("inference", run, store, "--galaxies", 32 if chosen.quick else 1024),
        "streaming": lambda: script("streaming", store, *([*steps, "--rounds", 1] if chosen.quick else []))[0],
        "scaling": lambda: script("scaling", store, *few),
    }  # fmt: skip
    if chosen.images:
        parts["ingest"] = lambda: script("ingest", chosen.images)[0]
    if chosen.original:
        parts["original"] = lambda: original(chosen.original, store, chosen.run, run)
    if chosen.peers:
        parts["peers"] = lambda: script("peers", store, "--python", chosen.peers, "--steps", 1 if chosen.quick else 3)
    failed = []
    for name, part in parts.items():
        start = time.perf_counter()
        try:
            found[name] = part()
        except subprocess.CalledProcessError as error:
            failed.append(name)
            print(f"{name}: failed ({error})", file=sys.stderr)
            continue
        (chosen.output / f"{name}.json").write_text(
            json.dumps({"machine": found["machine"], name: found[name]}, indent=1)
        )
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if (chosen.output / "gpu.json").is_file():  # on another machine than this, perhaps
        found["gpu"] = json.loads((chosen.output / "gpu.json").read_text())
    if "quality" in found:
        draw(found, chosen.output / "quality.png")
    (chosen.output / "README.md").write_text(table(found))
    if chosen.readme:
        before, mark, rest = chosen.readme.read_text().partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (mark and end):
            sys.exit(f"{chosen.readme}: has no {BEGIN} and {END} to put the table between")
        chosen.readme.write_text(f"{before}{mark}\n{table(found)}{end}{after}")
    print(table(found))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
