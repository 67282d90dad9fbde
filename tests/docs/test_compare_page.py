"""`docs/compare.md`: the file it shows is one, and its commands name what is there."""

import re
from pathlib import Path

from hiper.report.compare import _LEGEND
from hiper.runs.arena import choose, load_plan

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


def test_the_file_shown_can_be_planned(tmp_path: Path) -> None:
    (shown,) = re.findall(r"^```toml\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "arena.toml").write_text(shown, encoding="utf-8")
    plan = load_plan(tmp_path / "arena.toml", (), tmp_path / "out")
    assert len(plan.entries) == len(plan.arena.seeds) == 5
    assert plan.arena.start is not None


def test_the_part_shown_is_one_of_the_study(tmp_path: Path) -> None:
    found = re.findall(r'--(?:task|arm) (?:"([^"]+)"|(\w+))', PAGE.partition("## The file")[0])
    task, *arms = (quoted or plain for quoted, plain in found)
    plan = load_plan(ROOT / "configs" / "arena.toml", (), tmp_path)
    assert len(choose(plan, tasks=[task], arms=arms)) == 10


def test_every_column_of_the_terminals_table_is_explained() -> None:
    table = PAGE.partition("## What is measured")[2]
    columns = set(re.findall(r"(held out|gain|mean|turns|speed)(?::)", _LEGEND))
    assert columns == {"held out", "gain", "mean", "turns", "speed"}
    assert {name for name in columns if re.search(rf"^\| [^|]*{name}", table, flags=re.MULTILINE)} == columns
