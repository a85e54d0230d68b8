"""What a child learns of this system's environment: a stated list, the recipe's own, a mark."""

from collections.abc import Mapping

INHERITED = frozenset(
    {
        *("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TMPDIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("NODE_EXTRA_CA_CERTS", "PIP_CERT"),
    }
)
INHERITED_PREFIXES = ("LC_", "UV_", "npm_config_", "NPM_CONFIG_")
# Behind a proxy or with a private registry `npx` and `uvx` fail without these.
MARK = "_SUTAZAI_NODE"
# Stands in every process that was started here, so that a later life can find what is left.


def child_environment(
    base: Mapping[str, str], recipe: Mapping[str, str], mark: str
) -> dict[str, str]:
    """The child's whole environment; the recipe may name anything but the mark."""
    inherited = {
        name: value
        for name, value in base.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    return {**inherited, **recipe, MARK: mark}
