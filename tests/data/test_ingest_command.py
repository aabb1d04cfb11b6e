"""``galvae ingest`` as it is typed: what it prints where, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]


def start(*words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "galvae", "ingest", *map(str, words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options,
    )  # fmt: skip


def typed(*words):
    process = start(*words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("in") / "many.zip"
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as zipped:
        for number in range(400):
            if number < 8:
                data = BytesIO()
                Image.fromarray(noise.integers(0, 90, (160, 160, 3), np.uint8)).save(data, "PNG")
            zipped.writestr(f"{number}.png", data.getvalue())
    return path


def test_results_go_to_stdout_and_the_rest_to_stderr(archive, tmp_path):
    (tmp_path / "bad.jpg").write_text("<html>")
    code, out, err = typed(archive, tmp_path / "bad.jpg", "-o", tmp_path / "s", "--limit", 4, "--workers", 1)
    assert (code, out) == (0, f"{tmp_path / 's'}: 4 galaxies, 0 skipped\n")
    assert err.startswith("ingest: 4/4")
    code, out, err = typed(tmp_path / "bad.jpg", archive, "-o", tmp_path / "j", "--limit", 4, "--json", "-q")
    assert (code, err) == (0, "")
    done = json.loads(out)
    assert (done["galaxies"], done["skipped"]) == (3, 1)
    assert done["reasons"]["not an image"]["count"] == 1


def test_users_mistakes_are_one_line_and_2(archive, tmp_path):
    for words, why in [
        (("nowhere", "-o", tmp_path / "s"), "nowhere: there is no such file or folder"),
        ((archive, "-o", tmp_path), "is a folder of something else"),
        ((archive, "-o", tmp_path / "s", "--set", "ingest.feild=3"), "unknown key ingest.feild"),
        ((archive, "-o", tmp_path / "s", "--table", "t.csv"), "t.csv: no such file"),
    ]:
        (tmp_path / "notes.txt").write_text("x")
        code, out, err = typed(*words)
        assert (code, out) == (2, "")
        assert why in err
        assert err.count("\n") == 1
        assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_it_keeps_what_is_done_and_says_how_to_go_on(sent, code, archive, tmp_path):
    store = tmp_path / "s"
    process = start(archive, "-o", store, "--workers", 2, "--set", "ingest.field=96")
    while not (store / "part-00000.h5").is_file():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert "Traceback" not in err
    said = err.splitlines()[-1]
    assert said.startswith("interrupted; what is done is kept. To go on: galvae ingest ")
    assert 0 < len(list(store.glob("part-*.h5"))) < 16
    assert not (store / "store.json").exists()
    again = said.partition("galvae ingest ")[2].split()
    assert typed(*again)[:2] == (0, f"{store}: 400 galaxies, 0 skipped\n")
