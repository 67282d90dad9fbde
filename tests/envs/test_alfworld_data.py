"""Finding, reading and keeping game data, and what is said when it cannot be done."""

import lzma
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hiper.envs.alfworld import cache
from hiper.envs.alfworld.data import OfficialGames, open_games
from hiper.envs.errors import DataError, DataNotFound, UnknownName
from tests.envs.official_files import TASK, game_file, problem, write_pack, write_tree

NAMES = [f"valid_seen/pick_clean_then_place_in_recep-Mug-None-Desk-{i}/trial_{i}" for i in range(3)]
GAMES = {name: game_file() for name in NAMES}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path / "cache"))


def test_tree_and_pack_hold_the_same_games(tmp_path: Path) -> None:
    root = write_tree(tmp_path, GAMES)
    pack = write_pack(tmp_path / "games.jsonl.xz", GAMES)
    packed = OfficialGames(pack, "valid_seen")
    assert packed.names() == tuple(NAMES)
    assert packed.version == "json_2.1.1"
    tree = OfficialGames(root, "valid_seen")
    assert (tree.names(), tree.sha256) == (packed.names(), packed.sha256)
    for name in NAMES:
        assert tree.game(name) == packed.game(name)
        assert tree.files.official_json(name) == packed.files.official_json(name) == GAMES[name]
    pack.unlink()
    assert OfficialGames(tmp_path, "valid_seen").sha256 == tree.sha256  # the folder above json_2.1.1


def test_a_folder_with_a_pack_is_read_by_its_pack(tmp_path: Path) -> None:
    write_pack(tmp_path / "games.jsonl.xz", GAMES)
    assert len(OfficialGames(tmp_path, "valid_seen")) == 3


def test_a_game_answers_to_several_spellings_and_is_built_once(tmp_path: Path) -> None:
    games = OfficialGames(write_tree(tmp_path, GAMES), "valid_seen")
    game = games.game(NAMES[1])
    assert game.task == TASK
    for name in (
        NAMES[1],
        f"{NAMES[1]}/game.tw-pddl",
        f"/data/json_2.1.1/{NAMES[1]}/game.tw-pddl",
        f"{NAMES[1]}/",
    ):
        assert games.game(name) is game


def test_threads_get_the_same_games(tmp_path: Path) -> None:
    games = OfficialGames(write_tree(tmp_path, GAMES), "valid_seen")
    with ThreadPoolExecutor(8) as threads:
        built = list(threads.map(games.game, NAMES * 50))
    assert {id(game) for game in built} == {id(games.game(name)) for name in NAMES}


def test_choice_is_seeded_and_covers_all(tmp_path: Path) -> None:
    games = OfficialGames(write_tree(tmp_path, GAMES), "valid_seen")
    picked = [games.pick(np.random.default_rng(seed)) for seed in range(30)]
    assert picked == [games.pick(np.random.default_rng(seed)) for seed in range(30)]
    assert set(picked) == set(NAMES)


def test_users_of_one_path_share_the_games(tmp_path: Path) -> None:
    root = write_tree(tmp_path, GAMES)
    games = open_games(root, "valid_seen")
    assert open_games(str(root), "valid_seen") is games


def test_unsolvable_and_unsupported_games_are_left_out(tmp_path: Path) -> None:
    extra = {
        "valid_seen/pick_and_place_simple-AppleSliced-None-Desk-1/trial_1": game_file(),
        "valid_seen/pick_and_place_with_movable_recep-Pen-Cup-Desk-1/trial_1": game_file(),
        "valid_seen/pick_and_place_simple-Mug-None-Desk-9/trial_9": game_file(solvable=False),
    }
    assert OfficialGames(write_tree(tmp_path, GAMES | extra), "valid_seen").names() == tuple(NAMES)


# What is said when something is wrong. Every message is one line.


def fails(error: type[Exception], path: Path | str, split: str, *parts: str) -> None:
    with pytest.raises(error) as caught:
        OfficialGames(path, split)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_no_such_path(tmp_path: Path) -> None:
    fails(DataNotFound, tmp_path / "nowhere", "train", "no such file or folder", "nowhere")
    fails(FileNotFoundError, tmp_path / "nowhere", "train")
    fails(ValueError, tmp_path / "nowhere", "train")


def test_folder_without_games(tmp_path: Path) -> None:
    fails(DataNotFound, tmp_path, "train", "no games in", "json_2.1.1", "games.jsonl.xz")


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_half_a_pack(tmp_path: Path, share: float) -> None:
    content = write_pack(tmp_path / "whole.xz", GAMES).read_bytes()
    half = tmp_path / "games.jsonl.xz"
    half.write_bytes(content[: int(len(content) * share)])
    fails(DataError, half, "valid_seen", "damaged or only half downloaded", str(half))


@pytest.mark.parametrize("content", [b"", b"no xz at all", b"{}"])
def test_a_file_that_is_no_pack(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "games.jsonl.xz"
    file.write_bytes(content)
    fails(DataError, tmp_path, "valid_seen", str(file))


def test_a_pack_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "games.jsonl.xz"
    file.write_bytes(lzma.compress(b'{"format": "something"}\n'))
    fails(DataError, file, "valid_seen", "is not a pack of ALFWorld games")
    file.write_bytes(lzma.compress(b"[1"))
    fails(DataError, file, "valid_seen", "damaged")


def test_half_a_game_file(tmp_path: Path) -> None:
    root = write_tree(tmp_path, GAMES)
    file = root / NAMES[1] / "game.tw-pddl"
    file.write_text(file.read_text()[:100])
    fails(DataError, root, "valid_seen", str(file), "damaged", "download it again")


@pytest.mark.parametrize("content", ["[]", "{}", '{"pddl_domain": ""}'])
def test_a_file_that_is_no_game(tmp_path: Path, content: str) -> None:
    root = write_tree(tmp_path, GAMES)
    (root / NAMES[0] / "game.tw-pddl").write_text(content)
    fails(DataError, root, "valid_seen", NAMES[0], "not a game file")


def test_a_game_without_task_sentence(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {NAMES[0]: game_file(task="Do something.")})
    fails(DataError, root, "valid_seen", NAMES[0], "task sentence")


def test_a_game_with_an_unknown_goal(tmp_path: Path) -> None:
    odd = game_file(pddl_problem=problem().replace("isClean", "isShiny"))
    fails(DataError, write_tree(tmp_path, {NAMES[0]: odd}), "valid_seen", NAMES[0], "goal")


def test_unknown_split(tmp_path: Path) -> None:
    known = "known: train, valid_train, valid_seen, valid_unseen"
    fails(UnknownName, write_tree(tmp_path, GAMES), "valid_sen", known, "did you mean 'valid_seen'?")


def test_split_without_games(tmp_path: Path) -> None:
    root = write_tree(tmp_path, GAMES)
    fails(DataError, root, "train", "split 'train' of", "has no games")
    (root / "train").mkdir()
    fails(DataError, root, "train", "has no games")
    fails(DataError, write_pack(tmp_path / "p.xz", GAMES), "train", "has no games")


def test_unknown_game_offers_the_nearest(tmp_path: Path) -> None:
    games = OfficialGames(write_tree(tmp_path, GAMES), "valid_seen")
    with pytest.raises(UnknownName) as caught:
        games.game(NAMES[1].replace("Mug", "Mugg"))
    assert str(caught.value).endswith(f"in split valid_seen; did you mean {NAMES[1]!r}?")


# The cache


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.games"))


def test_compiled_games_are_kept_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(tmp_path, GAMES)
    first = OfficialGames(root, "valid_seen")
    assert len(kept(tmp_path)) == 1

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr("hiper.envs.alfworld.data.compile_game", refuse)
    again = OfficialGames(root, "valid_seen")
    assert (again.names(), again.sha256) == (first.names(), first.sha256)
    assert again.game(NAMES[2]) == first.game(NAMES[2])


def test_changed_data_is_compiled_anew(tmp_path: Path) -> None:
    root = write_tree(tmp_path, GAMES)
    first = OfficialGames(root, "valid_seen")
    file = root / NAMES[0] / "game.tw-pddl"
    file.write_text(file.read_text().replace("clean mug in desk", "clean mug on desk"))
    os.utime(file, (time.time() + 10, time.time() + 10))
    second = OfficialGames(root, "valid_seen")
    assert second.sha256 != first.sha256
    assert second.game(NAMES[0]).task != first.game(NAMES[0]).task


@pytest.mark.parametrize("content", [b"", b"rubbish", None])
def test_a_damaged_cache_file_is_replaced(tmp_path: Path, content: bytes | None) -> None:
    root = write_tree(tmp_path, GAMES)
    OfficialGames(root, "valid_seen")
    [file] = kept(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20] if content is None else content)
    assert len(OfficialGames(root, "valid_seen")) == 3
    assert file.read_bytes() == whole
    assert list(file.parent.iterdir()) == [file]  # nothing half-written is left behind


def test_without_a_place_to_keep_games_it_warns_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HIPER_CACHE", str(tmp_path / "file"))
    root = write_tree(tmp_path, GAMES)
    with pytest.warns(UserWarning, match="cannot keep compiled games in"):
        games = OfficialGames(root, "valid_seen")
    assert len(games) == 3


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.folder().name == "alfworld"
    monkeypatch.delenv("HIPER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.folder() == Path("/somewhere/hiper/alfworld")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == Path.home() / ".cache" / "hiper" / "alfworld"
