"""Text to token ids and back to bytes, for any fast tokenizer that transformers loads.

Replies are recorded as the sampled ids; text is derived from their bytes, never the other way round.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from hiper.records import RecordError

ANY_REPLY = "\x00reply\x00"  # stands for a reply while a chat template is asked what comes after it
OWN_MARK = "hiper_tokenizer"  # in tokenizer_config.json of tokenizers that hiper trained


_KEPT = 2048  # texts whose ids are remembered: what an environment answers is often the same


class ModelError(RecordError):
    """A model folder that cannot be used; the message says what to do."""


class Tokenizer:
    """A transformers tokenizer with three more abilities: bytes of an id, contexts as appended text, chat turns."""

    def __init__(self, fast: PreTrainedTokenizerFast) -> None:
        self.fast = fast
        for where_from in ("is_local", "local_files_only"):  # of a tokenizer that was loaded: it is saved as it was
            fast.init_kwargs.pop(where_from, None)
        self.eos_id: int | None = fast.eos_token_id
        self.has_chat = bool(getattr(fast, "chat_template", None))
        self._ids = lru_cache(maxsize=_KEPT)(self._encode)

    @classmethod
    def load(cls, folder: str | Path) -> "Tokenizer":
        # A tokenizer of our own is an ordinary tokenizer.json; AutoTokenizer would go by the model's type instead and
        # rebuild that family's splitting rules around our vocabulary.
        config = Path(folder) / "tokenizer_config.json"
        is_own = config.is_file() and OWN_MARK in config.read_text(encoding="utf-8")
        loader = PreTrainedTokenizerFast if is_own else AutoTokenizer
        try:
            fast = loader.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"{folder}: no tokenizer could be loaded ({first_line(error)})") from error
        if not isinstance(fast, PreTrainedTokenizerFast) or not getattr(fast, "is_fast", False):
            raise ModelError(f"{folder}: needs a fast tokenizer (tokenizer.json)")
        if len(fast) <= len(fast.all_special_ids):  # transformers makes one up where the folder has none
            raise ModelError(f"{folder}: has no tokenizer (tokenizer.json)")
        return cls(fast)

    def __len__(self) -> int:
        return len(self.fast)

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of a piece of text as it stands: no special tokens added."""
        return self._ids(text)

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.fast.encode(text, add_special_tokens=False))

    def encode_context(self, text: str, *, fresh: bool) -> tuple[int, ...]:
        """Ids to put before a reply: the text as it stands or, for chat models, as a turn of the user."""
        if not self.has_chat:
            bos = self.fast.bos_token_id
            head = (bos,) if fresh and bos is not None else ()
            return head + self.encode(text)
        talk = [] if fresh else [{"role": "user", "content": "?"}, {"role": "assistant", "content": ANY_REPLY}]
        talk.append({"role": "user", "content": text})
        rendered = str(self.fast.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))
        return self.encode(rendered if fresh else rendered.split(ANY_REPLY, 1)[1])

    def bytes_of(self, token_id: int) -> bytes:
        """The bytes that this id stands for; b"" for special tokens such as the end of text."""
        return self._bytes[token_id]

    def decode(self, ids: tuple[int, ...]) -> str:
        return b"".join(self._bytes[i] for i in ids).decode("utf-8", errors="replace")

    @cached_property
    def added_ids(self) -> frozenset[int]:
        """Ids that are no pieces of words: special tokens, and tags and codes that were added whole."""
        return frozenset(self.fast.added_tokens_decoder)

    @cached_property
    def _bytes(self) -> tuple[bytes, ...]:
        special = set(self.fast.all_special_ids)
        added = {i: token.content.encode() for i, token in self.fast.added_tokens_decoder.items()}
        to_bytes = _token_decoder(self.fast)
        pieces = self.fast.convert_ids_to_tokens(list(range(len(self.fast))))
        return tuple(
            b"" if i in special else added[i] if i in added else b"" if piece is None else to_bytes(piece)
            for i, piece in enumerate(pieces)
        )


def _token_decoder(fast: PreTrainedTokenizerFast) -> Callable[[str], bytes]:
    """A function from a vocabulary entry to its bytes, by the kind of tokenizer."""
    decoder = fast.backend_tokenizer.decoder
    kind = repr(decoder)
    if "ByteLevel" in kind:
        table = _byte_level_alphabet()
        return lambda piece: bytes(table[c] for c in piece)
    if "ByteFallback" in kind or "Metaspace" in kind:
        return _sentencepiece_bytes
    raise ModelError(
        f"tokenizers with the decoder {kind[:60]!r} are not supported; use a byte-level or SentencePiece one"
    )


def _sentencepiece_bytes(piece: str) -> bytes:
    if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
        return bytes([int(piece[3:5], 16)])
    return piece.replace("\u2581", " ").encode()


def _byte_level_alphabet() -> dict[str, int]:
    """The printable stand-ins of byte-level BPE: visible Latin-1 bytes stand for themselves, others from U+0100 on."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {chr(byte): byte for byte in visible}
    hidden = [byte for byte in range(256) if byte not in set(visible)]
    table.update({chr(0x100 + n): byte for n, byte in enumerate(hidden)})
    return table


def first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
