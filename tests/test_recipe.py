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
    promised = {
        "smoke",
        "demo",
        "paper/galaxy-zoo",
        "galaxy-zoo",
        "galaxy-zoo-cpu",
        "galaxy-zoo-close",
        "em-negative-stain",
    }
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
        ("train.epochs=true", "train.epochs = True: input should be a valid integer"),
        ("train.batch=20.0", "train.batch = 20.0: input should be a valid integer"),
        ('ingest.field="128"', "ingest.field = '128': input should be a valid integer"),
        ("model.infer_rotation=no", "model.infer_rotation = 'no': input should be a valid boolean"),
        ("simulate.size=[1, true]", "simulate.size = True"),
        ("simulate.size=[7, 2]", "simulate.size = [7, 2]: expected [low, high]"),
        ("model.generator=vanilla", "--set model.generator=vanilla: model: a vanilla generator has no pose"),
        ("simulate.spirals=0.9", "simulate: spirals + ellipticals is more than 1"),
        *(
            (f"{table}.seed={seed}", f"{table}.seed = {seed}: input should be ")
            for table in ("ingest", "train", "catalog")
            for seed in (-1, 2**63)
        ),
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


def test_whole_numbers_do_for_real_ones_and_lists_for_pairs():
    recipe = load_recipe("demo", ["train.learning_rate=1", "simulate.size=[2, 7]", "train.seed=9223372036854775807"])
    assert (recipe.train.learning_rate, recipe.simulate.size, recipe.train.seed) == (1.0, (2.0, 7.0), 2**63 - 1)
    assert isinstance(recipe.train.learning_rate, float)


def test_one_table_of_a_recipe_whatever_the_others_hold(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[model]\nfuture = 1\n\n[catalog]\nlooks = 5\n")
    with pytest.raises(ValueError, match=r"unknown key model\.future"):
        load_recipe(path)
    assert load_recipe(path, only="catalog").catalog.looks == 5
    assert load_recipe(path, ["catalog.looks=6"], only="catalog").catalog.looks == 6
    for change in ("catalog.future=1", "model.future=1"):
        with pytest.raises(ValueError, match=r"unknown key .*future"):
            load_recipe(path, [change], only="catalog")
    with pytest.raises(ValueError, match=r"train.seed=1: changes nothing here, where \[catalog\] alone counts"):
        load_recipe(path, ["catalog.looks=6", "train.seed=1"], only="catalog")


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(FileNotFoundError, match="did you mean galaxy-zoo-cpu"):
        recipe_path("galaxy_zoo_cpu")


def test_defaults_make_a_recipe():
    assert Recipe().model.encoder == "mlp"
