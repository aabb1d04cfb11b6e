"""Bad input against every command: one clear line on standard error, exit code 2, nothing written."""

import pytest

from galvae.cli.main import run


def refused(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        run([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert stop.value.code == 2, said.err
    assert said.out == ""
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("galvae: error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "nonsense"),
        (["train"], "store"),
        (["simulate", "-o", "out", "-n", "0"], "-n"),
        (["simulate", "-o", "out", "-n", "many"], "valid integer"),
        (["simulate", "-o", "out", "--recipe", "nowhere"], "no recipe 'nowhere'"),
        (["simulate", "-o", "out", "--set", "simulate.spirals=2"], "simulate.spirals"),
        (["ingest", "absent.zip", "-o", "out"], "absent.zip"),
        (["ingest", ".", "-o", "out"], "no image"),
        (["ingest", ".", "-o", "out", "--set", "ingest.feild=64"], "did you mean field?"),
        (["ingest", ".", "-o", "out", "--set", "ingest.field=small"], "ingest.field = 'small'"),
        (["ingest", ".", "-o", "out", "--set", "field=64"], "table.key=value"),
        (["train", "absent", "-o", "out"], "galvae ingest"),
        (["train", "absent", "-o", "out", "--recipe", "galaxyzoo"], "did you mean galaxy-zoo?"),
        (["train", "absent", "-o", "out", "--set", "model.encoder=cnn"], "model.encoder = 'cnn'"),
        (["train", "absent", "-o", "out", "--set", "model.generator=vanilla"], "vanilla generator has no pose"),
        (["catalog", "absent", "absent", "-o", "out.ecsv"], "galvae ingest"),
        (["catalog", "absent", "absent", "-o", "out.docx"], "docx"),
        (["join", "absent.ecsv", "absent.csv", "-o", "out.ecsv", "--on", "id"], "absent.ecsv"),
        (["sample", "absent", "-o", "out.png"], "galvae train"),
        (["interpolate", "absent", "absent", "1", "2", "-o", "out.png"], "galvae train"),
        (["verify", "absent", "absent"], "absent"),
        (["plot", "absent", "-o", "out"], "absent"),
        (["info", "absent"], "absent"),
        (["info", "."], "a folder without"),
        (["run", "galaxy-zoo-cpu", "-o", "out"], "no SOURCE"),
        (["run", "nowhere", "-o", "out"], "no recipe"),
        (["recipe", "show", "nowhere"], "no recipe"),
        (["recipe", "path", "smok"], "did you mean smoke?"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused(arguments, capsys)
    assert not list(tmp_path.iterdir())


def test_a_recipe_that_is_no_toml_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("[train\n")
    assert "not a TOML file" in refused(["run", "mine.toml", "-o", "out"], capsys)


def test_an_existing_output_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out.png").write_text("mine")
    assert "already exists" in refused(["sample", "absent", "-o", "out.png"], capsys)
    assert (tmp_path / "out.png").read_text() == "mine"


def test_v_shows_where_an_error_came_from(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["info", "absent", "-v"])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "Traceback" in said
    assert said.strip().splitlines()[-1].startswith("galvae: error: absent")
