"""Makes files in the two official forms, with small games written by hand, for tests of reading them."""

import json
import lzma
from pathlib import Path

WALKTHROUGH = ["go to desk 1", "take mug 1 from desk 1", "go to sinkbasin 1", "clean mug 1 with sinkbasin 1"]
TASK = "Your task is to: put a clean mug in desk."
GRAMMAR = '{"task": [{"rhs": "@TASK@"}]}'
_TREAT = (
    "(and (exists (?r - receptacle) (exists (?o - object) (and ({able} ?o) (objectType ?o MugType)"
    " (receptacleType ?r DeskType) ({state} ?o) (inReceptacle ?o ?r)))))"
)
GOALS = {
    "place": "(and (exists (?r - receptacle) (exists (?o - object) (and (inReceptacle ?o ?r)"
    " (objectType ?o MugType) (receptacleType ?r DeskType)))))",
    "clean": _TREAT.format(able="cleanable", state="isClean"),
    "heat": _TREAT.format(able="heatable", state="isHot"),
    "cool": _TREAT.format(able="coolable", state="isCool"),
    "two": "(and (exists (?r - receptacle) (exists (?o1 - object) (and (objectType ?o1 MugType)"
    " (receptacleType ?r DeskType) (inReceptacle ?o1 ?r) (exists (?o2 - object) (and (not (= ?o1 ?o2))"
    " (objectType ?o2 MugType) (receptacleType ?r DeskType) (inReceptacle ?o2 ?r)))))))",
    "look": "(and (exists (?ot - object ?r - receptacle ?a - agent ?l - location)"
    " (and (objectType ?ot LampType) (toggleable ?ot) (isToggled ?ot) (receptacleAtLocation ?r ?l)"
    " (atLocation ?a ?l) (inReceptacle ?ot ?r)))"
    " (exists (?o - object ?a - agent) (and (objectType ?o MugType) (holds ?a ?o))))",
}
FACTS = """
(atLocation agent1 loc_bar_9)
(receptacleAtLocation Desk_bar_1 loc_bar_1) (receptacleType Desk_bar_1 DeskType)
(receptacleAtLocation Desk_bar_2 loc_bar_2) (receptacleType Desk_bar_2 DeskType)
(receptacleAtLocation Sink_bar_5_bar_SinkBasin loc_bar_2)
(receptacleType Sink_bar_5_bar_SinkBasin SinkBasinType)
(receptacleAtLocation Drawer_bar_3 loc_bar_3) (receptacleType Drawer_bar_3 DrawerType) (openable Drawer_bar_3)
(objectType Mug_bar_1 MugType) (inReceptacle Mug_bar_1 Desk_bar_1) (inReceptacle Mug_bar_1 Desk_bar_1)
(pickupable Mug_bar_1) (cleanable Mug_bar_1) (objectAtLocation Mug_bar_1 loc_bar_1)
(objectType Mug_bar_2 MugType) (inReceptacle Mug_bar_2 Desk_bar_2) (pickupable Mug_bar_2) (isCool Mug_bar_2)
(objectType Mug_bar_3 MugType) (pickupable Mug_bar_3)
(objectType Box_bar_1 BoxType) (inReceptacle Box_bar_1 Drawer_bar_3) (isReceptacleObject Box_bar_1)
(inReceptacleObject Pen_bar_1 Box_bar_1) (inReceptacleObject Box_bar_1 Box_bar_1)
(objectType Pen_bar_1 PenType) (objectAtLocation Pen_bar_1 loc_bar_8)
(objectType Sink_bar_5 SinkType) (objectAtLocation Sink_bar_5 loc_bar_2)
(objectType Apple_bar_1 AppleType) (sliceable Apple_bar_1) (objectAtLocation Apple_bar_1 loc_bar_3)
(canContain DeskType MugType) (canContain SinkBasinType MugType) (canContain DrawerType PenType)
"""


def problem(goal: str = "clean", facts: str = FACTS) -> str:
    """A PDDL problem in the official form."""
    return f"(define (problem p) (:objects Egg_bar_1 - object)\n(:init {facts})\n(:goal {GOALS[goal]}))"


def game_file(task: str = TASK, **changes: object) -> dict[str, object]:
    """The content of a `game.tw-pddl`."""
    return {
        "pddl_domain": "(define (domain alfred))",
        "grammar": GRAMMAR.replace("@TASK@", task),
        "pddl_problem": problem(),
        "solvable": True,
        "walkthrough": WALKTHROUGH,
        **changes,
    }


def write_tree(root: Path, names: dict[str, dict[str, object]]) -> Path:
    """A tree with a game file for each name `<split>/<task>/<trial>`; its `json_2.1.1` folder."""
    for name, content in names.items():
        folder = root / "json_2.1.1" / name
        folder.mkdir(parents=True)
        (folder / "game.tw-pddl").write_text(json.dumps(content), encoding="utf-8")
    return root / "json_2.1.1"


def write_pack(file: Path, names: dict[str, dict[str, object]]) -> Path:
    """The same games as a pack."""
    header = {
        "format": "alfworld-pack-1",
        "grammar_template": GRAMMAR,
        "task_placeholder": "@TASK@",
        "pddl_domain": "(define (domain alfred))",
    }
    lines = [json.dumps(header)]
    for name, content in names.items():
        kept = {key: content[key] for key in ("solvable", "walkthrough", "pddl_problem")}
        lines.append(json.dumps({"path": name, "split": name.split("/")[0], "task": TASK, **kept}))
    file.write_bytes(lzma.compress("\n".join(lines).encode() + b"\n"))
    return file
