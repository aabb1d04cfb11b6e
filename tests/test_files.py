"""Files in place when whole, gone when not; outputs refused before any work is done for them, by the user's name."""

import os

import pytest

from galvae import files
from galvae.files import SCRATCH, check_output, whole

TABLES = (".ecsv", ".parquet")


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_can_be_written_is_let_through_and_nothing_is_made(overwrite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, endings in (("a.ecsv", TABLES), ("A.ECSV", TABLES), ("empty", ()), ("new", ()), ("new/er/folder", ())):
        check_output(name, endings, overwrite=overwrite)
        check_output(tmp_path / name, endings, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_what_is_there_is_kept_unless_told(tmp_path):
    (tmp_path / "a.ecsv").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").write_text("mine")
    for name, endings in (("a.ecsv", TABLES), ("folder", ())):
        with pytest.raises(FileExistsError, match=f"{name}: already exists; .* --overwrite"):
            check_output(tmp_path / name, endings)
        check_output(tmp_path / name, endings, overwrite=True)


@pytest.mark.parametrize(
    ("name", "endings", "says"),
    [
        ("a.docx", TABLES, r"a.docx: cannot be written as .docx; use one of .ecsv, .parquet"),
        ("a", TABLES, "a: cannot be written as a name without ending"),
        ("nowhere/a.ecsv", TABLES, "there is no folder .*nowhere; make it first"),
        ("folder.ecsv", TABLES, "folder.ecsv: is a folder; name a file"),
        ("file", (), "file: is a file; name a folder"),
        ("file/folder", (), "file is a file"),
    ],
)
def test_what_cannot_be_written_is_refused_whatever_is_told(name, endings, says, tmp_path):
    (tmp_path / "folder.ecsv").mkdir()
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ValueError, OSError), match=says):
        check_output(tmp_path / name, endings, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("absent", [["pyarrow"], ["pandas"], ["pandas", "pyarrow"]])
def test_a_format_whose_package_is_not_installed_is_refused(absent, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "find_spec", lambda name: None if name in absent else name)
    told = rf"a.parquet: .parquet needs {' and '.join(absent)}, .*pip install {' '.join(absent)}, or"
    with pytest.raises(ValueError, match=told):
        check_output(tmp_path / "a.parquet", TABLES)
    check_output(tmp_path / "a.ecsv", TABLES)


@pytest.mark.parametrize(("name", "endings"), [("a.ecsv", TABLES), ("new", ()), ("new/er", ()), ("", ())])
def test_a_folder_that_may_not_be_written_to_is_named(name, endings, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path))  # root may write anywhere
    with pytest.raises(PermissionError, match=rf"{name or tmp_path}: the folder {tmp_path} may not be written to"):
        check_output(tmp_path / name, endings, overwrite=True)


def test_an_error_of_writing_names_the_users_path(tmp_path):
    path = tmp_path / "nowhere" / "a.npy"
    with pytest.raises(OSError, match="cannot be written") as refused, whole(path) as scratch:
        scratch.write_bytes(b"")
    assert str(refused.value) == f"{path}: cannot be written: No such file or directory"


def test_an_error_about_another_file_is_left_alone(tmp_path):
    with pytest.raises(FileNotFoundError) as refused, whole(tmp_path / "a.npy"):
        (tmp_path / "input").read_bytes()
    assert refused.value.filename == str(tmp_path / "input")


@pytest.mark.parametrize("name", ["plain", "table.ecsv", "IMAGES.NPY", "part-00000.h5"])
def test_a_file_appears_when_it_is_whole(name, tmp_path):
    path = tmp_path / name
    path.write_text("before")
    with whole(path) as scratch:
        scratch.write_text("after")
        assert scratch.name.endswith(path.suffix.lower())
        assert list(tmp_path.glob(SCRATCH)) == [scratch]
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_file_as_it_was(failure, tmp_path):
    path = tmp_path / "table.fits"
    path.write_text("before")

    def write():
        with whole(str(path)) as scratch:
            scratch.write_text("half")
            raise failure

    with pytest.raises(failure):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_that_fails_before_it_begins_is_no_other_error(tmp_path):
    with pytest.raises(ValueError, match="no such format"), whole(tmp_path / "a.png"):
        raise ValueError("no such format")
