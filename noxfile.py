"""The one door to every check: `nox` runs those that need nothing but a package index."""

import os
import shutil

import nox

nox.needs_version = ">=2025.2"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "services", "containers"]


def _install(session: nox.Session, *groups: str) -> None:
    """Exactly what the lock file says, into the session's own environment."""
    chosen = [part for group in groups for part in ("--group", group)]
    session.run_install(
        "uv",
        "sync",
        "--locked",
        "--quiet",
        f"--python={session.virtualenv.location}",
        *chosen,
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location, "VIRTUAL_ENV": ""},
    )


def _engine_lacks() -> list[str]:
    """What is missing for a Docker Engine of the tests' own."""
    programs = ("dockerd", "docker-init", "/bin/busybox")
    missing = [name for name in programs if shutil.which(name) is None]
    return missing + (["root"] if os.geteuid() != 0 else [])


@nox.session
def lint(session: nox.Session) -> None:
    """Style, and the contracts of who may import whom."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-logo")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types over everything, tests included."""
    _install(session, "types", "tests")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """All tests that need no service, no Docker and no Node."""
    _install(session, "tests")
    session.run("pytest", "-m", "not services and not containers", *session.posargs)


@nox.session
def services(session: nox.Session) -> None:
    """Tests against what is real: PostgreSQL, Redis, MCP servers from npm and PyPI."""
    _install(session, "tests", "services")
    session.run("pytest", "-m", "services", *session.posargs)


@nox.session
def containers(session: nox.Session) -> None:
    """Tests on a real Docker Engine of their own; SUTAZAI_TEST_ENGINE=required forbids to skip."""
    missing = _engine_lacks()
    if missing:
        required = os.environ.get("SUTAZAI_TEST_ENGINE") == "required"
        stop = session.error if required else session.skip
        stop(f"not run: containers on a real Docker Engine, for want of {', '.join(missing)}")
    _install(session, "tests", "services")
    session.run("pytest", "-m", "containers", *session.posargs)


@nox.session
def simulate(session: nox.Session) -> None:
    """Simulated clusters in trouble, every run held to every rule; a failing seed is told."""
    _install(session, "tests")
    session.run("python", "-m", "tests.simulation", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Ratios within one run, beside other systems, or `-- --against REVISION`; `-- tasks` alone."""
    _install(session, "tests", "services")
    if session.posargs != ["tasks"]:
        session.run("python", "-m", "tests.bench", *session.posargs)
    if not session.posargs and not _engine_lacks():
        session.run("python", "-m", "tests.bench.containers")
    if session.posargs in ([], ["tasks"]):
        session.run("python", "-m", "tests.bench.durable")


@nox.session
def soak(session: nox.Session) -> None:
    """Full load for 10 minutes beside a crashing server, then 1,000 lives; `-- brief` for CI."""
    _install(session, "tests")
    seconds, lives = (60, 60) if session.posargs == ["brief"] else (600, 1000)
    session.run("python", "-m", "tests.soak", f"--seconds={seconds}")
    session.run("python", "-m", "tests.churn", f"--lives={lives}")


@nox.session(name="env-example")
def env_example(session: nox.Session) -> None:
    """Write `.env.example` anew from the settings."""
    _install(session)
    text = session.run("python", "-m", "entrypoints.settings.example", silent=True)
    with open(".env.example", "w", encoding="utf-8") as file:  # noqa: PTH123 - one line
        file.write(str(text))
