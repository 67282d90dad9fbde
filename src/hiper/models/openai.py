"""Replies from any server that speaks the OpenAI chat protocol. For evaluation: it gives no token ids to learn from."""

import json
import os
import re
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import FIRST_COMPLETED, Future, wait
from http.client import HTTPException

from hiper.models.tokens import ModelError
from hiper.records import Prompt, Request, Sample

RETRY_WAITS = (1.0, 4.0, 15.0)
RETRY_CODES = {408, 409, 425, 429, 500, 502, 503, 504, 529}
CONTEXT_FULL = re.compile(r"context[ _](length|size|window)", re.IGNORECASE)  # each server has words of its own
Message = dict[str, str]


class ServerError(RuntimeError):
    """The server did not give a usable answer; the message says what it said."""


class ContextFullError(ServerError):
    """The conversation no longer fits the model's context window."""


class OpenAISampler:
    """Implements `hiper.agents.Sampler` over HTTP, `capacity` requests at a time.

    `base_url` ends in /v1; the key is read from OPENAI_API_KEY (local servers need none). A transcript becomes a
    conversation, a prompt that starts anew a conversation of one message.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        capacity: int = 16,
        max_reply: int = 512,
        temperature: float = 0.0,
        timeout_s: float = 120.0,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise ModelError(f"--base-url {base_url!r}: expected something like http://localhost:8000/v1")
        self.model, self.capacity, self.max_reply = model, capacity, max_reply
        self.temperature, self.timeout_s = temperature, timeout_s
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._pending: dict[Future[Sample], int] = {}
        self._talk: dict[int, list[Message]] = {}

    def submit(self, request: Request) -> None:
        """Send a request."""
        talk = [] if request.prompt.fresh else self._talk[request.slot]
        talk.append({"role": "user", "content": request.prompt.text})
        self._talk[request.slot] = talk
        future: Future[Sample] = Future()
        self._pending[future] = request.slot
        what = (future, request.slot, list(talk), request.stop, request.seed + request.turn)
        # No pool: Python waits for a pool's threads before it ends, and a Ctrl-C would hang on a silent server.
        threading.Thread(target=self._fetch, args=what, daemon=True).start()

    def poll(self) -> list[Sample]:
        """Wait for at least one answer."""
        if not self._pending:
            return []
        done, _ = wait(self._pending, return_when=FIRST_COMPLETED)
        out = []
        for future in done:
            slot = self._pending.pop(future)
            sample = future.result()
            self._talk[slot].append({"role": "assistant", "content": sample.text})
            out.append(sample)
        return sorted(out, key=lambda sample: sample.slot)

    def context_ids(self, prompt: Prompt) -> tuple[int, ...]:
        """None are known: the server tokenises."""
        del prompt
        return ()

    def close(self, slot: int) -> None:
        """Forget the conversation."""
        self._talk.pop(slot, None)

    def _fetch(self, future: Future[Sample], slot: int, messages: list[Message], stop: str, seed: int) -> None:
        try:
            future.set_result(self._ask(slot, messages, stop, seed))
        except ServerError as error:
            future.set_exception(error)
        finally:
            if not future.done():  # whatever it was, nobody must wait for it
                future.set_exception(ServerError(f"{self._url}: the request broke off"))

    def _ask(self, slot: int, messages: list[Message], stop: str, seed: int) -> Sample:
        body = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_reply,
            "temperature": self.temperature,
            "stop": [stop],
            "seed": seed & 0x7FFFFFFF,
        }
        try:
            answer = self._post(body)
        except ContextFullError:
            if len(messages) == 1:  # not even an episode's beginning fits: a wrong setting, and no end of an episode
                raise
            return Sample(slot=slot, text="", cut=True, overflow=True)
        try:
            choice = answer["choices"][0]  # type: ignore[index]
            text, reason = str(choice["message"]["content"] or ""), choice.get("finish_reason")
            by_text = choice.get("stop_reason", stop) is not None  # vLLM tells; null is the model's own end
        except (KeyError, IndexError, TypeError) as error:
            raise ServerError(f"{self._url}: the answer has no choices[0].message.content") from error
        if reason == "stop" and by_text and stop not in text and text.rstrip():
            text += stop  # servers leave the stop text out
        return Sample(slot=slot, text=text, cut=reason == "length")

    def _post(self, body: dict[str, object]) -> object:
        """The decoded answer. Waits and tries again where the server is busy; gives up with its own words."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)
        for pause in (*RETRY_WAITS, None):
            try:
                with urllib.request.urlopen(request, timeout=self.timeout_s) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    said = error.read(300).decode(errors="replace")
                if error.code == 400 and CONTEXT_FULL.search(said):
                    raise ContextFullError(f"{self._url}: HTTP 400: {said}") from error
                if error.code not in RETRY_CODES or pause is None:
                    raise ServerError(f"{self._url}: HTTP {error.code}: {said}") from error
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ServerError(f"{self._url}: the answer is not JSON ({error})") from error
            except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
                if pause is None:
                    raise ServerError(f"{self._url}: cannot be reached ({error}); is the server running?") from error
            time.sleep(pause or 0.0)
        raise AssertionError("unreachable")
