import pytest

from vl2.errors import InputError
from vl2.train.recipe import BUILTIN, Recipe, load_recipe


@pytest.mark.parametrize("name", sorted(path.stem for path in BUILTIN.glob("*.yaml")))
def test_built_in_recipes_load(name):
    recipe = load_recipe(name)
    assert recipe.name == name


def test_settings_replace_what_the_file_says():
    recipe = load_recipe("nano", ("steps=7", "learning_rate=1e-4", "turns=[1, 2]"))
    assert (recipe.steps, recipe.learning_rate, recipe.turns) == (7, 1e-4, (1, 2))


def test_saved_recipe_loads_as_the_same(tmp_path):
    recipe = load_recipe("nano", ("seed=5",))
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.as_yaml(), encoding="utf-8")
    assert load_recipe(str(path)) == recipe


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("stps=3", "Did you mean 'steps'"),
        ("steps=0", "steps must be at least 1, got 0"),
        ("steps=many", "steps must be of type int, got 'many'"),
        ("steps=true", "steps must be of type int"),
        ("schedule=linear", "cosine, step, constant"),
        ("stage=rl", "vision, align, pretrain, sft"),
        ("turns=[3, 1]", "the lower first"),
        ("turns=3", "two integers"),
        ("steps", "key=value"),
        ("learning_rate=-1", "positive"),
        ("lora_rank=4", "--set bias_step=0"),
    ],
)
def test_a_bad_setting_is_told(setting, told):
    with pytest.raises(InputError, match=told.replace("[", r"\[")):
        load_recipe("nano", (setting,))


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(InputError, match="nano-vision"):
        load_recipe("nanoo")


def test_broken_yaml_is_told(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(InputError, match="not valid YAML"):
        load_recipe(str(path))


def test_defaults_are_those_of_the_paper():
    recipe = Recipe(name="x")
    assert (recipe.vision_multiplier, recipe.weight_decay, recipe.clip) == (0.1, 0.1, 1.0)
