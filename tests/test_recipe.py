"""Recipes: every shipped one is valid, and what is not is refused by name."""

import re
import tomllib

import pytest

from galvae.recipe import Recipe, load_recipe, recipe_names, recipe_path, shipped_data


@pytest.mark.parametrize("path", sorted(shipped_data("pipelines").rglob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid_short_and_says_what_it_is_for(path):
    recipe = load_recipe(path)
    assert recipe.about
    tables = tomllib.loads(path.read_text())
    assert sum(len(table) for table in tables.values() if isinstance(table, dict)) <= 40


def test_the_promised_recipes_are_shipped():
    promised = {"smoke", "demo", "paper/galaxy-zoo", "galaxy-zoo", "galaxy-zoo-cpu"}
    assert promised <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
def test_a_resolved_recipe_reads_back_equal(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_the_paper_recipe_is_the_paper():
    """Bepler et al. 2019, sections 4.1 and 4.4."""
    recipe = load_recipe("paper/galaxy-zoo")
    model, train = recipe.model, recipe.train
    assert (model.latents, model.encoder, model.encoder_units, model.encoder_layers) == (50, "mlp", 5000, 2)
    assert (model.generator, model.generator_units, model.generator_layers) == ("spatial", 500, 2)
    assert (model.likelihood, model.theta_prior, model.shift_sigma) == ("bernoulli", "uniform", 8.0)
    assert model.theta_sigma == pytest.approx(3.14159265)
    assert (train.epochs, train.batch, train.learning_rate, train.schedule) == (300, 100, 1e-4, "constant")
    assert train.pixels == 0
    assert train.freeze_content == 2 * (61578 - 6158) // 100
    assert train.rotate_encoder
    assert (recipe.ingest.window, recipe.ingest.crop) == (64, "fixed")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train.epoch=3", "unknown key train.epoch (did you mean epochs?)"),
        ("trian.epochs=3", "unknown key trian (did you mean train?)"),
        ("train.epochs=some", "train.epochs = 'some'"),
        ("train.epochs=0", "train.epochs = 0"),
        ("train.validation=1.5", "train.validation = 1.5"),
        ("model.encoder=convolutional", "model.encoder = 'convolutional'"),
        ("model.theta_sigma=inf", "model.theta_sigma = inf"),
        ("epochs=3", "table.key=value"),
        ("train.epochs", "table.key=value"),
        ("about.x=3", "about is not a table"),
    ],
)
def test_a_wrong_change_is_refused_by_name(change, says):
    with pytest.raises(ValueError, match=re.escape(says)) as refused:
        load_recipe("demo", [change])
    assert "\n" not in str(refused.value)


def test_changes_take_toml_values_and_bare_words():
    recipe = load_recipe(
        "demo", ["train.epochs=3", 'ingest.bands=["z", "r", "g"]', "ingest.crop=fixed", "train.focus=0.25"]
    )
    assert recipe.train.epochs == 3
    assert recipe.ingest.bands == ("z", "r", "g")
    assert recipe.ingest.crop == "fixed"
    assert recipe.train.focus == 0.25


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean galaxy-zoo-cpu"):
        recipe_path("galaxy_zoo_cpu")


def test_defaults_make_a_recipe():
    assert Recipe().model.encoder == "mlp"
