"""MCP servers over HTTP: named, looked at, started and stopped. Secrets never leave."""

from typing import Annotated

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody
from litestar.types import Scope

from domain.errors import Invalid
from domain.model.callers import CallerId
from domain.model.containers import IMAGE_PATTERN, Container
from domain.model.servers import (
    SERVER_NAME_PATTERN,
    Command,
    Origin,
    Remote,
    ServerName,
    ServerRecipe,
    ServerSpec,
)
from domain.orchestration.containers import ContainerService
from domain.orchestration.service import McpService
from entrypoints.http.keys import ONCE, Key
from entrypoints.http.pages import cut
from entrypoints.http.requests import Cursor, Limit, Service, caller_of, may_read
from entrypoints.http.server_answers import (
    ServerAnswer,
    ServerList,
    ServerWithLog,
    answer_of,
    described,
)
from entrypoints.known_entry import known_spec
from entrypoints.server_options import ServerOptions, is_web_url

Text = Annotated[str, msgspec.Meta(max_length=32_768)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=1000)]
Environment = Annotated[dict[str, Text], msgspec.Meta(max_length=1000)]
FORMS = ("command", "url", "image", "known")


class RecipeNotSupported(Invalid):
    """This version cannot start servers of this form."""


class NameMissing(Invalid):
    """Only a known server brings its name along."""


class ServerBody(ServerOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server to be run from a command, one that runs elsewhere at a URL, or a known one."""

    name: Annotated[str, msgspec.Meta(pattern=SERVER_NAME_PATTERN)] | None = None
    command: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None = None
    args: Texts = ()
    env: Environment = msgspec.field(default_factory=dict)
    cwd: Text | None = None
    url: Text | None = None
    headers: Environment = msgspec.field(default_factory=dict)
    image: Annotated[str, msgspec.Meta(pattern=IMAGE_PATTERN)] | None = None
    known: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    arguments: Annotated[dict[str, Text | Texts], msgspec.Meta(max_length=100)] = msgspec.field(
        default_factory=dict
    )

    def spec(self, owner: CallerId) -> ServerSpec:
        """Raises NameMissing, RecipeNotSupported, KnownServerRefused, ArgumentsRefused."""
        if self.known is not None:
            spec = self._known(self.known, owner)
        elif self.name is not None:
            spec = ServerSpec(name=ServerName(self.name), recipe=self._recipe(), owner=owner)
        else:
            raise NameMissing("A server needs a name, unless it is a known one.", path="/name")
        return self.applied(spec)

    def _known(self, known: str, owner: CallerId) -> ServerSpec:
        places = (self.command, self.url, self.image, self.cwd)
        if self.args or self.headers or any(place is not None for place in places):
            raise RecipeNotSupported(
                "A known server is {known, name?, arguments?, env?}.", supported=FORMS
            )
        # Nothing of this system's environment is taken: what a caller adds names all it needs.
        spec = known_spec(known, self.arguments, self.env, {}, owner)
        return msgspec.structs.replace(
            spec, name=ServerName(self.name or spec.name), origin=Origin.API
        )

    def _recipe(self) -> ServerRecipe:
        of_command = bool(self.args or self.env or self.cwd)
        places = (self.command, self.url, self.image)
        if self.arguments or sum(place is not None for place in places) != 1:
            raise RecipeNotSupported(
                "A server is {name, command, args?, env?, cwd?}, {name, url, headers?}, "
                "{name, image, args?, env?} or {known, name?, arguments?, env?}.",
                supported=FORMS,
            )
        if self.image is not None and not self.headers and self.cwd is None:
            return Container(image=self.image, command=self.args, env=self.env)
        if self.url is None and self.command is not None and not self.headers:
            return Command(command=self.command, args=self.args, env=self.env, cwd=self.cwd)
        if self.url is None or of_command or not is_web_url(self.url):
            raise RecipeNotSupported(
                "url is an http:// or https:// address; headers go with it, and with nothing else.",
                supported=FORMS,
            )
        return Remote(url=self.url, headers=self.headers)


@get("/")
async def list_servers(
    mcp: Service[McpService], scope: Scope, limit: Limit = 50, cursor: Cursor = None
) -> ServerList:
    """Servers by name."""
    may_read(scope)
    page = cut(mcp.records(), lambda record: record.spec.name, limit, cursor)
    return ServerList(
        servers=tuple(answer_of(mcp, record) for record in page.items),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


@post("/", dependencies=ONCE)
async def add_server(
    mcp: Service[McpService],
    containers: Service[ContainerService],
    scope: Scope,
    data: JSONBody[ServerBody],
    once: Key,
) -> ServerAnswer:
    """Keep a new server and begin it as its `start` says; one from an image as a deploy does."""
    caller = caller_of(scope)
    spec = data.spec(caller.id)
    if isinstance(spec.recipe, Container):
        return described(await containers.deploy(caller, spec, once=once), ())
    return described(await mcp.add(caller, spec, once), ())


@get("/{server:str}")
async def get_server(
    mcp: Service[McpService], scope: Scope, server: FromPath[str]
) -> ServerWithLog:
    """One server with the last lines of its log."""
    may_read(scope)
    await mcp.look_up(server)
    answer = answer_of(mcp, mcp.record(server))
    return ServerWithLog(**msgspec.structs.asdict(answer), log_tail=mcp.log_tail(server))


@delete("/{server:str}")
async def remove_server(mcp: Service[McpService], scope: Scope, server: FromPath[str]) -> None:
    """End a server that came by the API and forget it."""
    await mcp.remove(caller_of(scope), ServerName(server))


@post("/{server:str}/start", status_code=200)
async def start_server(
    mcp: Service[McpService], scope: Scope, server: FromPath[str]
) -> ServerAnswer:
    """Begin a server; its state tells how far it is."""
    return answer_of(mcp, await mcp.start_server(caller_of(scope), server))


@post("/{server:str}/stop", status_code=200)
async def stop_server(
    mcp: Service[McpService], scope: Scope, server: FromPath[str]
) -> ServerAnswer:
    """End a server until it is started again."""
    return answer_of(mcp, await mcp.stop_server(caller_of(scope), server))


@post("/{server:str}/restart", status_code=200)
async def restart_server(
    mcp: Service[McpService], scope: Scope, server: FromPath[str]
) -> ServerAnswer:
    """End a server and begin it again."""
    return answer_of(mcp, await mcp.restart_server(caller_of(scope), server))


@post("/{server:str}/approve", status_code=200)
async def approve_tools(
    mcp: Service[McpService], scope: Scope, server: FromPath[str]
) -> ServerAnswer:
    """Trust a server's tools as they were last listed, and end its alerts."""
    return answer_of(mcp, await mcp.approve_tools(caller_of(scope), server))


ROUTES = Router(
    "/mcp/servers",
    route_handlers=[
        list_servers,
        add_server,
        get_server,
        remove_server,
        start_server,
        stop_server,
        restart_server,
        approve_tools,
    ],
    tags=["servers"],
)
