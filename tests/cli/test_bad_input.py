"""Bad input against every command: one clear line on standard error, exit code 2, nothing written."""

import re

import numpy as np
import pytest
from PIL import Image

from galvae.catalog import write_catalog
from galvae.cli.main import app, run


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
        (["simulate", "-o", "out", "--seed", "9223372036854775808"], "--seed"),
        (["simulate", "-o", "out", "--recipe", "nowhere"], "no recipe 'nowhere'"),
        (["simulate", "-o", "out", "--set", "simulate.spirals=2"], "simulate.spirals"),
        (["ingest", "absent.zip", "-o", "out"], "absent.zip"),
        (["ingest", ".", "-o", "out"], "no image"),
        (
            ["ingest", ".", "-o", "out", "--set", "ingest.feild=64"],
            "--set ingest.feild=64: unknown key ingest.feild (did you mean field?",
        ),
        (["ingest", ".", "-o", "out", "--set", "ingest.field=small"], "ingest.field = 'small'"),
        (["ingest", ".", "-o", "out", "--set", "field=64"], "table.key=value"),
        (["train", "absent", "-o", "out"], "galvae ingest"),
        (["train", "absent", "-o", "out", "--recipe", "galaxyzoo"], "did you mean galaxy-zoo?"),
        (["train", "absent", "-o", "out", "--set", "model.encoder=cnn"], "model.encoder = 'cnn'"),
        (["train", "absent", "-o", "out", "--set", "model.generator=vanilla"], "vanilla generator has no pose"),
        (["catalog", "absent", "absent", "-o", "out.ecsv"], "galvae ingest"),
        (["catalog", "absent", "absent", "-o", "out.docx"], "docx"),
        (["join", "absent.ecsv", "absent.csv", "-o", "out.ecsv", "--on", "id"], "absent.ecsv"),
        (["similar", "absent.ecsv", "1"], "absent.ecsv: no such file"),
        (["similar", "absent.ecsv"], "ID"),
        (["outliers", "absent.ecsv", "-k", "0"], "-k"),
        (["outliers", "absent.ecsv", "--sheet", "out.png"], "--store and --sheet go together"),
        (["probe", "absent.ecsv", "absent.csv"], "--label"),
        (["probe", "absent.ecsv", "absent.csv", "--label", "x", "--store", "s"], "--store and --sheet go together"),
        (["similar", "absent.ecsv", "1", "--store", "s", "--sheet", "out.jpg"], "use one of .png"),
        (["sample", "absent", "-o", "out.png"], "galvae train"),
        (["interpolate", "absent", "absent", "1", "2", "-o", "out.png"], "galvae train"),
        (["verify", "absent", "absent"], "absent"),
        (["plot", "absent", "-o", "out"], "absent"),
        (["info", "absent"], "absent"),
        (["plot", "absent", "-o", "out", "--device", "nonsense"], "--device nonsense"),
        (["sample", "absent", "-o", "out.png", "--device", "nonsense"], "--device nonsense"),
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


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["catalog", "STORE", "RUN", "-o", "c.ecsv"], "a run, no image store"),
        (["catalog", "RUN", "STORE", "-o", "c.ecsv", "--set", "train.seed=1"], "[catalog] alone counts"),
        (["verify", "RUN", "STORE", "--set", "model.latents=3"], "[catalog] alone counts"),
        (["verify", "RUN", "STORE", "--set", "catalogue.looks=3"], "did you mean catalog?"),
        (["train", "RUN", "-o", "out"], "a run, no image store"),
        (["plot", "RUN", "STORE", "-o", "STORE"], "is an image store itself; choose another folder, such as"),
        (["plot", "RUN", "STORE", "-o", "RUN"], "is a run itself; choose another folder, such as"),
        (["run", "smoke", "SOURCE", "-o", "STORE"], "is an image store itself"),
        (["run", "smoke", "SOURCE", "-o", "RUN"], "is a run itself"),
        (["outliers", "STORE"], "an image store, no table; make a catalog of it with galvae catalog RUN"),
        (["winding", "sdss-rgb", "STORE", "--label", "x", "--s", "1", "--z", "2"], "sdss-rgb: comes with galvae"),
        (["similar", "RUN", "1000"], "a folder, no table; name a file"),
        (["similar", "CATALOG", "100"], "no galaxy 100 in the catalog; did you mean 100"),
        (["similar", "CATALOG", "1000", "-k", "3"], "-k 3: there are 2 other galaxies with content; choose 1 to 2"),
        (["outliers", "CATALOG", "-k", "2"], "3 galaxies with content, too few to call any of them unusual"),
        (["probe", "CATALOG", "TABLE", "--label", "x"], "no galaxy of the catalog (such as 1000) has a label x in it"),
        (["probe", "CATALOG", "TABLE", "--label", "x", "-o", "STORE", "--overwrite"], "is an image store itself"),
        (["interpolate", "RUN", "STORE", "1000", "zebra", "-o", "x.png"], "no galaxy zebra; its identifiers are like"),
        (["info", "ALL"], "such as ALL/store"),
    ],
)
def test_what_lies_in_the_wrong_place_is_called_by_its_name(arguments, says, inputs, trained, capsys, tmp_path):
    (tmp_path / "ALL" / "store").mkdir(parents=True)
    before = kept(tmp_path)
    assert says in refused(inputs(arguments, RUN=trained), capsys)
    assert kept(tmp_path) == before


def test_a_catalog_never_takes_the_place_of_the_stores_pixels(inputs, trained, capsys):
    store = inputs(["STORE"])[0]
    before = kept(store)
    output = next(store.glob("part*.h5"))
    assert "lies in an image store" in refused(["catalog", trained, store, "-o", output, "--overwrite"], capsys)
    assert kept(store) == before


def test_a_recipe_that_is_no_toml_is_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text("[train\n")
    assert "not a TOML file" in refused(["run", "mine.toml", "-o", "out"], capsys)


FILES = {
    "catalog": ["catalog", "RUN", "STORE"],
    "join": ["join", "TABLE", "TABLE", "--on", "id"],
    "similar": ["similar", "CATALOG", "1000"],
    "outliers": ["outliers", "CATALOG"],
    "sample": ["sample", "RUN"],
    "interpolate": ["interpolate", "RUN", "STORE", "1", "2"],
}
ENDING = {
    "catalog": ".ecsv",
    "join": ".fits",
    "similar": ".vot",
    "outliers": ".h5",
    "sample": ".png",
    "interpolate": ".npy",
}
FOLDERS = {
    "simulate": ["simulate", "-n", "2"],
    "ingest": ["ingest", "SOURCE"],
    "train": ["train", "STORE"],
    "plot": ["plot", "RUN", "STORE"],
    "verify": ["verify", "RUN", "STORE"],
    "probe": ["probe", "CATALOG", "TABLE", "--label", "x"],
    "run": ["run", "smoke", "SOURCE"],
    "paper": ["paper", "hinge"],
}
WRITING = FILES | FOLDERS
READING = WRITING | {
    "info": ["info", "RUN"],
    "run --table": ["run", "smoke", "SOURCE", "--table", "TABLE"],
    "winding": ["winding", "RUN", "STORE", "--table", "TABLE", "--label", "x", "--s", "1", "--z", "2"],
}


def test_every_command_is_tried():
    names = {command.callback.__name__ for command in app.registered_commands}
    assert names == set(READING) - {"run --table"}
    assert names - {"info", "winding"} == set(WRITING)  # winding writes into the run


@pytest.fixture
def inputs(store, make_catalog, tmp_path, monkeypatch):
    """A function: a command on inputs of which those named exist, and all that may not change for it."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "images"
    images.mkdir()
    Image.effect_noise((64, 64), 90).save(images / "1.png")
    (tmp_path / "table.csv").write_text("id,x\n1,2\n")
    write_catalog(make_catalog(np.zeros((3, 2))), tmp_path / "catalog.ecsv")
    # No model that could be run: what is refused for its output is refused before.
    (tmp_path / "trained").mkdir()
    (tmp_path / "trained" / "model.json").write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("years of work")
    there = {"RUN": "trained", "STORE": store.path, "SOURCE": "images", "TABLE": "table.csv", "CATALOG": "catalog.ecsv"}

    def words(command, **changes):
        return [{**there, **changes}.get(word, word) for word in command]

    return words


def kept(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


INPUTS = [(name, word) for name, words in READING.items() for word in sorted(set(words)) if word.isupper()]


@pytest.mark.parametrize("wrong", ["absent", "other"])
@pytest.mark.parametrize(("name", "word"), INPUTS)
def test_an_input_that_is_not_there_or_is_something_else_is_named(name, word, wrong, inputs, capsys, tmp_path):
    given = {"RUN": "absent", word: wrong}  # the store is looked at where there is no run, too
    output = [] if name in ("info", "winding") else ["-o", f"out{ENDING.get(name, '')}"]
    before = kept(tmp_path)
    said = refused([*inputs(READING[name], **given), *output], capsys)
    assert wrong in said or "absent" in said
    assert kept(tmp_path) == before


@pytest.mark.parametrize("name", WRITING)
def test_an_existing_output_is_refused(name, inputs, trained, capsys, tmp_path):
    output = tmp_path / f"out{ENDING.get(name, '')}"
    if name in FOLDERS:
        output.mkdir()
    for kind in {"plot": ["prior.png"], "run": ["store", "run"]}.get(name, ["thesis.tex"]):
        place = output / kind if name in FOLDERS else output
        if kind in ("store", "run"):
            place.mkdir()
            place = place / "thesis.tex"
        place.write_text("years of work")
    before = kept(tmp_path)
    assert str(output) in refused([*inputs(WRITING[name], RUN=trained), "-o", output], capsys)
    assert kept(tmp_path) == before


@pytest.mark.parametrize("name", FILES)
def test_a_file_in_a_missing_folder_is_refused_before_the_work(name, inputs, capsys, tmp_path):
    before = kept(tmp_path)
    said = refused([*inputs(FILES[name]), "-o", f"absent/out{ENDING[name]}"], capsys)
    assert f"absent/out{ENDING[name]}: there is no folder absent; make it first" in said
    assert kept(tmp_path) == before


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("ending", ["", ".docx"])
def test_a_wrong_ending_is_refused_with_the_right_ones(name, ending, inputs, capsys, tmp_path):
    before = kept(tmp_path)
    said = refused([*inputs(FILES[name]), "-o", f"out{ending}"], capsys)
    assert f"out{ending}: cannot be written as {ending or 'a name without ending'}; use one of ." in said
    assert ENDING[name] in said
    assert kept(tmp_path) == before


@pytest.mark.parametrize("output", ["table.csv", "table.csv/out"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_is_no_folder_to_write(name, output, inputs, capsys, tmp_path):
    before = kept(tmp_path)
    assert re.search(r"table\.csv:? is a file", refused([*inputs(FOLDERS[name]), "-o", output], capsys))
    assert kept(tmp_path) == before


@pytest.mark.parametrize("name", sorted(WRITING.keys() - {"train"}))
def test_several_processes_are_refused_what_one_does(name, inputs, capsys, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    assert f"start galvae {name} without it" in refused(inputs([*WRITING[name], "-o", "out"]), capsys)


@pytest.mark.parametrize("words", [[], ["recipe"]])
def test_nothing_to_do_shows_the_help(words, capsys):
    """As --help does, line by line."""
    with pytest.raises(SystemExit):
        run([*words, "--help"])
    text = capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run(words)
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (2, "")
    assert said.err.strip() == text.strip()


def test_v_says_what_it_ran_on(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["recipe", "path", "smoke", "-v"])
    assert stop.value.code == 0
    assert re.fullmatch(r"galvae \S+, Python 3\.\S+(, torch \S+ on .*)?: \d+\.\d s\n", capsys.readouterr().err)


def test_v_shows_where_an_error_came_from(capsys):
    with pytest.raises(SystemExit) as stop:
        run(["info", "absent", "-v"])
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert "Traceback" in said
    assert said.strip().splitlines()[-1].startswith("galvae: error: absent")
