"""The one crossing from words to tensors: spans and credit become packed rows with denominators."""

from hiper.batch.documents import NONE, OF_TOKEN, BatchError, Document, Values, documents, gather_values
from hiper.batch.tokens import (
    Example,
    Streams,
    TokenBatch,
    assign,
    assign_tokens,
    normalised,
    rms,
    split_by_tokens,
)

__all__ = [
    "NONE",
    "OF_TOKEN",
    "BatchError",
    "Document",
    "Example",
    "Streams",
    "TokenBatch",
    "Values",
    "assign",
    "assign_tokens",
    "documents",
    "gather_values",
    "normalised",
    "rms",
    "split_by_tokens",
]
