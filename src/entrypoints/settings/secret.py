"""What is told to nobody, and what is shown in its place."""

MASK = "***"


class Secret:
    """A text that is shown to nobody: whoever needs it says so with `reveal()`.

    JSON encoders refuse it, so it cannot slip into an answer either.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the one who sends it."""
        return self._text

    @property
    def masked(self) -> str:
        """What may be shown in its place."""
        return MASK

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.masked!r})"

    def __str__(self) -> str:
        return self.masked

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class SecretUrl(Secret):
    """A URL that may hold a password; its mask shows scheme, user, host and path."""

    __slots__ = ()

    @property
    def masked(self) -> str:
        scheme, separator, rest = self._text.partition("://")
        place, question, query = rest.partition("?")
        # An unescaped "?" in a password would push the rest of it into the query.
        if "@" in query and "@" not in place:
            return f"{scheme}{separator}{MASK}"
        who, at, where = place.rpartition("@")
        user, colon, _ = who.partition(":")
        shown = f"{user}{colon}{MASK if colon else ''}{at}{where}"
        return f"{scheme}{separator}{shown}{question}{MASK if query else ''}"
