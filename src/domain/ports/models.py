"""Language models, as far as a turn needs them."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

import msgspec

from domain.errors import Invalid, Unavailable
from domain.model.conversations import Message, ToolCall


class ModelUnavailable(Unavailable):
    """The model's server did not answer, or not in its protocol."""


class ModelRefused(Invalid):
    """The model's server refused the request: key, model name or input."""


class ToolOffer(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as a model is shown it; `name` is the full name."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All that a model is given for one answer. `messages` are oldest first."""

    instructions: str
    messages: tuple[Message, ...]
    tools: tuple[ToolOffer, ...] = ()


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the model's server counted them; 0 where it does not count."""

    input_tokens: int = 0
    output_tokens: int = 0


class ModelText(msgspec.Struct, frozen=True, kw_only=True, tag="text"):
    """A piece of the answer's text."""

    text: str


class ModelAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The end of an answer: all of its text, the calls it wishes for, its cost."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()


class LanguageModel(Protocol):
    """One model at one place."""

    @property
    def name(self) -> str:
        """The model's name, as its server knows it."""
        ...

    def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        """Pieces of text as they come, then exactly one ModelAnswer, the last.

        Each `call_id` is unique within the answer, also where the server's were not.
        Cancelling the iteration ends the request at the server.

        Raises:
            ModelUnavailable: refused connection, broken stream, server error, overload.
            ModelRefused: the server says that the request itself is wrong.
        """
        ...

    async def probe(self) -> None:
        """Ask whether the model's server answers, at no cost. Raises as `answer`."""
        ...
