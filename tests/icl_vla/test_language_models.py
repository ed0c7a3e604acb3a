"""Free text read by a language model: a real server, a real (random) model, a real terminal."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from icl_vla.language_models import KEY, ChatEndpoint, LocalModel, chosen_model
from icl_vla_embodiments import ActionSpace
from icl_vla_embodiments.action_phrases import amend
from icl_vla_embodiments.action_reading import LanguageModelError, read_phrases
from icl_vla_embodiments.urdf import embodiment_from_urdf

from ..conftest import environment
from .conftest import URDF

SECRET = "sk-secret-of-the-test"
FREE = "small steps of the hand in mm, twelve a second; fingers: 0 is shut, 100 wide open"
LINE = "delta end-effector pose, millimetres, 12 Hz; gripper 0 closed, 100 open"


@pytest.fixture(scope="module")
def panda():
    return embodiment_from_urdf(URDF)


class Server(ThreadingHTTPServer):
    """Chat completions: answers in order, the last one again and again; keeps the requests.

    An answer is the text of a completion, or a function that is called with the handler.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list = [LINE]
        self.requests: list[tuple[str, dict[str, str], dict]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        answers = self.server.answers
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(answer):
            answer(self)
            return
        message = {"role": "assistant", "content": answer}
        self.say(200, json.dumps({"object": "chat.completion", "choices": [{"message": message}]}))

    def say(self, code: int, text: str, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def test_free_text_becomes_phrases(server, panda):
    model = ChatEndpoint(server.url, "tiny", SECRET)
    phrases = read_phrases(panda, FREE, model)
    assert phrases == LINE
    ((path, headers, body),) = server.requests
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {SECRET}"
    assert body.keys() == {"model", "messages"} and body["model"] == "tiny"
    system, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert "N closed" in system["content"] and "4 panda_joint4" in system["content"]
    assert FREE in user["content"]
    space = amend(panda, phrases, prompt=FREE)[0]
    assert space.notes == FREE and (space.rate, space.dimensions[0].unit) == (12.0, "mm")
    assert ActionSpace.parse(space.describe()) == space
    assert SECRET not in repr(model)


@pytest.mark.parametrize(
    "answer",
    [
        f"<think>The user says mm.\nSo: delta</think>\n```\n{LINE}.\n```",
        f'"{LINE};"',
        LINE.replace("; ", ";\n"),
    ],
)
def test_wrapping_is_taken_off(server, panda, answer):
    server.answers = [answer]
    assert read_phrases(panda, FREE, ChatEndpoint(server.url, "tiny")) == LINE
    assert "Authorization" not in server.requests[0][1]


def test_a_refused_answer_goes_back_with_the_parsers_error(server, panda):
    server.answers = ["delta end-effector poze, mm", "joint 9 inverted", LINE]
    assert read_phrases(panda, FREE, ChatEndpoint(server.url, "tiny")) == LINE
    messages = server.requests[-1][2]["messages"]
    assert [m["role"] for m in messages[2:]] == ["assistant", "user"] * 2
    assert messages[2]["content"] == "delta end-effector poze, mm"
    assert "end-effector poze" in messages[3]["content"]
    assert "end-effector pose" in messages[3]["content"]  # the nearest that would be taken
    assert "no joint '9'" in messages[5]["content"] and "1 to 7" in messages[5]["content"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("Sure! Here you are: delta pose.", "an unknown phrase"),
        ("metres, millimetres", "contradicts itself"),
        ("range 0 to 1e-320", "cannot be inverted"),
        ("1e999 Hz", "too large for the rate"),
        ("", "no line in the vocabulary"),
        ("<think>I wonder whether", "no line in the vocabulary"),
        ("delta, " * 1000, "no line in the vocabulary"),
    ],
)
def test_an_answer_that_the_parser_refuses_is_never_taken(server, panda, answer, said):
    server.answers = [answer]
    with pytest.raises(LanguageModelError, match="in 3 tries") as caught:
        read_phrases(panda, FREE, ChatEndpoint(server.url, "tiny"))
    assert said in caught.value.remedy
    assert len(server.requests) == 3


def _drip(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def _endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" " * 65536)


def _cut(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda h: h.say(401, f'{{"error": "wrong key {SECRET}"}}'), ["401", KEY, "***"]),
        (lambda h: h.say(404, "no model"), ["404", "'tiny'", "/v1"]),
        (lambda h: h.say(429, ""), ["429", "quota"]),
        (lambda h: h.say(500, "\x1b[31mboom"), ["500", r"\x1b[31mboom"]),
        (lambda h: h.say(307, "", Location="http://127.0.0.1:9/v1"), ["307"]),
        (lambda h: h.say(302, "", Location="http://127.0.0.1:9/v1"), ["302"]),
        (lambda h: h.say(200, "<html>welcome</html>"), ["not a chat completion", "welcome"]),
        (lambda h: h.say(200, '{"choices": []}'), ["not a chat completion"]),
        (lambda h: h.say(200, '{"choices": {"a": 1}}'), ["not a chat completion"]),
        (lambda h: h.say(200, "[" * 100_000), ["not a chat completion"]),
        (lambda h: h.say(200, '{"choices": [{"message": {"content": null}}]}'), ["not a chat"]),
        (lambda h: time.sleep(2), ["has not answered within 0.5 s"]),
        (_drip, ["has not answered within 0.5 s"]),
        (_endless, ["no end"]),
        (_cut, ["not a chat completion", "choices"]),
        (lambda h: h.connection.shutdown(socket.SHUT_RDWR), ["cannot be reached"]),
    ],
)
def test_an_endpoint_that_fails_says_how(server, panda, answer, words):
    server.answers = [answer]
    start = time.monotonic()
    with pytest.raises(LanguageModelError) as caught:
        read_phrases(panda, FREE, ChatEndpoint(server.url, "tiny", SECRET, timeout=0.5))
    assert time.monotonic() - start < 1.5
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert SECRET not in str(caught.value) and server.url in str(caught.value)
    assert len(server.requests) == 1  # the key went nowhere else


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("http://127.0.0.1:9/v1", SECRET, ["cannot be reached", "refused"]),
        ("file:///etc", SECRET, ["http or https"]),
        ("http://[", SECRET, ["cannot be reached"]),
        ("http://127.0.0.1:9/v1", f"{SECRET}\nHost: x", ["characters that no key has", KEY]),
    ],
)
def test_an_endpoint_that_is_none(monkeypatch, panda, url, key, words):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(LanguageModelError) as caught:
        read_phrases(panda, FREE, ChatEndpoint(url, "tiny", key))
    assert all(word in str(caught.value) for word in words)
    assert SECRET not in str(caught.value)


def test_which_model_is_asked(monkeypatch):
    monkeypatch.setenv(KEY, SECRET)
    assert chosen_model(None, None) is None and chosen_model("", "") is None
    assert chosen_model("m", "http://h/v1") == ChatEndpoint("http://h/v1", "m", SECRET)
    assert isinstance(chosen_model("folder", None), LocalModel)
    with pytest.raises(LanguageModelError, match="name of a model"):
        chosen_model(None, "http://h/v1")


# --- a local model --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Makes a causal model of random weights with a byte tokenizer; its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    def make(positions: int) -> Path:
        folder = tmp_path_factory.mktemp("tiny")
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {letter: i for i, letter in enumerate(["<end>", *letters])}
        tokenizer = Tokenizer(models.BPE(vocabulary, []))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(
            folder
        )
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=positions,
            eos_token_id=0,
            bos_token_id=None,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        return folder

    return make


def test_nonsense_of_a_local_model_ends_in_a_clear_error(panda, tiny):
    folder = tiny(16384)
    model = LocalModel(str(folder))
    answer = model.complete([{"role": "user", "content": FREE}])
    assert answer and answer == model.complete([{"role": "user", "content": FREE}])
    with pytest.raises(LanguageModelError, match="no description that can be read") as caught:
        read_phrases(panda, FREE, model)
    assert str(folder) in str(caught.value) and "describe.md" in caught.value.remedy


def test_a_local_model_that_cannot_be_used(panda, tiny, tmp_path):
    with pytest.raises(LanguageModelError, match="too long") as caught:
        read_phrases(panda, FREE, LocalModel(str(tiny(512))))
    assert "up to 512 tokens" in str(caught.value)
    with pytest.raises(LanguageModelError, match="can be loaded") as caught:
        read_phrases(panda, FREE, LocalModel(str(tmp_path)))
    assert str(tmp_path) in str(caught.value) and "--language-model-url" in caught.value.remedy
    damaged = tiny(16384)
    weights = damaged / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(LanguageModelError, match="can be loaded"):
        read_phrases(panda, FREE, LocalModel(str(damaged)))


# --- as typed -------------------------------------------------------------------------------------

WORDS = ["add-embodiment", str(URDF), "--describe", FREE]


@pytest.fixture
def typed(server, python, tmp_path):
    """Run the command with the endpoint in its environment."""

    def run(*words: str):
        extra = {
            "ICL_VLA_HOME": str(tmp_path / "home"),
            "COLUMNS": "400",
            "ICL_VLA_LANGUAGE_MODEL": "tiny",
            "ICL_VLA_LANGUAGE_MODEL_URL": server.url,
            KEY: SECRET,
        }
        return python("from icl_vla.cli import main; main()", *words, **extra)

    return run


def kept(home: Path) -> str:
    """Everything written there, as one text."""
    return "\n".join(f.read_text(errors="replace") for f in home.rglob("*") if f.is_file())


def test_without_a_terminal_a_reading_is_not_taken_silently(typed, tmp_path):
    done = typed(*WORDS, "--yes", "--json")
    assert done.returncode == 2 and not done.stdout and "Traceback" not in done.stderr
    assert "not confirmed" in done.stderr and LINE in done.stderr
    assert not (tmp_path / "home").exists()


def test_an_accepted_reading_is_kept_and_marked(typed, server, tmp_path):
    done = typed(*WORDS, "--json", "--accept-reading")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert any("nobody has confirmed" in w and LINE in w for w in found["warnings"])
    origin = found["provenance"]["action_spaces"]
    assert origin["source"] == "user" and "tiny" in origin["why"]
    space = ActionSpace.parse(found["action_spaces"]["ee_delta"])
    assert space.notes == FREE and space.rate == 12.0
    assert SECRET not in kept(tmp_path / "home") + done.stdout + done.stderr
    # words that the parser knows need no model
    server.requests.clear()
    done = typed(*WORDS[:2], "--describe", LINE, "--json", "--dry-run")
    assert done.returncode == 0 and not server.requests


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_confirms(server, tmp_path, answer):
    """Shown before and after; kept only after a yes."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from icl_vla.cli import main; main()", *WORDS),
            *("--language-model", "tiny", "--language-model-url", server.url),
        ],
        stdin=slave,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(ICL_VLA_HOME=str(tmp_path / "home"), COLUMNS="400"),
    )
    os.write(master, f"{answer}\n".encode())
    out, err = process.communicate(timeout=120)
    os.close(master)
    os.close(slave)
    assert f"tiny reads: {LINE}" in out
    assert "-action space" in out and "+action space" in out and f"+note: {FREE}" in out
    file = tmp_path / "home/embodiments/panda/panda.embodiment.yaml"
    assert (process.returncode, file.exists()) == ((0, True) if answer == "y" else (2, False)), err
    if answer == "y":
        assert "nobody has confirmed" not in file.read_text()
