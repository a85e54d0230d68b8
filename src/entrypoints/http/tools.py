"""Tools over HTTP: what is on offer, and the call of one."""

from datetime import timedelta
from typing import Annotated, Any

import msgspec
from litestar import Request, Router, get, post
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.types import Receive, Scope, Send

from domain.model.tools import Tool, ToolResult
from domain.orchestration.service import McpService
from entrypoints.http.limits import Quota, RouteLimits
from entrypoints.http.pages import cut
from entrypoints.http.problems import BodyInvalid
from entrypoints.http.requests import Cursor, Limit, Service, caller_of, decoded, may_read

LONGEST_CALL_S = 3600
Timeout = Annotated[
    float,
    QueryParameter(gt=0, le=LONGEST_CALL_S, description="Seconds until the call is given up."),
]
JSON = "application/json"
ARGUMENTS: Any = dict[str, Any]


class ToolAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool; `full_name` is its name towards models."""

    server: str
    name: str
    full_name: str
    input_schema: dict[str, Any]
    title: str | None = None
    description: str | None = None
    annotations: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None


class ToolList(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the tools by full name."""

    tools: tuple[ToolAnswer, ...]
    total_count: int
    next_cursor: str | None


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a call gave back; `is_error` true means that the tool itself reports failure."""

    content: tuple[dict[str, Any], ...]
    is_error: bool
    duration_ms: float
    structured_content: dict[str, Any] | None = None


class ReadyAnswer:
    """JSON on its way out. A call is the one place where Litestar's own response is too slow."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Send it."""
        length = str(len(self._body)).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": self._body, "more_body": False})


async def _body_of(receive: Receive) -> bytes:
    message: Any = await receive()
    parts = [message["body"]]
    while message["more_body"]:
        message = await receive()
        parts.append(message["body"])
    return b"".join(parts)


def _answer(tool: Tool) -> ToolAnswer:
    title, output = tool.definition.get("title"), tool.definition.get("outputSchema")
    return ToolAnswer(
        server=tool.server,
        name=tool.name,
        full_name=tool.full_name,
        input_schema=dict(tool.input_schema),
        title=title if isinstance(title, str) else None,
        description=tool.description or None,
        annotations=dict(tool.annotations) or None,
        output_schema=output if isinstance(output, dict) else None,
    )


@get("/tools")
async def list_tools(
    mcp: Service[McpService],
    scope: Scope,
    server: FromQuery[str | None] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ToolList:
    """Tools on offer, of all servers or of one."""
    may_read(scope)
    if server is not None:
        await mcp.look_up(server)
    page = cut(mcp.tools(server), lambda tool: tool.full_name, limit, cursor)
    return ToolList(
        tools=tuple(map(_answer, page.items)),
        total_count=page.total_count,
        next_cursor=page.next_cursor,
    )


def _call_route(mcp: McpService, limits: RouteLimits) -> HTTPRouteHandler:
    """What it needs is given to it here: to have it injected costs a twentieth of a call."""
    rate = limits.rate_of(Quota.TOOL_CALLS)

    @post(
        "/servers/{server:str}/tools/{tool:str}",
        status_code=200,
        media_type=JSON,
        responses={
            200: ResponseSpec(CallAnswer, description="The tool's answer", generate_examples=False)
        },
    )
    async def call_tool(
        request: Request[None, None, State],
        server: FromPath[str],
        tool: FromPath[str],
        timeout_s: Timeout = 60,
    ) -> ReadyAnswer:
        """Call a tool once; the body is its arguments, an object."""
        if rate is not None:
            await limits.count(request.scope, Quota.TOOL_CALLS, rate)
        body = await _body_of(request.receive)
        try:
            result = await mcp.call_tool(
                caller_of(request.scope),
                server,
                tool,
                decoded(body, ARGUMENTS) if body else {},
                timeout=timedelta(seconds=timeout_s),
            )
        except RecursionError as error:
            # Read at its limit, the body cannot be written again further down the stack.
            raise BodyInvalid("The body is nested too deeply.", path="") from error
        return ReadyAnswer(encoded(result))

    return call_tool


def encoded(result: ToolResult) -> bytes:
    """The answer's JSON; the server's own parts are passed on as they came."""
    structured = result.structured_content
    middle = b"" if structured is None else b'"structured_content":%b,' % structured
    return b'{"content":%b,%b"is_error":%b,"duration_ms":%.3f}' % (
        result.content,
        middle,
        b"true" if result.is_error else b"false",
        result.duration_ms,
    )


def routes(mcp: McpService, limits: RouteLimits) -> Router:
    """The routes of tools."""
    return Router("/mcp", route_handlers=[list_tools, _call_route(mcp, limits)], tags=["tools"])
