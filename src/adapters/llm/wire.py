"""The chat completions protocol, as OpenAI defines it and as local servers speak it; no I/O."""

from collections.abc import Iterator
from typing import Any

import msgspec

from adapters.llm.calls import CallAssembly, CallDelta
from domain.model.conversations import Message, Role
from domain.ports.models import ModelAnswer, ModelRequest, ModelText, ModelUnavailable, Usage

MAX_ANSWER_BYTES = 16_777_216
# Far beyond any model's output; bounds what a broken server can make this process hold.
MAX_EXCERPT_CHARS = 200


class _Delta(msgspec.Struct, frozen=True):
    content: str | None = None
    tool_calls: tuple[CallDelta, ...] | None = None


class _Choice(msgspec.Struct, frozen=True):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _Tokens(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, frozen=True):
    choices: tuple[_Choice, ...] | None = None
    usage: _Tokens | None = None
    error: Any = None


def encode_request(model: str, request: ModelRequest) -> bytes:
    """The body that asks `model` for a streamed answer."""
    messages = [_message(message) for message in request.messages]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    body: dict[str, Any] = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        # Some servers refuse an empty list.
        body["tools"] = [{"type": "function", "function": tool} for tool in request.tools]
    return msgspec.json.encode(body)


def _message(message: Message) -> dict[str, Any]:
    body: dict[str, Any] = {"role": message.role.value, "content": message.text}
    if message.role is Role.TOOL:
        body["tool_call_id"] = message.call_id
    if message.tool_calls:
        body["tool_calls"] = [
            {
                "id": call.call_id,
                "type": "function",
                "function": {
                    "name": call.name,
                    "arguments": msgspec.json.encode(call.arguments).decode(),
                },
            }
            for call in message.tool_calls
        ]
    return body


def error_text(body: Any, secret: str | None) -> str:
    """The message of an error answer as a short line without `secret`; empty where it has none.

    Reads OpenAI's `{"error": {"message"}}`, and the forms with a bare string or at the top.
    """
    error = body.get("error", body) if isinstance(body, dict) else body
    text = error.get("message", "") if isinstance(error, dict) else error
    if not isinstance(text, str):
        return ""
    if secret:
        text = text.replace(secret, "***")
    return " ".join(text.split())[:MAX_EXCERPT_CHARS]


class AnswerDecoder:
    """Reads one answer: server-sent events, or one JSON object where a server does not stream.

    `model` is for messages, `secret` is kept out of them, `used_ids` are call ids that are taken.
    Both methods raise ModelUnavailable where the bytes are no answer.
    """

    def __init__(
        self, model: str, secret: str | None = None, used_ids: frozenset[str] = frozenset()
    ) -> None:
        self._model = model
        self._secret = secret
        self._line = bytearray()
        self._begun = False
        self._event = b""
        self._whole: bytearray | None = None
        self._size = 0
        self._text: list[str] = []
        self._calls = CallAssembly(model, used_ids)
        self._usage = Usage()
        self._finished = False
        self.ended = False

    def feed(self, data: bytes) -> Iterator[ModelText]:
        """Take the next bytes, cut anywhere; `ended` is set once the server said it is done."""
        self._size += len(data)
        if self._size > MAX_ANSWER_BYTES:
            raise self._broken(f"it is longer than {MAX_ANSWER_BYTES} bytes")
        if self._whole is not None:
            self._whole += data
            return
        self._line += data
        if not self._begun and (beginning := self._line.lstrip()):
            self._begun = True
            if beginning.startswith(b"{"):
                self._whole = self._line
                return
        if b"\n" not in data:
            return
        *lines, self._line = self._line.split(b"\n")
        for line in lines:
            yield from self._take_line(bytes(line))

    def finish(self) -> Iterator[ModelText | ModelAnswer]:
        """What is left when the bytes have ended; the last is the answer."""
        if self._whole is not None:
            answer: _Chunk = self._decode(bytes(self._whole), _Chunk)
            yield from self._take_chunk(answer)
            self._finished = bool(answer.choices)
        elif self._line:
            yield from self._take_line(bytes(self._line))
        if self._event:
            raise self._broken("an event is cut off")
        if not (self._finished or self.ended):
            raise ModelUnavailable(
                f"The answer of model {self._model} broke off.", model=self._model
            )
        yield ModelAnswer(
            text="".join(self._text), tool_calls=self._calls.finish(), usage=self._usage
        )

    def _take_line(self, line: bytes) -> Iterator[ModelText]:
        """One line of the event stream; an event may be spread over several `data` lines."""
        field, _, value = line.rstrip(b"\r").partition(b":")
        if self.ended or field not in {b"data", b"error"}:
            if not line.strip() and self._event:
                raise self._broken("an event is not JSON")
            return
        value = value.strip()
        if field == b"error":
            raise self._failed(self._decode(value, Any))
        if value == b"[DONE]":
            self.ended = True
            return
        self._event += value
        try:
            chunk = msgspec.json.decode(self._event, type=_Chunk)
        except (msgspec.ValidationError, RecursionError) as error:
            raise self._broken("an event has another form") from error
        except (msgspec.DecodeError, ValueError):
            # Not whole yet: its next line follows.
            return
        self._event = b""
        yield from self._take_chunk(chunk)

    def _take_chunk(self, chunk: _Chunk) -> Iterator[ModelText]:
        if chunk.error is not None:
            raise self._failed(chunk.error)
        if chunk.usage is not None:
            self._usage = Usage(
                input_tokens=chunk.usage.prompt_tokens or 0,
                output_tokens=chunk.usage.completion_tokens or 0,
            )
        for choice in (chunk.choices or ())[:1]:
            self._finished = self._finished or choice.finish_reason is not None
            part = choice.delta or choice.message or _Delta()
            if part.content:
                self._text.append(part.content)
                yield ModelText(text=part.content)
            for call in part.tool_calls or ():
                self._calls.take(call)

    def _decode(self, data: bytes, form: Any) -> Any:
        try:
            return msgspec.json.decode(data, type=form)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise self._broken("it is not JSON of its form") from error

    def _failed(self, error: Any) -> ModelUnavailable:
        said = error_text(error, self._secret)
        return ModelUnavailable(
            f"The server of model {self._model} failed in mid-answer{': ' if said else '.'}{said}",
            model=self._model,
        )

    def _broken(self, why: str) -> ModelUnavailable:
        return ModelUnavailable(
            f"The answer of model {self._model} is not in its protocol: {why}.", model=self._model
        )
