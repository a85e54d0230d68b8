"""The SDK's fixture server over Streamable HTTP on a free port, which is its first line of output.

Run `python -m tests.mcp.remote.sdk_server stateful|stateless|json` at the project's root.
"""

import asyncio
import socket
import sys
from typing import Annotated

import anyio
import uvicorn
from pydantic import Field

from tests.fixtures.mcp_servers.sdk import server

ended: list[str] = []


@server.tool()
async def linger() -> str:
    """Take very long and notice when nobody waits any more."""
    try:
        await anyio.sleep(60)
    except BaseException:
        ended.append("lingering")
        raise
    return "rested"


@server.tool()
def given_up() -> int:
    """How many lingering calls were given up."""
    return len(ended)


@server.tool()
def placed(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Has an argument that belongs in a header."""
    return region


def main(mode: str) -> None:
    """Serve until terminated."""
    app = server.streamable_http_app(
        stateless_http=mode != "stateful", json_response=mode == "json"
    )
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer takes 40 ms.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main(sys.argv[1])
