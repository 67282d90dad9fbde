"""The configuration tree: written and read back, changed by key, and refused in one line where it is wrong."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from hiper.envs import about
from hiper.runs.config import Config, ConfigError, described, keys, load_config, make_config, to_toml

ROOT = Path(__file__).resolve().parents[2]
CHANGED = {
    "seed": 7,
    "env": {"data": 'a "quoted" # path', "options": {"size": "small", "chain": 2, "rate": 0.5, "renumber": True}},
    "sft": {"optim": {"lr": 1e-5, "kind": "muon"}, "steps": 3},
    "credit": {"estimator": "gae", "gamma": 1.0},
    "eval": {"splits": ["valid_unseen"]},
}
ARENAS = sorted((ROOT / "configs").glob("arena*.toml"))
SINGLE = sorted(set((ROOT / "configs").glob("*.toml")) - set(ARENAS))
SHIPPED = [*SINGLE, *sorted((ROOT / "src" / "hiper").rglob("recipes/*.toml"))]


@pytest.mark.parametrize("data", [{}, CHANGED], ids=["default", "changed"])
@pytest.mark.parametrize("write", [to_toml, described])
def test_written_and_read_back_it_is_the_same(data: dict[str, Any], write: Any, tmp_path: Path) -> None:
    config = make_config(data)
    file = tmp_path / "config.toml"
    file.write_text(write(config), encoding="utf-8")
    assert load_config(file) == config


def test_every_key_is_described() -> None:
    text = described(Config())
    lines = [line for line in text.splitlines() if line and not line.startswith("[")]
    assert all(len(line.partition(" # ")[2]) > 5 for line in lines)
    leaves = [key for key in keys() if not any(other.startswith(f"{key}.") for other in keys())]
    assert len(lines) == len(leaves)
    assert "(adamw | muon)" in text


def test_the_tree_does_not_change_under_way() -> None:
    for section in (Config(), Config().train, Config().train.optim):
        with pytest.raises(ValueError, match="frozen"):
            section.seed = 1  # type: ignore[misc, union-attr]


def test_what_is_not_given_has_the_default_of_its_place() -> None:
    default = Config().train.optim
    assert default != Config().sft.optim
    given = make_config({"train": {"optim": {"warmup": 77}}}, ["train.optim.weight_decay=0.5"]).train.optim
    assert given == default.model_copy(update={"warmup": 77, "weight_decay": 0.5})


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_is_shipped_can_be_read(file: Path) -> None:
    assert load_config(file) == make_config(tomllib.loads(file.read_text(encoding="utf-8")))


def test_splits_that_are_not_given_are_those_of_the_environment() -> None:
    for name in ("alfworld", "webshop"):
        config = make_config({"env": {"name": name}})
        own = about(name)
        assert config.eval.splits == own.eval_splits
        assert config.env.train_split == config.sft.split == own.train_split
        assert make_config({"env": {"name": name}, "eval": {"splits": []}}).eval.splits == ()
    given = make_config({"sft": {"split": "a"}}, ["env.name=webshop", "env.train_split=b", 'eval.splits=["c"]'])
    assert (given.sft.split, given.env.train_split, given.eval.splits) == ("a", "b", ("c",))
    with pytest.raises(ConfigError, match=r"unknown environment 'webshp'; .* did you mean 'webshop'"):
        make_config({"env": {"name": "webshp"}})


def test_a_resolved_configuration_can_be_read_where_its_environment_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(to_toml(make_config({})).replace('"alfworld"', '"gone"'), encoding="utf-8")
    config = load_config(file)
    assert (config.env.name, config.eval.splits) == ("gone", ("valid_seen", "valid_unseen"))


def test_overrides_are_toml_values_and_bare_words_strings() -> None:
    overrides = [
        "seed=5",
        "env.data=/some/where",
        "env.options.size=small",
        "env.options.chain = 2",
        "train.optim.lr=3e-4",
        "sft.renumber=true",
        'eval.splits=["valid_seen"]',
        "model.device=cuda:0",
        "env.data=/later/wins",
    ]
    config = make_config({"seed": 1, "train": {"steps": 9}}, overrides)
    assert (config.seed, config.train.steps, config.train.optim.lr) == (5, 9, 3e-4)
    assert (config.env.data, config.env.options) == ("/later/wins", {"size": "small", "chain": 2})
    assert (config.sft.renumber, config.eval.splits, config.model.device) == (True, ("valid_seen",), "cuda:0")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.stepz=1", "unknown key 'train.stepz'; did you mean 'train.steps'?"),
        ("steps=1", "unknown key 'steps'; did you mean 'train.steps'?"),
        ("lr=1", "unknown key 'lr'; did you mean 'train.optim.lr'?"),
        ("train.lr=1", "unknown key 'train.lr'; did you mean 'train.optim.lr'?"),
        ("optim.lr=1", "unknown key 'optim'; did you mean 'train.optim.lr'?"),
        ("trian.steps=1", "unknown key 'trian'; did you mean 'train'?"),
        ("train.optim.learning_rate=1", "unknown key 'train.optim.learning_rate'; did you mean 'train.optim."),
        ("zzzzzz=1", "unknown key 'zzzzzz'; the nearest is '"),
        ("a.b.c=1", "unknown key 'a'; the nearest is '"),
        ("train.steps=true", "train.steps: Input should be a valid integer (got True)"),
        ("threads=99999999", "threads: Input should be less than or equal to 1024 (got 99999999)"),
        ("env.max_turns=0", "env.max_turns: Input should be greater than or equal to 1 (got 0)"),
        ("sampling.max_reply=0", "sampling.max_reply: Input should be greater than or equal to 1 (got 0)"),
        ("train.max_turns=-1", "train.max_turns: Input should be greater than or equal to 0 (got -1)"),
        ("credit.gamma=1.5", "credit.gamma: Input should be less than or equal to 1 (got 1.5)"),
        ("credit.gamma=high", "credit.gamma: Input should be a valid number"),
        ("train.optim.lr=-1", "train.optim.lr: Input should be greater than or equal to 0 (got -1)"),
        ("train.optim.lr=nan", "train.optim.lr: Input should be"),
        ("train.value_coef=inf", "train.value_coef: Input should be"),
        ("train.optim.beta2=1", "train.optim.beta2: Input should be less than 1 (got 1)"),
        ("train.dual_clip=0.5", "train.dual_clip: Value error, expected 0 or more than 1"),
        ("eval.splits=valid_seen", 'eval.splits: expected a list, such as ["a", "b"] (got \'valid_seen\')'),
        ("credit=hae", "credit: expected a section, not a value (got 'hae')"),
        ("agent.interface=chat", "agent.interface: Input should be 'plan_execute', "),
        ("env.options.size=[1]", "env.options.size: Input should be a valid string, or a valid integer, or"),
        ("credit.lam_boundary=adaptiv", "unable to parse string as a number, or 'adaptive' (got 'adaptiv')"),
        ("eval.splits=[1]", "eval.splits: Input should be a valid string (got 1)"),
        ("seed.x=1", "seed: Input should be a valid integer"),
        ("train", "override 'train': expected key=value"),
        ("train.steps.x=1", "train.steps.x: steps is a value, not a section"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_config({"train": {"steps": 1}}, [override])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["credit.estimator=grpo"], "train.group = 1: grpo compares the episodes of one game; set it to 2 or more"),
        (
            ["credit.estimator=rloo", "train.group=2", "train.critic_warmup=2"],
            "train.critic_warmup = 2: rloo has no critic to warm up, and such steps would train nothing; set it to 0",
        ),
        (["train.group=3", "train.episodes=8"], "train.episodes = 8 is not a multiple of train.group = 3"),
        (["sft.steps=5", "sft.drill=5"], "sft.drill = 5 leaves nothing of sft.steps = 5"),
        (["agent.longest_part=8"], "agent.longest_part = 8: set agent.separator, which tells parts apart"),
    ],
)
def test_settings_that_do_not_go_together(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        make_config({}, overrides)
    assert str(error.value) == said


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("seed = = 1", encoding="utf-8")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for file, said in (
        (tmp_path / "none.toml", "none.toml: no such configuration file"),
        (bad, "bad.toml: not a TOML file"),
        (tmp_path / "binary.toml", "binary.toml: not a TOML file"),
        (tmp_path, "not a TOML file"),
    ):
        with pytest.raises(ConfigError, match=said):
            load_config(file)


def test_all_keys_are_listed_once() -> None:
    listed = list(keys())
    assert len(set(listed)) == len(listed)
    for key in listed:
        section: Any = Config()
        for part in key.split("."):
            assert isinstance(section, BaseModel)
            section = getattr(section, part)
