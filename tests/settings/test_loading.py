"""Settings: every source, every refusal."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from entrypoints.settings.listing import example, listed
from entrypoints.settings.loading import Source, load, load_in_force
from entrypoints.settings.names import VARIABLES, place_of
from entrypoints.settings.secret import Secret, SecretUrl
from entrypoints.settings.sources import SettingsRefused
from entrypoints.settings.values import LogLevel

HOME = {"HOME": "/home/ada"}
ROOT = Path(__file__).parents[2]


def problems_of(environ: dict[str, str], **more: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsRefused) as refused:
        load({**HOME, **environ}, **more)
    return refused.value.problems


def test_without_any_source_the_defaults_are_in_force() -> None:
    settings = load(HOME)

    assert (settings.host, settings.port) == ("127.0.0.1", 10010)
    assert settings.data_dir == Path("/home/ada/.local/share/sutazai")
    assert (
        settings.database_url.reveal()
        == "sqlite+aiosqlite:////home/ada/.local/share/sutazai/sutazai.db"
    )
    assert (settings.redis_url, settings.admin_key, settings.mcp_config) == (None, None, None)
    assert (settings.startup_timeout_s, settings.drain_s, settings.keep_days) == (15, 10, 30)
    assert settings.max_body_bytes == 1024 * 1024


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("SUTAZAI_HOST", "::1", "host", "::1"),
        ("SUTAZAI_PORT", "0", "port", 0),
        ("SUTAZAI_DATA_DIR", "~/sutazai", "data_dir", Path("/home/ada/sutazai")),
        ("SUTAZAI_DOCKER_HOST", "tcp://x:2376", "docker_host", "tcp://x:2376"),
        ("SUTAZAI_ALLOWED_HOSTS", "a.b, c.d,", "allowed_hosts", ("a.b", "c.d")),
        ("SUTAZAI_DRAIN_S", "0.5", "drain_s", 0.5),
        ("SUTAZAI_KEEP_DAYS", "7", "keep_days", 7),
        ("SUTAZAI_WORKER_CONCURRENCY", "3", "worker_concurrency", 3),
        ("SUTAZAI_LOG_LEVEL", "debug", "log_level", LogLevel.DEBUG),
        ("SUTAZAI_ADMIN_KEY", "k3y", "admin_key", Secret("k3y")),
        ("SUTAZAI_REDIS_URL", "redis://h/1", "redis_url", SecretUrl("redis://h/1")),
        (
            "SUTAZAI_DATABASE_URL",
            "postgres://u:p@h/d",
            "database_url",
            SecretUrl("postgresql+asyncpg://u:p@h/d"),
        ),
        ("SUTAZAI_PORT", "", "port", 10010),
    ],
)
def test_a_variable_sets_its_field(name: str, text: str, field: str, value: object) -> None:
    assert getattr(load({**HOME, name: text}), field) == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("SUTAZAI_PORT", "65536", "must be a whole number from 0 to 65535"),
        ("SUTAZAI_PORT", "ten", "must be a whole number from 0 to 65535"),
        ("SUTAZAI_STARTUP_TIMEOUT_S", "0", "must be a number above 0"),
        ("SUTAZAI_DRAIN_S", "nan", "must be a number from 0"),
        ("SUTAZAI_LOG_LEVEL", "loud", "must be debug, info, warning or error"),
        ("SUTAZAI_DATABASE_URL", "mysql://h/d", "must be a URL that starts with postgresql://"),
        ("SUTAZAI_REDIS_URL", "h:6379", "must be a URL that starts with redis://"),
        ("SUTAZAI_DOCKER_HOST", "localhost:1", "must be a URL that starts with unix://"),
        ("SUTAZAI_ADMIN_KEY", "schlüssel", "must be one line of visible ASCII text"),
        ("SUTAZAI_ADMIN_KEY_FILE", "/nowhere/key", "/nowhere/key, which does not exist"),
    ],
)
def test_a_wrong_value_is_refused_in_words(name: str, text: str, said: str) -> None:
    (problem,) = problems_of({name: text})

    assert problem.startswith(name)
    assert said in problem


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("SUTAZAI_PROT", "SUTAZAI_PORT"),
        ("SUTAZAI_DB_URL", None),
        ("SUTAZAI_PORT_FILE", "SUTAZAI_PORT"),
        ("SUTAZAI_MODELS__FAST__URL", "SUTAZAI_MODELS__NAME__BASE_URL"),
        ("SUTAZAI_MODELS__NAME", None),
        ("SUTAZAI_REDISURL", "SUTAZAI_REDIS_URL"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(name: str, near: str | None) -> None:
    (problem,) = problems_of({name: "x"})

    assert problem.startswith(f"{name} is not a setting")
    if near:
        assert f"did you mean {near}" in problem


def test_the_names_of_tests_and_clients_are_left_alone() -> None:
    load(
        {**HOME, "SUTAZAI_TEST_REDIS": "x", "SUTAZAI_URL": "x", "SUTAZAI_API_KEY": "x", "OTHER": ""}
    )


def test_all_problems_are_told_together_and_no_value_is_shown() -> None:
    problems = problems_of(
        {
            "SUTAZAI_PROT": "s3cret",
            "SUTAZAI_PORT": "s3cret",
            "SUTAZAI_REDIS_URL": "s3cret",
            "SUTAZAI_LLM_MODEL": "m",
        }
    )

    assert [problem.split()[0] for problem in problems] == [
        "SUTAZAI_PROT",
        "SUTAZAI_PORT",
        "SUTAZAI_REDIS_URL",
        "SUTAZAI_LLM_MODEL",
    ]
    assert "s3cret" not in " ".join(problems)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "box.example"])
def test_others_are_let_in_only_with_an_admin_key(host: str) -> None:
    (problem,) = problems_of({"SUTAZAI_HOST": host})

    assert "SUTAZAI_ADMIN_KEY must be given" in problem
    assert load({**HOME, "SUTAZAI_HOST": host, "SUTAZAI_ADMIN_KEY": "k"}).host == host


def test_an_empty_admin_key_is_no_key() -> None:
    assert problems_of({"SUTAZAI_HOST": "0.0.0.0", "SUTAZAI_ADMIN_KEY": ""})


@pytest.mark.parametrize(
    ("given", "needed"),
    [("BASE_URL", "MODEL"), ("MODEL", "BASE_URL"), ("API_KEY", "BASE_URL")],
)
def test_a_half_named_model_is_refused(given: str, needed: str) -> None:
    assert problems_of({f"SUTAZAI_LLM_{given}": "http://x"}) == (
        f"SUTAZAI_LLM_{given} is given without SUTAZAI_LLM_{needed}.",
    )


def test_certificates_without_an_engine_are_refused() -> None:
    assert problems_of({"SUTAZAI_DOCKER_CERT_PATH": "/certs"}) == (
        "SUTAZAI_DOCKER_CERT_PATH is given without SUTAZAI_DOCKER_HOST.",
    )


def test_models_are_named_in_their_variables() -> None:
    settings = load(
        {
            **HOME,
            "SUTAZAI_MODELS__FAST_ONE__BASE_URL": "http://x/v1",
            "SUTAZAI_MODELS__FAST_ONE__API_KEY": "k",
            "SUTAZAI_ENGINES__BOX__HOST": "tcp://box:2376",
        }
    )

    assert settings.models["fast_one"].api_key == Secret("k")
    assert settings.engines["box"].host == "tcp://box:2376"


def test_a_model_without_its_address_is_refused() -> None:
    assert problems_of({"SUTAZAI_MODELS__FAST__MODEL": "m"}) == (
        "SUTAZAI_MODELS__FAST__BASE_URL is missing.",
    )


def test_the_data_folder_follows_xdg() -> None:
    assert load({**HOME, "XDG_DATA_HOME": "/data"}).data_dir == Path("/data/sutazai")
    assert load({**HOME, "XDG_DATA_HOME": "data"}).data_dir == load(HOME).data_dir
    with pytest.raises(SettingsRefused, match="SUTAZAI_DATA_DIR must be given"):
        load({})


def test_flags_beat_the_environment_and_it_beats_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SUTAZAI_PORT=1\nSUTAZAI_KEEP_DAYS=1\nSUTAZAI_DRAIN_S=1\n")
    (tmp_path / ".env").chmod(0o600)

    in_force = load_in_force(
        {"SUTAZAI_DATA_DIR": str(tmp_path), "SUTAZAI_PORT": "2", "SUTAZAI_KEEP_DAYS": "2"},
        {"port": "3"},
    )

    settings, sources = in_force.settings, in_force.sources
    assert (settings.port, sources[("port",)]) == (3, Source.FLAG)
    assert (settings.keep_days, sources[("keep_days",)]) == (2, Source.ENVIRONMENT)
    assert (settings.drain_s, sources[("drain_s",)]) == (1, Source.ENV_FILE)


def test_a_named_env_file_stands_for_the_one_in_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SUTAZAI_PORT=1")
    named = tmp_path / "named"
    named.write_text(f"SUTAZAI_DATA_DIR={tmp_path}\nSUTAZAI_KEEP_DAYS=2")
    for file in (tmp_path / ".env", named):
        file.chmod(0o600)

    settings = load(HOME, env_file=named)

    assert (settings.data_dir, settings.port, settings.keep_days) == (tmp_path, 10010, 2)


def test_the_working_directory_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SUTAZAI_PORT=1")
    monkeypatch.chdir(tmp_path)

    assert load(HOME).port == 10010


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k3y\n")

    in_force = load_in_force({**HOME, "SUTAZAI_ADMIN_KEY_FILE": str(file)})

    assert in_force.settings.admin_key == Secret("k3y")
    assert in_force.sources[("admin_key",)] is Source.SECRET_FILE


def test_a_secret_given_both_ways_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("k3y")

    (problem,) = problems_of({"SUTAZAI_ADMIN_KEY": "x", "SUTAZAI_ADMIN_KEY_FILE": str(file)})

    assert problem.endswith("are both given: keep one.")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ada:s3cret@h:5432/d", "postgresql://ada:***@h:5432/d"),
        ("postgresql://ada:s3/cr@et@h/d", "postgresql://ada:***@h/d"),
        ("postgresql://ada:s3?cr@h/d", "postgresql://***"),
        ("postgresql://h/d?password=s3cret", "postgresql://h/d?***"),
        ("redis://:s3cret@h:6379/0", "redis://:***@h:6379/0"),
        ("sqlite:////var/x.db", "sqlite:////var/x.db"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    secret = SecretUrl(url)

    assert str(secret) == shown
    assert repr(secret) == f"SecretUrl({shown!r})"
    assert secret.reveal() == url


def test_secrets_are_neither_printed_nor_encoded() -> None:
    settings = load(
        {
            **HOME,
            "SUTAZAI_ADMIN_KEY": "s3cret",
            "SUTAZAI_DATABASE_URL": "postgresql://u:s3cret@h/d",
            "SUTAZAI_MODELS__A__BASE_URL": "http://x",
            "SUTAZAI_MODELS__A__API_KEY": "s3cret",
        }
    )

    assert "s3cret" not in repr(settings)
    assert settings.admin_key is not None
    with pytest.raises(TypeError, match="Secret"):
        msgspec.json.encode(settings.admin_key)


def test_the_listing_names_every_setting_with_its_source_and_masks_secrets() -> None:
    in_force = load_in_force(
        {
            **HOME,
            "SUTAZAI_DATABASE_URL": "postgresql://u:s3cret@h/d",
            "SUTAZAI_MODELS__A__BASE_URL": "http://x",
            "SUTAZAI_MODELS__A__API_KEY": "s3cret",
        },
        {"port": "1"},
    )

    rows = {row.name: (row.value, row.source) for row in listed(in_force)}

    assert rows["SUTAZAI_PORT"] == (1, Source.FLAG)
    assert rows["SUTAZAI_HOST"] == ("127.0.0.1", Source.DEFAULT)
    assert rows["SUTAZAI_DATABASE_URL"][0] == "postgresql+asyncpg://u:***@h/d"
    assert rows["SUTAZAI_MODELS__A__API_KEY"] == ("***", Source.ENVIRONMENT)
    scalars = {name for name in VARIABLES if "__NAME__" not in name}
    assert scalars <= set(rows)
    assert b"s3cret" not in msgspec.json.encode(listed(in_force))


def test_the_example_file_is_the_one_that_the_tree_makes() -> None:
    assert (ROOT / ".env.example").read_text() == example()


def test_every_name_in_the_example_is_a_setting() -> None:
    lines = [
        line for line in example().splitlines() if line.startswith("# SUTAZAI_") and "=" in line
    ]

    assert len(lines) == len(VARIABLES)
    for line in lines:
        assert place_of(line.removeprefix("# ").partition("=")[0]) is not None
