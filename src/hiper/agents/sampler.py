"""The protocol of whatever writes the replies: a language model, a server, a script."""

from typing import Protocol

from hiper.records import Prompt, Request, Sample

__all__ = ["Prompt", "Request", "Sample", "Sampler"]


class Sampler(Protocol):
    """Writes replies; `capacity` is the number of episodes that may be open at once."""

    capacity: int

    def submit(self, request: Request) -> None:
        """Ask for a reply; the answer comes from a later `poll`."""
        ...

    def poll(self) -> list[Sample]:
        """Wait until at least one submitted request is finished; [] only if none is pending."""
        ...

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """The ids of a prompt, encoded as `submit` would, with nothing sampled."""
        ...

    def close(self, slot: int) -> None:
        """The episode in this slot is over; what was kept for it may go."""
        ...
