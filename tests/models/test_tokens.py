"""Tokenizers: bytes of ids for the common kinds, contexts with and without a chat template, saving and loading."""

import functools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RawTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hiper.models import ModelError, Policy, Tokenizer, train_tokenizer
from tests.models.small import TAGS, TEXTS, config, tokenizer

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# A beginning-of-text token, a system message of its own, trimmed contents, a name for the model that holds letters.
WORDY = (
    "<s>{% set names = {'user': 'USER', 'assistant': 'A or B'} %}"
    "{% if messages[0].role != 'system' %}[SYSTEM] Be A Boon.\n{% endif %}{% for message in messages %}"
    "[{{ names[message.role] }}] {{ message.content | trim }} [END {{ names[message.role] }}]\n{% endfor %}"
    "{% if add_generation_prompt %}[A or B] {% endif %}"
)


def text_of(tokens: Tokenizer, ids: tuple[int, ...]) -> str:
    return b"".join(tokens.bytes_of(i) for i in ids).decode()


def fast(raw: RawTokenizer, **more: object) -> Tokenizer:
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=raw, **more))


def llama_like() -> Tokenizer:
    """SentencePiece as Llama 2 has it: BPE over `▁` for spaces, bytes for what is not in the vocabulary."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdegmou", "▁m", "ug", "▁mug"]
    merges = [("▁", "m"), ("u", "g"), ("▁m", "ug")]
    vocabulary = {piece: n for n, piece in enumerate(pieces)}
    raw = RawTokenizer(
        models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    )
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    raw.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return fast(raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def metaspace() -> Tokenizer:
    raw = RawTokenizer(models.BPE(unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    raw.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False))
    return fast(raw, unk_token="<unk>")


@given(st.text())
def test_byte_level_ids_are_the_bytes_of_any_text(text: str) -> None:
    if "<|end|>" not in text:
        assert text_of(tokenizer(), tokenizer().encode(text)) == text
        assert tokenizer().decode(tokenizer().encode(text)) == text


@pytest.mark.parametrize("tag", TAGS)
def test_tags_are_single_tokens_wherever_they_stand(tag: str) -> None:
    (token,) = tokenizer().encode(tag)
    assert tokenizer().bytes_of(token) == tag.encode()
    for text in (f"a{tag}b", f" {tag} ", f"desk 1{tag}{tag}"):
        ids = tokenizer().encode(text)
        assert ids.count(token) == text.count(tag)
        assert text_of(tokenizer(), ids) == text


def test_a_character_may_be_split_over_tokens() -> None:
    ids = tokenizer().encode("mug ☕")
    assert [tokenizer().bytes_of(i) for i in ids[-3:]] == [b"\xe2", b"\x98", b"\x95"]
    assert tokenizer().decode(ids[:-1]) == "mug �"
    assert tokenizer().decode(ids) == "mug ☕"


def test_the_end_token_has_no_bytes() -> None:
    end = tokenizer().eos_id
    assert end is not None
    assert tokenizer().bytes_of(end) == b""
    assert tokenizer().encode("<|end|>") == (end,)


def test_names_are_never_merged_with_their_neighbours() -> None:
    """`desk` is followed by a number somewhere, so it is the same token at the end of any phrase."""
    (desk,) = tokenizer().encode(" desk")
    for text in ("go to desk 1", "the desk 2,", "take mug 2 from desk 17"):
        assert desk in tokenizer().encode(text)


@functools.cache
def words() -> Tokenizer:
    page = (
        "Find a mug with color: dark heather, and size: 3x-large [SEP] {} [SEP] dark heather [SEP] 3x-large [SEP] $9.50"
    )
    return train_tokenizer([page.format(f"B0{n:02}XY{n % 8}Z") for n in range(40)] * 3, size=500, cut="words")


@pytest.mark.parametrize("value", ["dark heather", "3x-large", "mug with color", "B007XY7Z", "B099ZZ9Z"])
def test_words_are_the_same_tokens_wherever_they_stand(value: str) -> None:
    alone = words().encode(value)
    for text in (f"color: {value}, and size: 1", f"[SEP] {value} [SEP] x", f"click[{value}]", f"say {value}. x"):
        ids = words().encode(text)
        assert any(ids[i : i + len(alone)] == alone for i in range(len(ids)))


def test_a_code_that_is_met_is_one_token() -> None:
    assert len(words().encode("B007XY7Z")) == 1
    assert len(words().encode("B099ZZ9Z")) > 1


def test_no_word_is_merged_with_the_next() -> None:
    assert len(words().encode("dark heather")) == 2


@given(st.text())
def test_words_are_the_bytes_of_any_text(text: str) -> None:
    if "<|end|>" not in text:
        assert text_of(words(), words().encode(text)) == text


@given(st.text())
def test_sentencepiece_ids_are_the_bytes_of_any_text(text: str) -> None:
    """Encoding puts one space in front, which stays where a reply is written token by token."""
    tokens = llama_like()
    if not any(mark in text for mark in ("<s>", "</s>", "<unk>", "▁")):
        assert text_of(tokens, tokens.encode(text)) == (f" {text}" if text else "")


def test_bytes_of_sentencepiece_entries() -> None:
    tokens = llama_like()
    ids = tokens.encode("a mug é")
    assert [tokens.bytes_of(i) for i in ids] == [b" ", b"a", b" mug", b" ", b"\xc3", b"\xa9"]
    assert [tokens.bytes_of(i) for i in range(4)] == [b"", b"", b"", b"\x00"]


def test_metaspace_entries() -> None:
    tokens = metaspace()
    assert text_of(tokens, tokens.encode("You see a mug 2, a pen 3")) == " You see a mug 2, a pen 3"


def test_other_kinds_are_refused() -> None:
    raw = RawTokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    raw.decoder = decoders.WordPiece()
    with pytest.raises(ModelError, match="WordPiece"):
        fast(raw, unk_token="[UNK]").bytes_of(1)


def test_a_beginning_of_text_token_comes_first_and_once() -> None:
    tokens = llama_like()
    assert tokens.encode_context("a", fresh=True) == (1, *tokens.encode("a"))
    assert tokens.encode_context("a", fresh=False) == tokens.encode("a")
    assert tokenizer().encode_context("a", fresh=True) == tokenizer().encode("a")


def chatty(template: str) -> Tokenizer:
    tokens = train_tokenizer(TEXTS, size=300, tags=["<|im_start|>", "<|im_end|>"])
    tokens.fast.chat_template = template
    return Tokenizer(tokens.fast)


TALK = [
    ("You see a mug 2.", "<switch>KEEP</switch><action>take mug 2</action>"),
    ("B", "A"),
    ("assistant\nuser", "B"),
    ("\nYou arrive at desk 1.\n", "<switch>KEEP</switch>"),
    ("Nothing happens.", ""),
]


@pytest.mark.parametrize("template", [CHATML, WORDY], ids=["chatml", "wordy"])
def test_contexts_and_replies_make_the_conversation_of_the_template(template: str) -> None:
    """Fresh context, reply, appended context, ...: together what the template makes of the whole conversation."""
    tokens = chatty(template)
    assert tokens.has_chat
    written, talk = "", []
    for turn, (text, reply) in enumerate(TALK):
        written += text_of(tokens, tokens.encode_context(text, fresh=turn == 0))
        talk.append({"role": "user", "content": text})
        assert written == tokens.fast.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        written += reply
        talk.append({"role": "assistant", "content": reply})


@settings(max_examples=30)
@given(st.lists(st.tuples(st.text("AB mug\n<>", max_size=12), st.text("AB mug\n<>", max_size=12)), max_size=3))
def test_any_conversation(talk: list[tuple[str, str]]) -> None:
    tokens = CHAT
    written = text_of(tokens, tokens.encode_context("task", fresh=True))
    messages = [{"role": "user", "content": "task"}]
    for reply, text in talk:
        written += reply + text_of(tokens, tokens.encode_context(text, fresh=False))
        messages += [{"role": "assistant", "content": reply}, {"role": "user", "content": text}]
    assert written == tokens.fast.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


CHAT = chatty(CHATML)
SENTENCES = st.lists(
    st.sampled_from(["go to", "desk", " ", "  ", "\n", "mug", "12", "1", "é", "<action>", "find", "You see", ","])
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    """Our tokenizer, in the folder of a Qwen2 model, saved and loaded."""
    folder = tmp_path_factory.mktemp("saved")
    Policy.build(config("qwen2"), tokenizer(), seed=0).save(folder)
    return Tokenizer.load(folder)


@settings(max_examples=50)
@given(SENTENCES)
def test_a_saved_tokenizer_encodes_the_same(saved: Tokenizer, pieces: list[str]) -> None:
    """transformers would rebuild the splitting rules of the model's family around our vocabulary."""
    for text in ("".join(pieces), " ".join(pieces)):
        assert saved.encode(text) == tokenizer().encode(text)


def test_a_saved_tokenizer_is_the_same(saved: Tokenizer) -> None:
    assert len(saved) == len(tokenizer())
    assert saved.eos_id == tokenizer().eos_id
    assert [saved.bytes_of(i) for i in range(len(saved))] == [tokenizer().bytes_of(i) for i in range(len(saved))]


def test_what_was_loaded_is_saved_as_it_was(saved: Tokenizer, tmp_path: Path) -> None:
    tokenizer().fast.save_pretrained(tmp_path / "new")
    saved.fast.save_pretrained(tmp_path / "again")
    for file in (tmp_path / "new").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_a_chat_template_is_saved_too(tmp_path: Path) -> None:
    tokens = chatty(CHATML)
    tokens.fast.save_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    for fresh in (True, False):
        assert again.encode_context("You see a mug 2.", fresh=fresh) == tokens.encode_context(
            "You see a mug 2.", fresh=fresh
        )


def test_a_foreign_tokenizer_is_loaded_as_its_family_wants_it(tmp_path: Path) -> None:
    tokens = llama_like()
    tokens.fast.save_pretrained(tmp_path)
    again = Tokenizer.load(tmp_path)
    assert again.encode("a mug é") == tokens.encode("a mug é")
    assert again.bytes_of(again.encode("mug")[-1]) == b" mug"


def test_training_is_repeatable_and_keeps_its_size() -> None:
    again = train_tokenizer(TEXTS, size=320, tags=TAGS)
    assert again.fast.get_vocab() == tokenizer().fast.get_vocab()
    assert len(again) <= 320 + len(TAGS)
