"""``galvae run`` interrupted and terminated while it trains: exit codes, what is said, and going on; refusals."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from galvae.cli.main import run as galvae

TINY = ["simulate.galaxies=24", "train.epochs=2000", "train.save_every=1", "catalog.looks=2"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_while_training_it_says_how_to_go_on(number, code, tmp_path):
    words = ["run", "smoke", "-o", str(tmp_path / "out"), "--device", "cpu"]
    words += [word for change in TINY for word in ("--set", change)]
    process = subprocess.Popen(
        [sys.executable, "-m", "galvae", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    metrics, deadline = tmp_path / "out" / "run" / "metrics.jsonl", time.monotonic() + 60
    while not (metrics.is_file() and metrics.read_bytes()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert [line.split()[0] for line in out.splitlines()] == ["simulate", "ingest"]
    assert "Traceback" not in err
    said = err.splitlines()[-1]
    assert said == f"interrupted; what is done is kept. To go on: {shlex.join(['galvae', *words])}"
    described = json.loads((tmp_path / "out" / "run" / "model.json").read_text())
    assert described["steps"] > 0
    assert not described["finished"]


def test_a_folder_of_something_else_is_refused_in_one_line(tmp_path, capsys):
    words = ["run", "smoke", "-o", str(tmp_path), "-q", "--set", "simulate.galaxies=4"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years of work")
    with pytest.raises(SystemExit) as ended:
        galvae(words)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert err.startswith(f"galvae: error: {tmp_path / 'run'}: lies where the stage train writes")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
