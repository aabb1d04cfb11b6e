"""What is drawn of a catalog's uses: every galaxy in its place with its title, every number where it belongs."""

import numpy as np
import pytest

from galvae.plots import save
from galvae.uses.figures import confusion, learning, sheet

FOUND = {
    "label": "kind_$x", "galaxies": 50, "classes": {"a": 30, "b": 20}, "chance": 0.5, "beside": ["axis_ratio"],
    "z": {"score": 0.8, "error": 0.05, "confusion": [[27.0, 3.0], [6.0, 14.0]],
          "learning": [{"labels": 10, "score": 0.6, "spread": 0.1}]},
    "form": {"score": 0.55, "error": 0.05, "confusion": [[20.0, 10.0], [9.0, 11.0]],
             "learning": [{"labels": 10, "score": 0.5, "spread": 0.1}]},
}  # fmt: skip


@pytest.mark.parametrize(("count", "columns"), [(1, 8), (5, 3), (8, 4)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_sheet_shows_each_galaxy_upright_above_its_title(count, columns, channels, tmp_path):
    n = 10
    images = np.random.default_rng(0).uniform(size=(count, n, n, channels))
    figure = sheet(images, [f"id_{number}\n$" for number in range(count)], columns=columns, heading="some")
    (panel,) = figure.axes
    shown = np.asarray(panel.images[0].get_array())
    for number, text in enumerate(panel.texts):
        assert text.get_text() == f"id_{number}\n$"
        x, y = text.get_position()
        left, foot = round(x - (n - 1) / 2), round(y) - 1
        wanted = images[number] if channels == 3 else np.repeat(images[number], 3, -1)
        assert shown[foot - n : foot, left : left + n] == pytest.approx(np.round(wanted[::-1] * 255))
    save(figure, tmp_path / "s.png")


def test_the_confusion_is_of_each_labels_galaxies(tmp_path):
    figure = confusion(FOUND)
    assert [text.get_text() for text in figure.axes[0].texts] == ["90%\n27", "10%\n3", "30%\n6", "70%\n14"]
    assert figure.axes[0].get_title() == "kind_$x: balanced accuracy 0.800 ± 0.050"
    save(figure, tmp_path / "c.png")


@pytest.mark.parametrize("without", [[], ["form"], ["points"]])
def test_learning_is_drawn_of_whatever_there_is(without, tmp_path):
    found = {name: value for name, value in FOUND.items() if name not in without}
    if "points" in without:
        found |= {name: found[name] | {"learning": []} for name in ("z", "form")}
    figure = learning(found)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["chance", "z"] + ["axis_ratio"] * ("form" in found)
    save(figure, tmp_path / "l.png")
