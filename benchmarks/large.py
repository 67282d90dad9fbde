"""What does a language model of real size take? Steps of `hiper train configs/alfworld_large.toml` on one GPU.

    python benchmarks/large.py [--shape 1.5b] [--dtype mixed] [--rounds 1] [--json FILE] [key=value ...]

Nothing is downloaded: the model has the published shape and random weights, and a tokenizer with as many entries. It
says nothing sensible, so that every reply runs to its limit and no episode ends before the turn limit: the longest
that a step can take. Three turns an episode are played unless `env.max_turns` says otherwise.
"""

import argparse
import gc
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer as RawTokenizer
from transformers import PreTrainedTokenizerFast

from hiper.models import Policy, Tokenizer
from hiper.runs.bench import bench
from hiper.runs.config import load_config
from hiper.runs.setup import build_tokenizer
from hiper.runs.world import World

CONFIG = Path(__file__).parents[1] / "configs" / "alfworld_large.toml"
VOCABULARY = 151_936
SHAPES: dict[str, dict[str, int]] = {  # of Qwen2.5, as their config.json has them
    "test": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "0.5b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14},
    "1.5b": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
    "3b": {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16},
}
COLUMNS = ("step_s", "rollout_s", "values_s", "credit_s", "learn_s", "sampled_tokens_per_s", "trained_tokens_per_s")


def fill_up(tokenizer: Tokenizer) -> Tokenizer:
    """Further entries that no text is split into, up to the size of the model's vocabulary."""
    whole = json.loads(tokenizer.fast.backend_tokenizer.to_str())
    whole["model"]["vocab"] |= {f"entry{n}": n for n in range(len(tokenizer), VOCABULARY)}
    raw = RawTokenizer.from_str(json.dumps(whole))
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=raw, **tokenizer.fast.init_kwargs))


def write_model(folder: Path, shape: str) -> None:
    config = load_config(CONFIG, ["model.path="])
    world = World(config.env)
    tokenizer = fill_up(build_tokenizer(config, world))
    world.close()
    settings: dict[str, object] = {
        "model_type": "qwen2",
        "vocab_size": VOCABULARY,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": True,
        **SHAPES[shape],
    }
    Policy.build(settings, tokenizer, seed=0).in_precision("bfloat16").save(folder)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Steps of a model of real size on one GPU.")
    parser.add_argument("--shape", choices=SHAPES, default="1.5b")
    parser.add_argument("--dtype", action="append", help="a precision to time; may be given again (mixed, float32)")
    parser.add_argument("--rounds", type=int, default=1, help="steps, after one that is not counted")
    parser.add_argument("--json", metavar="FILE", help="write the results there; - for standard output")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of the configuration to change")
    args = parser.parse_args(argv)
    rows = []
    if args.json != "-":
        print(f"{args.shape:10}" + "".join(f"{name:>22}" for name in COLUMNS) + f"{'peak GiB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), args.shape)
        for dtype in args.dtype or ["mixed", "float32"]:
            settings = ["env.max_turns=3", f"model.path={folder}", *args.overrides, f"model.dtype={dtype}"]
            row = bench(load_config(CONFIG, settings), args.rounds, lambda text: None)
            rows.append({"shape": args.shape, "dtype": dtype, **row})
            if args.json != "-":
                print(_line(dtype, row), flush=True)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    if args.json:
        text = json.dumps(rows) + "\n"
        sys.stdout.write(text) if args.json == "-" else Path(args.json).write_text(text, "utf-8")
    return 0


def _line(dtype: str, row: dict[str, object]) -> str:
    figures, peak = row["train"], row.get("peak_memory_gib", float("nan"))
    assert isinstance(figures, dict)
    return f"{dtype:10}" + "".join(f"{figures[name]:22.1f}" for name in COLUMNS) + f"{peak:10.1f}"


if __name__ == "__main__":
    sys.exit(main())
