"""The one crossing from words to tensors: spans and credit become packed rows with denominators."""

from hiper.batch.documents import BatchError, Document, Values, documents, gather_values
from hiper.batch.tokens import Example, Streams, TokenBatch, assign, normalised, split_by_tokens

__all__ = [
    "BatchError",
    "Document",
    "Example",
    "Streams",
    "TokenBatch",
    "Values",
    "assign",
    "documents",
    "gather_values",
    "normalised",
    "split_by_tokens",
]
