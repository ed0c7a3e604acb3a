"""Language models that answer a conversation: behind an endpoint, or loaded here.

Both are :class:`icl_vla_embodiments.action_reading.LanguageModel`.
"""

from __future__ import annotations

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from icl_vla_embodiments.action_reading import LanguageModel, LanguageModelError

KEY = "ICL_VLA_LANGUAGE_MODEL_KEY"  # environment only: a command line is seen by others
NEW_TOKENS = 256  # of one answer of a local model
LARGEST = 2**20  # [bytes] of an endpoint's answer


def chosen_model(name: str | None, url: str | None) -> LanguageModel | None:
    """The model ``name`` behind an endpoint, loaded here without a URL, or none without a name.

    Raises:
        LanguageModelError: An endpoint without a model's name.
    """
    if not name:
        if url:
            raise LanguageModelError(
                "an endpoint needs the name of a model",
                where=url,
                remedy="--language-model NAME, or ICL_VLA_LANGUAGE_MODEL=NAME",
            )
        return None
    return ChatEndpoint(url, name, key=os.environ.get(KEY, "")) if url else LocalModel(name)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to somebody else."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


@dataclass(frozen=True)
class ChatEndpoint:
    """A server that speaks OpenAI's chat completions (``POST URL/chat/completions``).

    Attributes:
        url: Up to and with the version, as ``http://localhost:8000/v1``.
        name: Of the model, as the server knows it.
        key: Sent as bearer token where it is not empty; never shown or kept.
        timeout: For the whole answer [s].
    """

    url: str
    name: str
    key: str = field(default="", repr=False)
    timeout: float = 120.0

    def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
        """See :class:`LanguageModel`."""
        where = f"{self.url.rstrip('/')}/chat/completions"
        body = {"model": self.name, "messages": list(messages)}  # more is not taken everywhere
        text = self._post(where, json.dumps(body).encode())
        try:
            answer = json.loads(text)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            answer = None
        if not isinstance(answer, str):
            raise LanguageModelError(
                "the endpoint's answer is not a chat completion",
                where=where,
                value=self._shown(text),
                remedy="the URL ends with the version, as http://localhost:8000/v1",
            )
        return answer

    def _post(self, where: str, body: bytes) -> bytes:
        if not where.startswith(("http://", "https://")):
            raise LanguageModelError(
                "an endpoint needs an http or https URL", value=self.url, valid=["https://HOST/v1"]
            )
        headers = {"Content-Type": "application/json"}
        if self.key.strip():
            headers["Authorization"] = f"Bearer {self._token()}"
        end = time.monotonic() + self.timeout
        try:
            request = urllib.request.Request(where, body, headers)
            opener = urllib.request.build_opener(_NoRedirect)
            with opener.open(request, timeout=self.timeout) as response:
                answer = b""
                while piece := response.read1(65536):  # a slow server answers drop by drop
                    answer += piece
                    if time.monotonic() > end:
                        raise TimeoutError
                    if len(answer) > LARGEST:
                        raise LanguageModelError("the endpoint's answer has no end", where=where)
                return answer
        except urllib.error.HTTPError as error:
            raise self._refused(where, error) from error
        except TimeoutError as error:
            raise self._silent(where) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise self._silent(where) from error
            raise self._unreachable(where, error.reason) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise self._unreachable(where, f"{type(error).__name__}: {error}") from error

    def _token(self) -> str:
        key = self.key.strip()
        if not (key.isascii() and key.isprintable()):
            raise LanguageModelError(
                "the key holds characters that no key has", where=KEY, remedy="copy it anew"
            )
        return key

    def _refused(self, where: str, error: urllib.error.HTTPError) -> LanguageModelError:
        remedies = {
            401: f"set {KEY} to a key that the endpoint knows",
            403: f"set {KEY} to a key that may use this model",
            404: "the URL ends with the version (http://localhost:8000/v1), and the endpoint"
            " must have this model",
            429: "wait, or ask for a larger quota",
        }
        try:
            said = error.read(LARGEST)
        except (OSError, http.client.HTTPException):
            said = b""
        return LanguageModelError(
            f"the endpoint answers {error.code} for the model {self.name!r}",
            where=where,
            value=self._shown(said) or None,
            remedy=remedies.get(error.code),
        )

    def _silent(self, where: str) -> LanguageModelError:
        return LanguageModelError(
            f"the endpoint has not answered within {self.timeout:g} s",
            where=where,
            remedy="try again, or use a smaller model",
        )

    def _unreachable(self, where: str, reason: object) -> LanguageModelError:
        return LanguageModelError(
            "the endpoint cannot be reached",
            where=where,
            value=self._shown(str(reason).encode()),
            remedy="is the server running, and is the URL right?",
        )

    def _shown(self, text: bytes) -> str:
        """The beginning of what a server said, without the key: some repeat it."""
        said = text.decode(errors="replace")
        return (said.replace(self.key.strip(), "***") if self.key.strip() else said)[:300]


class LocalModel:
    """A causal language model of ``transformers``.

    Args:
        name: What ``from_pretrained`` takes: a folder, or a name on the Hugging Face hub.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._loaded: tuple[Any, Any] | None = None

    def _load(self) -> tuple[Any, Any]:
        """Tokenizer and model, loaded at the first question."""
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            folder = Path(self.name).expanduser()
            source = str(folder) if folder.is_dir() else self.name
            try:
                self._loaded = (
                    AutoTokenizer.from_pretrained(source),
                    AutoModelForCausalLM.from_pretrained(source).eval(),
                )
            except Exception as error:  # damaged weights, unknown kinds, no network: many types
                raise LanguageModelError(
                    "no language model can be loaded from there",
                    where=self.name,
                    value=f"{type(error).__name__}: {str(error).strip()[:300]}",
                    remedy="name a causal model's folder or its name on the Hugging Face hub;"
                    " a model behind a server needs --language-model-url",
                ) from error
        return self._loaded

    def complete(self, messages: Sequence[Mapping[str, str]]) -> str:
        """See :class:`LanguageModel`; the likeliest token each time."""
        import torch

        tokenizer, model = self._load()
        if tokenizer.chat_template:
            text = tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=True
            )
        else:
            text = "\n\n".join(m["content"] for m in messages)
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
        length = inputs["input_ids"].shape[1]
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and length + NEW_TOKENS > room:
            raise LanguageModelError(
                "the question is too long for this model",
                where=self.name,
                value=f"{length} tokens, and {NEW_TOKENS} for the answer",
                valid=[f"up to {room} tokens"],
                remedy="use a model with a longer context",
            )
        with torch.inference_mode():
            tokens = model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
            )
        return str(tokenizer.decode(tokens[0, length:], skip_special_tokens=True))
