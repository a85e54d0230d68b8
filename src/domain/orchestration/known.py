"""The catalogue of known servers, each at one release."""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from domain.model.recipes import (
    Image,
    KnownServer,
    Local,
    Npm,
    Own,
    Parameter,
    Pypi,
    Variable,
)
from domain.model.servers import ServerName, Sessions

LONG_START = timedelta(minutes=5)
# Hundreds of packages, or a native part that is compiled: 58 s were measured on a fast line.
REFERENCE_RELEASE = "2026.8.31"
# The reference servers are released together.

_COMMAND = Parameter(
    name="COMMAND", description="The program of your checkout and its arguments.", several=True
)


def _memory_file(name: str) -> Parameter:
    # Without a file of its own the server writes inside its package, where all of its kind meet.
    return Parameter(name="FILE", description="Where the graph is kept.", data_file=name)


KNOWN: tuple[KnownServer, ...] = (
    KnownServer(
        name=ServerName("files"),
        title="Files",
        description="Reads, writes, moves and searches files inside the folders it is given.",
        recipe=Npm(
            package="@modelcontextprotocol/server-filesystem",
            version=REFERENCE_RELEASE,
            args=("{DIR}",),
        ),
        parameters=(
            Parameter(name="DIR", description="A folder that it may touch.", several=True),
        ),
    ),
    KnownServer(
        name=ServerName("context7"),
        title="Context7",
        description="Looks up the current documentation of libraries.",
        recipe=Npm(package="@upstash/context7-mcp", version="4.1.1"),
        environment=(
            Variable(
                name="CONTEXT7_API_KEY",
                description="A key, for higher limits.",
                required=False,
                secret=True,
            ),
        ),
    ),
    KnownServer(
        name=ServerName("http-fetch"),
        title="Fetch",
        description="Fetches a web page and hands it over as Markdown.",
        recipe=Pypi(package="mcp-server-fetch", version="2026.10.24", script="mcp-server-fetch"),
        aliases=("http_fetch", "http"),
    ),
    KnownServer(
        name=ServerName("ddg"),
        title="DuckDuckGo",
        description="Searches the web and reads the pages found.",
        recipe=Pypi(
            package="duckduckgo-mcp-server", version="0.7.0", script="duckduckgo-mcp-server"
        ),
        environment=(
            Variable(
                name="DDG_REGION", description="Region of the results: us-en.", required=False
            ),
            Variable(
                name="DDG_SAFE_SEARCH", description="STRICT, MODERATE or OFF.", required=False
            ),
        ),
    ),
    KnownServer(
        name=ServerName("sequentialthinking"),
        title="Sequential thinking",
        description="Keeps a numbered chain of thoughts that can be revised and branched.",
        recipe=Npm(
            package="@modelcontextprotocol/server-sequential-thinking", version=REFERENCE_RELEASE
        ),
        sessions=Sessions.PER_SESSION,
    ),
    KnownServer(
        name=ServerName("github"),
        title="GitHub",
        description="Works with repositories, issues, pull requests and code search on GitHub.",
        recipe=Npm(package="@modelcontextprotocol/server-github", version="2025.4.8"),
        environment=(
            Variable(
                name="GITHUB_PERSONAL_ACCESS_TOKEN",
                description="A token with the rights that the tools are to have.",
                secret=True,
            ),
        ),
    ),
    KnownServer(
        name=ServerName("postgres"),
        title="PostgreSQL",
        description="Explores a database, runs queries that only read, and judges its indexes.",
        recipe=Image(
            image="crystaldba/postgres-mcp", tag="0.3.0", args=("--access-mode=restricted",)
        ),
        environment=(
            Variable(
                name="DATABASE_URI",
                description="postgresql://user:password@host:port/name",
                secret=True,
            ),
        ),
    ),
    KnownServer(
        name=ServerName("extended-memory"),
        title="Extended memory",
        description="Keeps contexts by project, importance and tag over many conversations.",
        recipe=Pypi(
            package="extended-memory-mcp", version="0.9.0", script="extended-memory-mcp-server"
        ),
        environment=(
            Variable(
                name="STORAGE_CONNECTION_STRING",
                description="Another store than a SQLite file in the home folder.",
                required=False,
                secret=True,
            ),
        ),
    ),
    KnownServer(
        name=ServerName("memory-bank-mcp"),
        title="Memory bank",
        description="Remembers entities, what was observed of them and how they relate.",
        recipe=Npm(package="@modelcontextprotocol/server-memory", version=REFERENCE_RELEASE),
        parameters=(_memory_file("memory-bank.jsonl"),),
        env={"MEMORY_FILE_PATH": "{FILE}"},
    ),
    KnownServer(
        name=ServerName("knowledge-graph-mcp"),
        title="Knowledge graph",
        description="A second graph of entities and relations, beside the memory bank.",
        recipe=Npm(package="@modelcontextprotocol/server-memory", version=REFERENCE_RELEASE),
        parameters=(_memory_file("knowledge-graph.jsonl"),),
        env={"MEMORY_FILE_PATH": "{FILE}"},
    ),
    KnownServer(
        name=ServerName("compass-mcp"),
        title="Compass",
        description="Recommends MCP servers for a need told in plain words.",
        recipe=Npm(package="@liuyoshio/mcp-compass", version="1.0.7"),
    ),
    KnownServer(
        name=ServerName("nx-mcp"),
        title="Nx",
        description="Tells of the projects, generators and documentation of an Nx workspace.",
        recipe=Npm(package="nx-mcp", version="0.25.0", args=("{WORKSPACE}",)),
        parameters=(
            Parameter(name="WORKSPACE", description="Folder of the workspace.", required=False),
        ),
    ),
    KnownServer(
        name=ServerName("playwright-mcp"),
        title="Playwright",
        description="Drives a browser without a window; needs one that Playwright finds.",
        recipe=Npm(package="@playwright/mcp", version="0.0.83", args=("--headless",)),
        sessions=Sessions.PER_SESSION,
        aliases=("puppeteer-mcp",),
    ),
    KnownServer(
        name=ServerName("language-server"),
        title="Language server",
        description="Definitions, references, diagnostics and renames by a language server.",
        recipe=Local(
            words=(
                "mcp-language-server",
                *("--workspace", "{WORKSPACE}", "--lsp", "{LSP}", "--", "{LSP_ARGS}"),
            )
        ),
        parameters=(
            Parameter(name="WORKSPACE", description="Folder of the code."),
            Parameter(name="LSP", description="The language server's program."),
            Parameter(name="LSP_ARGS", description="Its arguments.", required=False, several=True),
        ),
    ),
    KnownServer(
        name=ServerName("ultimatecoder"),
        title="Ultimate coder",
        description="Tools for editing code and running commands, from a local checkout.",
        recipe=Local(words=("{COMMAND}",)),
        parameters=(_COMMAND,),
    ),
    KnownServer(
        name=ServerName("mcp-ssh"),
        title="SSH",
        description="Runs commands on other machines over SSH, from a local checkout.",
        recipe=Local(words=("{COMMAND}",)),
        parameters=(_COMMAND,),
        aliases=("mcp_ssh",),
    ),
    KnownServer(
        name=ServerName("claude-task-runner"),
        title="Task runner",
        description="Breaks work into tasks for a coding agent, from a local checkout.",
        recipe=Local(words=("{COMMAND}",)),
        parameters=(_COMMAND,),
    ),
    KnownServer(
        name=ServerName("claude-flow"),
        title="Claude Flow",
        description="Orchestrates swarms of coding agents; offers several hundred tools.",
        recipe=Npm(package="claude-flow", version="3.43.0", args=("mcp", "start")),
        start_timeout=LONG_START,
    ),
    KnownServer(
        name=ServerName("ruv-swarm"),
        title="Ruv swarm",
        description="Coordinates small neural agents; compiles a native part when installed.",
        recipe=Npm(package="ruv-swarm", version="1.0.20", args=("mcp", "start")),
        start_timeout=LONG_START,
    ),
    KnownServer(
        name=ServerName("unified-dev"),
        title="Development",
        description="This system's own analysis, generation and reasoning about code.",
        recipe=Own(),
    ),
    KnownServer(
        name=ServerName("unified-memory"),
        title="Memory",
        description="This system's own memory as tools.",
        recipe=Own(),
    ),
)

BY_NAME: Mapping[str, KnownServer] = MappingProxyType(
    {name: entry for entry in KNOWN for name in (entry.name, *entry.aliases)}
)
# Aliases included.
