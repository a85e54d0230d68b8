"""A language model that says what a test wrote down for it."""

from collections.abc import AsyncGenerator, Iterable

from domain.errors import Failure
from domain.ports.models import ModelAnswer, ModelRequest, ModelText, ModelUnavailable


class ScriptedLanguageModel:
    """Gives its answers in order, a failure by raising it; keeps the requests it was given.

    Beyond its script it is unavailable. `probe` succeeds, unless it was told of a failure.
    """

    def __init__(
        self,
        answers: Iterable[ModelAnswer | Failure],
        name: str = "scripted",
        probe_failure: Failure | None = None,
    ) -> None:
        self._answers = iter(tuple(answers))
        self._name = name
        self._probe_failure = probe_failure
        self.requests: list[ModelRequest] = []

    @property
    def name(self) -> str:
        return self._name

    async def answer(self, request: ModelRequest) -> AsyncGenerator[ModelText | ModelAnswer, None]:
        self.requests.append(request)
        answer = next(self._answers, None)
        if answer is None:
            raise ModelUnavailable(f"The script of {self._name} has ended.", model=self._name)
        if isinstance(answer, Failure):
            raise answer
        half = len(answer.text) // 2
        for text in (answer.text[:half], answer.text[half:]):
            if text:
                yield ModelText(text=text)
        yield answer

    async def probe(self) -> None:
        if self._probe_failure is not None:
            raise self._probe_failure
