"""Replies from a server: a small one in this process, which answers as it is told and remembers what it was asked."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hiper.models import ModelError
from hiper.models import openai as room
from hiper.models.openai import OpenAISampler, ServerError
from hiper.records import Prompt, Request, Sample

STOP = "</action>"


def answer(text: str | None, reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}


@dataclass
class Server:
    """Gives out `answers` in turn (status and body; the last one again and again); keeps bodies and headers."""

    url: str = ""
    answers: list[tuple[int, object]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def next(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
        with self.lock:
            self.asked.append(body)
            self.headers.append(headers)
            status, said = self.answers[min(len(self.asked), len(self.answers)) - 1]
        return status, said if isinstance(said, bytes) else json.dumps(said).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(room, "RETRY_WAITS", (0.01, 0.01))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    state = Server()
    state.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/chat/completions"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.may_answer.wait()
            status, said = state.next(body, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}/v1"
    yield state
    state.may_answer.set()
    http.shutdown()
    thread.join()
    http.server_close()


def ask(sampler: OpenAISampler, text: str, *, slot: int = 0, turn: int = 0, fresh: bool = True) -> None:
    prompt = Prompt(text=text, fresh=fresh)
    sampler.submit(
        Request(slot=slot, prompt=prompt, seed=40, turn=turn, stop=STOP, observation="", admissible=(), info={})
    )


def reply(server: Server, *answers: tuple[int, object]) -> Sample:
    server.answers = list(answers)
    sampler = OpenAISampler("m", base_url=server.url, capacity=2, timeout_s=10)
    ask(sampler, "task")
    (sample,) = sampler.poll()
    return sample


def test_what_is_asked(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [(200, answer("x"))]
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    sampler = OpenAISampler("some/model", base_url=server.url + "/", max_reply=17, temperature=0.5)
    ask(sampler, "task", turn=2)
    sampler.poll()
    assert server.asked == [
        {
            "model": "some/model",
            "messages": [{"role": "user", "content": "task"}],
            "max_tokens": 17,
            "temperature": 0.5,
            "stop": [STOP],
            "seed": 42,
        }
    ]
    assert server.headers[0]["Authorization"] == "Bearer secret"


def test_a_local_server_is_sent_no_key(server: Server) -> None:
    reply(server, (200, answer("x")))
    assert "Authorization" not in server.headers[0]


def test_a_transcript_is_a_conversation(server: Server) -> None:
    server.answers = [(200, answer(f"<action>{n}")) for n in range(4)]
    sampler = OpenAISampler("m", base_url=server.url)
    for turn, text in enumerate(["task", "seen", "more"]):
        ask(sampler, text, turn=turn, fresh=turn == 0)
        (sample,) = sampler.poll()
        assert sample.text == f"<action>{turn}{STOP}"
    roles = ["user", "assistant", "user", "assistant", "user"]
    contents = ["task", f"<action>0{STOP}", "seen", f"<action>1{STOP}", "more"]
    assert server.asked[2]["messages"] == [
        {"role": role, "content": content} for role, content in zip(roles, contents, strict=True)
    ]
    ask(sampler, "anew", turn=3)
    sampler.poll()
    assert server.asked[3]["messages"] == [{"role": "user", "content": "anew"}]
    sampler.close(0)
    sampler.close(0)


def test_conversations_of_slots_are_their_own(server: Server) -> None:
    server.answers = [(200, answer("x"))]
    sampler = OpenAISampler("m", base_url=server.url, capacity=8)
    for slot in range(8):
        ask(sampler, f"task {slot}", slot=slot)
    got: list[Sample] = []
    while len(got) < 8:
        got += sampler.poll()
    assert sorted(sample.slot for sample in got) == list(range(8))
    assert sampler.poll() == []
    for slot in range(8):
        ask(sampler, "more", slot=slot, fresh=False)
    for _ in iter(sampler.poll, []):
        pass
    assert sorted(body["messages"][0]["content"] for body in server.asked[8:]) == [f"task {slot}" for slot in range(8)]
    assert all([m["content"] for m in body["messages"][1:]] == [f"x{STOP}", "more"] for body in server.asked[8:])


@pytest.mark.parametrize(
    ("said", "reason", "text", "cut"),
    [
        ("<action>look", "stop", f"<action>look{STOP}", False),  # servers leave the stop text out
        (f"<action>look{STOP}", "stop", f"<action>look{STOP}", False),  # some put it in
        ("<action>look", "length", "<action>look", True),
        ("", "stop", "", False),
        (None, "stop", "", False),
    ],
)
def test_the_stop_text_is_put_back(server: Server, said: str | None, reason: str, text: str, cut: bool) -> None:
    sample = reply(server, (200, answer(said, reason)))
    assert (sample.text, sample.cut) == (text, cut)
    assert (sample.context_ids, sample.reply_ids, sample.reply_bytes) == ((), (), ())


@pytest.mark.parametrize(("told", "end"), [(STOP, STOP), (None, "")])
def test_a_reply_that_its_model_ended_is_not_finished_for_it(server: Server, told: str | None, end: str) -> None:
    """vLLM says which stop text it met; null is the model's own end."""
    said = answer("<action>look")
    said["choices"][0]["stop_reason"] = told
    assert reply(server, (200, said)).text == f"<action>look{end}"


@pytest.mark.parametrize(
    "said",
    [
        "This model's maximum context length is 4096 tokens. However, you requested 4200 tokens",
        {"error": {"message": "too long", "code": "context_length_exceeded"}},
        "the request exceeds the available context size",
    ],
    ids=str,
)
def test_a_conversation_that_no_longer_fits_ends_its_episode_alone(server: Server, said: object) -> None:
    server.answers = [(200, answer("x")), (400, said)]
    sampler = OpenAISampler("m", base_url=server.url, capacity=2, timeout_s=10)
    ask(sampler, "task")
    sampler.poll()
    ask(sampler, "more", turn=1, fresh=False)
    (sample,) = sampler.poll()
    assert (sample.text, sample.overflow, sample.cut) == ("", True, True)
    ask(sampler, "another task", slot=1)  # one whose beginning does not fit is no episode
    with pytest.raises(ServerError, match="HTTP 400"):
        sampler.poll()


def test_nobody_waits_for_a_server_that_is_silent(server: Server) -> None:
    """After a Ctrl-C the program ends at once."""
    code = (
        "from hiper.models.openai import OpenAISampler\n"
        "from hiper.records import Prompt, Request\n"
        f"sampler = OpenAISampler('m', base_url={server.url!r})\n"
        "sampler.submit(Request(slot=0, prompt=Prompt(text='task', fresh=True), seed=0, turn=0, stop='x',\n"
        "                       observation='', admissible=(), info={}))\n"
        "raise KeyboardInterrupt\n"
    )
    server.may_answer.clear()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert not server.may_answer.is_set()


def test_a_busy_server_is_asked_again(server: Server) -> None:
    sample = reply(server, (503, b"busy"), (429, b"slow down"), (200, answer("x")))
    assert sample.text == f"x{STOP}"
    assert len(server.asked) == 3
    assert server.asked[0] == server.asked[2]


def test_but_not_for_ever(server: Server) -> None:
    with pytest.raises(ServerError, match="HTTP 503: busy"):
        reply(server, (503, b"busy"))
    assert len(server.asked) == 3  # at first, and after each of the two waits


def test_a_wrong_key_is_said_at_once(server: Server) -> None:
    with pytest.raises(ServerError, match=r"chat/completions: HTTP 401: .*no such key"):
        reply(server, (401, {"error": "no such key"}))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"<html>hello</html>",
        b"",
        b"\xff{}",
        {},
        {"choices": []},
        {"choices": [{"text": "x"}]},
        [],
        {"error": "x"},
        b"null",
    ],
    ids=str,
)
def test_a_malformed_answer(server: Server, body: object) -> None:
    with pytest.raises(ServerError, match=r"not JSON|no choices\[0\]\.message\.content"):
        reply(server, (200, body))


def test_nobody_there(server: Server) -> None:
    sampler = OpenAISampler("m", base_url="http://127.0.0.1:9/v1", timeout_s=5)
    ask(sampler, "task")
    with pytest.raises(ServerError, match="is the server running"):
        sampler.poll()


def test_an_address_that_is_none() -> None:
    with pytest.raises(ModelError, match="localhost:8000"):
        OpenAISampler("m", base_url="localhost:8000")


def test_the_ids_of_a_prompt_are_not_known() -> None:
    assert OpenAISampler("m", base_url="http://127.0.0.1:9/v1").context_ids(Prompt(text="a", fresh=True)) == ()
