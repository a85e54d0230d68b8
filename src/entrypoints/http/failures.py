"""What became of a request inside the application, in the words of the error table."""

import logging

from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)

from domain.errors import Failure
from entrypoints.http.problems import (
    HttpMethodNotAllowed,
    InternalFault,
    MalformedJson,
    NoSuchRoute,
    ParameterInvalid,
    problem_of,
)

logger = logging.getLogger(__name__)

SERVER_ERROR = 500
# From this status on the fault is ours.


def answer_failure(request: Request[None, None, State], error: Exception) -> Response[bytes]:
    """Answer any exception with a problem; only what the system did not foresee is logged."""
    request_id = request.scope["state"]["request_id"]
    failure = error if isinstance(error, Failure) else _translated(request, error)
    if isinstance(failure, InternalFault):
        logger.error("Request %s failed.", request_id, exc_info=error)
    problem = problem_of(failure, request_id)
    return Response(problem.body, status_code=problem.status, headers=dict(problem.headers))


def _translated(request: Request[None, None, State], error: Exception) -> Failure:
    match error:
        case NotFoundException():
            return NoSuchRoute(f"Nothing is served under {request.scope['path']}.")
        case MethodNotAllowedException(headers=headers):
            allow = (headers or {}).get("allow", "")
            return HttpMethodNotAllowed(f"{request.method} is not served here.", allow=allow)
        case ValidationException(extra=[*faults]):
            if any(fault.get("source") == "body" for fault in faults):
                return MalformedJson("The body is empty; this route needs JSON.")
            said = "; ".join(f"{fault.get('key')}: {fault['message']}" for fault in faults)
            return ParameterInvalid(f"A parameter is wrong: {said}.")
        case HTTPException(status_code=status) if status < SERVER_ERROR:
            return ParameterInvalid("A parameter is missing or wrong.")
        case _:
            return InternalFault("The system failed; its log says why.")
