"""Scratch files: in place when whole, gone when not."""

from __future__ import annotations

import pytest

from galvae.files import SCRATCH, whole


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
