"""Every option of every command: lists of one, values of another kind or range, and options that do not exist."""

from __future__ import annotations

import re
from copy import deepcopy
from functools import cache

import hydra
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from common.config import compose_config
from common.option_rules import LISTS, NUMBERS, ONE_OR_LIST, Number, entry
from common.options import fit_options, keys
from common.paths import CONFIGS

# Between them, every option of every config in configs/.
COMMANDS = [(path.stem,) for path in sorted(CONFIGS.glob("*.yaml")) if path.stem != "command"]
COMMANDS += [
    ("contrastive", "model=heads"),
    ("caption", "decoding=clip_rerank"),
    ("generate_images", "generator=karlo"),
]
COMMANDS += [("eval_coco", "decoding=nucleus", "alignment=memory_bridge"), ("ddpm", "denoiser=unet1d", "tracker=wandb")]
COMMANDS += [("modality_translation", "translator@model=mlp"), ("image_captioning", "decoder=gpt2", "dataset=text")]
COMMANDS += [("prepare_data", f"encoder={path.stem}") for path in sorted((CONFIGS / "encoder").glob("*.yaml"))]
COMMANDS += [("prepare_data", f"dataset={path.stem}") for path in sorted((CONFIGS / "dataset").glob("*.yaml"))]
COMMANDS += [("image_captioning", f"alignment={path.stem}") for path in sorted((CONFIGS / "alignment").glob("*.yaml"))]
COMMANDS += [("image_captioning", f"parts={path.stem}") for path in sorted((CONFIGS / "parts").glob("*.yaml"))]

# The commands themselves refuse what is too small, in their own words.
CHECKED_LATER = ("repeats", "pictures", "validation_captions")


@cache
def composed(stage: str, *groups: str) -> tuple[DictConfig, dict]:
    """The config as Hydra composes it, and the choices of its groups; its defaults are known from then on."""
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose(stage, [*groups], return_hydra_config=True)
        choices = dict(config.hydra.runtime.choices)
        OmegaConf.set_struct(config, False)
        del config["hydra"]
        fit_options(deepcopy(config), stage, choices)
    return config, choices


def fitted(command: tuple[str, ...], option: str, value) -> DictConfig:
    """The command's options with one of them set to any value, as its command line would have it."""
    config, choices = composed(*command)
    config = deepcopy(config)
    OmegaConf.update(config, option, value, merge=False, force_add=True)
    return fit_options(config, command[0], choices)


def options(command: tuple[str, ...]) -> dict:
    """{option: default} of all options that have no parts, unresolved."""
    config = composed(*command)[0]
    plain = OmegaConf.to_container(config, resolve=False)
    found = {}
    for option in keys(plain):
        value = plain
        for name in option.split("."):
            value = value[name]
        if not isinstance(value, dict) and option != "output_dir":
            found[option] = value
    return found


def refused(command: tuple[str, ...], option: str, value) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(option)}=.* must ") as caught:
        fitted(command, option, value)
    assert "\n" not in str(caught.value)


each_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@each_command
def test_the_defaults_fit_themselves(command):
    config, choices = composed(*command)
    assert fit_options(deepcopy(config), command[0], choices) == config


@each_command
def test_one_value_where_a_list_is_wanted_is_a_list_of_one(command):
    for option, default in options(command).items():
        rule = entry(LISTS, option)
        if (
            not (rule or isinstance(default, list))
            or option in ONE_OR_LIST
            or (default and isinstance(default[0], dict))
        ):
            continue
        text = rule is str or (not isinstance(rule, Number) and not (default and not isinstance(default[0], str)))
        value = "cat" if text else 0.5 if rule is None and isinstance(default[0], float) else True
        value = next(n for n in (1, 0.5) if rule.allows(n)) if isinstance(rule, Number) else value
        if rule is None and default and type(default[0]) is int:
            value = 1
        assert OmegaConf.select(fitted(command, option, value), option) == [value], option
        refused(command, option, {"a": value})
        refused(command, option, [[value]]) if default or rule else None


@each_command
def test_a_list_where_one_value_is_wanted_is_refused(command):
    for option, default in options(command).items():
        if isinstance(default, list) or entry(LISTS, option) or option in ONE_OR_LIST:
            continue
        for value in ([default, default], ["a"], [0], []):
            with pytest.raises(ValueError, match=rf"^{re.escape(option)}=\[.* must be one value and no list"):
                fitted(command, option, value)


@each_command
def test_no_number_takes_words_flags_or_what_is_no_number(command):
    for option, default in options(command).items():
        is_number = isinstance(default, (int, float)) and not isinstance(default, bool)
        if not is_number and not (default is None and entry(NUMBERS, option)):
            continue
        for value in ("word", *([True] if default != 1 else []), float("nan"), float("inf"), float("-inf"), ""):
            refused(command, option, value)
        if isinstance(default, int):
            refused(command, option, 1.5)
            if option not in CHECKED_LATER:
                refused(command, option, -1)
        if option.rpartition(".")[2] in ("batch_size", "steps", "timesteps", "depth", "log_every"):
            refused(command, option, 0)
        if option.rpartition(".")[2] in ("workers", "seed"):
            fitted(command, option, 0)


@each_command
def test_flags_are_true_or_false_and_nothing_that_looks_like_it(command):
    for option, default in options(command).items():
        if isinstance(default, bool):
            for value in ("no", "yes", "off", 2, None):
                refused(command, option, value)
            assert OmegaConf.select(fitted(command, option, not default), option) is not default


@each_command
def test_what_does_not_exist_cannot_be_added_next_to_what_does(command):
    for option in {option.rpartition(".")[0] for option in options(command)}:
        parents = [option.rsplit(".", count)[0] for count in range(option.count(".") + 1)]
        if set(parents) & {
            "variants",
            "sweeps",
            "image_side",
            "dataset.images",
            "dataset.annotations",
            "dataset.texts",
            "dataset.phrases",
        }:
            continue
        if re.match(r"decoder\.(config|mapper|tokenizer)|model(\.(vision_cfg|text_cfg|preprocess))?$", option):
            continue
        added = f"{option}.misspelt".lstrip(".")
        with pytest.raises(ValueError, match=rf"^There is no option {re.escape(added)}: see configs/{command[0]}"):
            fitted(command, added, 3)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="$?/."), min_size=1, max_size=20)


@settings(deadline=None)
@given(
    words=st.lists(TEXT, max_size=4, unique=True),
    word=TEXT,
    option=st.sampled_from(["methods", "metrics", "test_on", "decodings"]),
)
def test_lists_of_any_words_are_kept_and_any_word_is_a_list_of_one(words, word, option):
    command = ("compare_methods",)
    assert OmegaConf.select(fitted(command, option, words), option) == words
    assert OmegaConf.select(fitted(command, option, word), option) == [word]


@settings(deadline=None)
@given(seeds=st.lists(st.integers(0, 2**31), max_size=4, unique=True), seed=st.integers(0, 2**31))
def test_lists_of_any_seeds_are_kept_and_any_seed_is_a_list_of_one(seeds, seed):
    for command in (("compare_methods",), ("compare_translations",), ("demo",)):
        assert fitted(command, "seeds", seeds).seeds == seeds and fitted(command, "seeds", seed).seeds == [seed]


@pytest.mark.parametrize(
    ("stage", "overrides", "option", "value"),
    [
        ("evaluate_embeddings", ["classes=cat"], "classes", ["cat"]),
        ("evaluate_embeddings", ["classes=[0,1,2]"], "classes", ["0", "1", "2"]),
        ("evaluate_embeddings", ["classes=null"], "classes", None),
        ("evaluate_embeddings", ["classes=cat", "templates='a {}'", "alignments=c3"], "templates", ["a {}"]),
        ("demo", ["oracles=oracle_pairs"], "oracles", ["oracle_pairs"]),
        ("compare_methods", ["few_captions=0.05"], "few_captions", [0.05]),
        ("compare_methods", ["+variants.my={captioner: 'loop.steps=3'}"], "variants.my.captioner", ["loop.steps=3"]),
        ("compare_methods", ["experiment=flickr8k_photos", "oracles=oracle_text"], "oracles", ["oracle_text"]),
        ("prepare_data", ["dataset=text", "dataset.texts.train=a.txt"], "dataset.texts.train", ["a.txt"]),
        ("prepare_data", ["dataset=coco", "dataset.extra_text=a.jsonl"], "dataset.extra_text", "a.jsonl"),
        ("image_generation", ["network.channels=[16,16]"], "network.channels", [16, 16]),
        ("ddpm", ["name=5"], "name", "5"),
        ("ddpm", ["diffusion.embed_scale=sqrt_dim"], "diffusion.embed_scale", "sqrt_dim"),
        ("image_captioning", ["decoder.config=null", "decoder.pretrained=gpt2"], "decoder.config", None),
        ("image_captioning", ["alignment=c3", "alignment.noise_std=auto"], "alignment.noise_std", "auto"),
        ("image_captioning", ["+decoder.mapper.hidden=8"], "decoder.mapper.hidden", 8),
        ("prepare_data", ["+encoder.device=cpu"], "encoder.device", "cpu"),
        ("prepare_data", ["dataset=coco_official", "+dataset.images.extra=a"], "dataset.images.extra", "a"),
    ],
)  # fmt: skip
def test_command_lines_that_mean_what_they_say(stage, overrides, option, value):
    assert OmegaConf.select(compose_config(stage, *overrides), option) == value


@pytest.mark.parametrize(
    ("stage", "overrides", "words"),
    [
        ("ddpm", ["seed=[0]"], "seed=[0] must be one value and no list; one run for each of several: -m seed=0"),
        ("eval_coco", ["split=[a,b]"], "split=[a,b] must be one value and no list; one run for each of several"),
        ("ddpm", ["+loop.step=3"], "There is no option loop.step, but loop.steps"),
        ("ddpm", ["++lopp.steps=3"], "There is no option lopp"),
        ("ddpm", ["+decoding=beam"], "There is no option decoding"),
        ("eval_coco", ["+decoding.beems=3"], "There is no option decoding.beems"),
        ("caption", ["encoder.batch_size=0"], "encoder.batch_size=0 must be null or a whole number, at least 1"),
        ("eval_coco", ["decoding=nucleus", "decoding.seed=-1"], "decoding.seed=-1 must be null or a whole number"),
        ("compare_methods", ["seeds=[0,a]"], "seeds=[0,a]: each must be a whole number, at least 0, and 'a' is not"),
        ("contrastive_gap", ["temperatures=[0]"], "temperatures=[0]: each must be a number, above 0, and 0 is not"),
        ("generate_images", ["generator=karlo", "generator.embedding_length=0"], "must be null or a number, above 0"),
        ("generate_images", ["generator=karlo", "generator.length_pictures=0"], "must be a whole number, at least 1"),
        ("compare_methods", ["metrics=[CIDEr,BLEU,CIDEr]"], "metrics=[CIDEr,BLEU,CIDEr] has CIDEr twice: leave one of"),
        ("compare_methods", ["few_pairs=[1,0.5,1.0]"], "few_pairs=[1,0.5,1.0] has 1.0 twice"),
        ("generate_images", ["guidance_scales=[2,2]"], "guidance_scales=[2,2] has 2 twice"),
        ("compare_translations", ["sweeps.steps=[1,1]"], "sweeps.steps=[1,1] has 1 twice"),
        ("compare_methods", ["seeds='0,1'"], "and '0,1' is not; a list is seeds=[0,1]"),
        ("compare_methods", ["seeds=0,1"], "To use it as a list, use key=[value1,value2]"),
        ("compare_methods", ["runs_dir=null"], "runs_dir=null must not be null or empty: leave it out, or name"),
        ("export", ["checkpoint=a", "to=''"], "to= must not be null or empty"),
        ("compare_methods", ["methods=null"], "methods=null must be a list; none is methods=[]"),
        ("compare_methods", ["methods=[true]"], "methods=true must be text: quote it"),
        ("ddpm", ["loop=fast"], "loop=fast must have parts: give loop.steps"),
        ("evaluate_embeddings", ["classes=nowhere.txt"], "classes=nowhere.txt: there is no such file"),
        ("eval_coco", ["overwrite=no"], "overwrite=no must be true or false"),
        ("ddpm", ["diffusion.embed_scale=sqrt"], "diffusion.embed_scale='sqrt' must be sqrt_dim or a number, above 0"),
    ],
)  # fmt: skip
def test_command_lines_that_are_refused_say_what_would_do(stage, overrides, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        compose_config(stage, *overrides)


def test_a_file_of_classes_stays_a_file(tmp_path):
    (tmp_path / "words.list").write_text("dog\n")
    assert compose_config("evaluate_embeddings", f"classes={tmp_path}/words.list").classes == f"{tmp_path}/words.list"


def test_names_with_dots_of_their_own_are_no_paths():
    config = compose_config("compare_methods", "+variants={c3_0.5: {captioner: 'seed=1'}}")
    assert config.variants["c3_0.5"].captioner == ["seed=1"]
