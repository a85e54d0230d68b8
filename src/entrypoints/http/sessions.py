"""The session that a request says it belongs to."""

import re
from collections.abc import Mapping

import msgspec

from domain.model.callers import Caller
from entrypoints.http.problems import ParameterInvalid

HEADER = "Sutazai-Session"
NAME = HEADER.lower().encode()
VISIBLE = re.compile(rb"[\x21-\x7e]{1,128}")


def in_session(caller: Caller, headers: Mapping[bytes, bytes]) -> Caller:
    """The caller with the session that the header names. Raises ParameterInvalid."""
    session = headers.get(NAME)
    if session is None:
        return caller
    if not VISIBLE.fullmatch(session):
        raise ParameterInvalid(f"{HEADER} is 1 to 128 visible ASCII characters.", header=HEADER)
    return msgspec.structs.replace(caller, session=session.decode())
