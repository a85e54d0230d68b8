"""The language models of the settings, or the offline one."""

from contextlib import AsyncExitStack

from adapters.llm.offline import OfflineModel
from domain.agents import Models
from domain.model_guard import GuardedModel
from domain.ports.models import LanguageModel
from domain.ports.system import Clock
from entrypoints.settings.secret import Secret
from entrypoints.settings.values import Settings


def models_of(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Models:
    """The default model and those with a name; the stack closes their connections."""
    named = {
        name: GuardedModel(_model(model.model or name, model.base_url, model.api_key, stack), clock)
        for name, model in settings.models.items()
    }
    if settings.llm_base_url is not None and settings.llm_model is not None:
        default = _model(settings.llm_model, settings.llm_base_url, settings.llm_api_key, stack)
        return Models(GuardedModel(default, clock), named)
    return Models(next(iter(named.values()), OfflineModel()), named)


def _model(
    name: str, base_url: str, api_key: Secret | None, stack: AsyncExitStack
) -> LanguageModel:
    # httpx takes 7 MB and 0.2 s: imported only where a model is configured.
    from adapters.llm.client import OpenAICompatibleModel  # noqa: PLC0415

    key = api_key.reveal() if api_key is not None else None
    model = OpenAICompatibleModel(name, base_url, key)
    stack.push_async_callback(model.aclose)
    return model
