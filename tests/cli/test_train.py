"""``galvae train`` leaves figures in the run folder, and a finished training whatever becomes of them."""

import json
import shlex
import shutil

import pytest

from galvae.cli.main import run as galvae
from galvae.inference import figures

FIGURES = {"curves.png", "prior.png", "reconstructions.png", "canonical.png", "latents.png", "orientation.png"}


@pytest.fixture
def train(store, tiny, tmp_path, capsys):
    """A function: train one step; exit code, result, standard error."""

    def call(*words):
        common = ["train", store.path, "-o", tmp_path / "run", "--recipe", tiny, "--device", "cpu", "--max-steps", "1"]
        with pytest.raises(SystemExit) as ended:
            galvae([str(word) for word in (*common, "--json", "-q", *words)])
        out, err = capsys.readouterr()
        return ended.value.code, json.loads(out), err

    return call


def test_a_training_leaves_its_figures_and_replaces_older_ones(train, tmp_path):
    folder = tmp_path / "run" / "figures"
    folder.mkdir(parents=True)
    (tmp_path / "run" / "recipe.toml").touch()
    (folder / "prior.png").write_bytes(b"older")
    assert train("--overwrite")[0] == 0
    assert {path.name for path in folder.iterdir()} == FIGURES
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.iterdir())


def test_a_folder_of_something_else_is_not_trained_into(store, tiny, tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    for option in ("--overwrite", "--resume"):
        with pytest.raises(SystemExit) as ended:
            galvae(["train", str(store.path), "-o", str(tmp_path / "thesis"), "--recipe", str(tiny), "-q", option])
        assert ended.value.code == 2
        assert "thesis: holds something else than a training" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["thesis.tex"]


def test_half_written_metrics_do_not_harm_info_and_plot(trained, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "st')
    for words in (["info", run], ["plot", run, "-o", tmp_path / "figures", "-q"]):
        with pytest.raises(SystemExit) as ended:
            galvae([str(word) for word in words])
        out, err = capsys.readouterr()
        assert (ended.value.code, err) == (0, "")
    assert "curves.png" in out


@pytest.mark.parametrize(("failure", "code"), [(RuntimeError("no ink"), 0), (KeyboardInterrupt(), 130)])
def test_without_figures_the_training_is_whole(failure, code, train, store, tmp_path, monkeypatch):
    def fails(*_, **__):
        raise failure

    monkeypatch.setattr(figures, "plot_run", fails)
    ended, result, err = train()
    assert (ended, result["step"]) == (code, 1)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 1
    [said] = err.splitlines()
    drawn = []
    monkeypatch.setattr(figures, "plot_run", lambda *given, **options: drawn.append((*given, options)) or [])
    with pytest.raises(SystemExit):
        galvae(shlex.split(said.partition(": galvae ")[2]))
    [(run, output, options)] = drawn
    assert (run, output, options["overwrite"]) == (tmp_path / "run", tmp_path / "run" / "figures", True)
    assert options["store"].path == store.path
