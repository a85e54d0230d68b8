"""Answers that cannot be read: too long, nested too deep, malformed. Whose they are may be told."""

import re

ENDS_BYTES = 256
# Of a line that is too long to keep: every SDK writes the id first or last.

_VERSION = rb'"jsonrpc"\s*:\s*"2\.0"'
_ID = rb'"id"\s*:\s*(\d{1,18})'
_HEAD = re.compile(
    rb"\s*\{\s*(?:%b\s*,\s*)?(?:%b\s*,\s*)?(?:%b\s*,\s*)?\"(?:result|error)\"\s*:"
    % (_VERSION, _ID, _VERSION)
)
_TAIL = re.compile(rb",\s*%b\s*(?:,\s*%b\s*)?\}\s*$" % (_ID, _VERSION))
# The last brace closes the message itself, so that the id just before it is the message's.


def answered_id(line: bytes) -> int | None:
    """The id of the request that an unreadable line answers, None where it cannot be told.

    `line` may lack its middle. Only what begins as an answer is one: a request of the peer's own
    may have the same id.
    """
    head = _HEAD.match(line)
    if head is None:
        return None
    found = head if head[1] is not None else _TAIL.search(line[-ENDS_BYTES:])
    return None if found is None else int(found[1])
