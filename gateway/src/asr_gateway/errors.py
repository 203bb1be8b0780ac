"""Failed requests as OpenAI's clients expect them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from asr_client import (
    AsrError,
    Cancelled,
    DeadlineExceeded,
    InvalidAudio,
    InvalidOptions,
    InvalidRequest,
    ServerUnavailable,
)

RETRY_AFTER_S = 2.0
"""Retry-After of a request that asr-server could not take now."""


class ApiError(Exception):
    """A request that fails with an HTTP status and OpenAI's error body.

    Args:
        status: the HTTP status.
        message: a sentence for a person.
        type: OpenAI's kind of error.
        param: the request's field that is wrong.
        code: a word for programs.
        retry_after_s: when the same request may succeed, in seconds from now.
        may_retry: False tells OpenAI's clients not to send the request again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        may_retry: bool = True,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.retry_after_s = retry_after_s
        self.may_retry = may_retry

    @property
    def body(self) -> dict[str, object]:
        """OpenAI's error body."""
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers that say when, and whether, to try again."""
        headers = {}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
            headers["retry-after-ms"] = str(math.ceil(self.retry_after_s * 1000))
        if not self.may_retry:
            headers["x-should-retry"] = "false"
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        return headers

    @property
    def response(self) -> JSONResponse:
        """The answer to the caller."""
        return JSONResponse(self.body, status_code=self.status, headers=dict(self.headers))


def plain_message(error: Mapping[str, Any]) -> str:
    """The message of one of pydantic's errors, without the class that a validator raised."""
    return str(error["msg"]).removeprefix("Value error, ")


def bad_field(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """A 400 that names the field."""
    return ApiError(400, message, param=param, code=code)


def rate_limited(message: str, *, kind: str, retry_after_s: float) -> ApiError:
    """A 429; `kind` says which limit, such as "requests"."""
    return ApiError(
        429, message, type=kind, code="rate_limit_exceeded", retry_after_s=retry_after_s
    )


def unavailable(message: str, *, code: str, retry_after_s: float = RETRY_AFTER_S) -> ApiError:
    """A 503."""
    return ApiError(503, message, type="server_error", code=code, retry_after_s=retry_after_s)


def internal_error(request_id: str) -> ApiError:
    """A 500: a defect of the gateway."""
    return ApiError(
        500,
        f"The gateway failed; its log names the request {request_id}.",
        type="server_error",
        code="internal_error",
        may_retry=False,
    )


def from_asr_error(error: AsrError, *, hotwords: bool) -> ApiError:
    """What a failed call to asr-server is for the caller of the gateway.

    Args:
        error: how the call ended.
        hotwords: whether the request had keywords, which an option error then is about.
    """
    code = (error.code or error.status).lower()
    if isinstance(error, InvalidAudio):
        status = 413 if error.code == "AUDIO_TOO_LARGE" else 400
        return ApiError(status, _sentence(error), param="file", code=code)
    if isinstance(error, InvalidOptions):
        param = "language" if error.code == "UNKNOWN_LANGUAGE" else None
        if param is None and hotwords:
            param = "keywords"
        return ApiError(400, _sentence(error), param=param, code=code)
    if isinstance(error, InvalidRequest):
        return ApiError(400, _sentence(error), code=code)
    if isinstance(error, (ServerUnavailable, Cancelled)):
        return unavailable(_sentence(error), code=code)
    status = 504 if isinstance(error, DeadlineExceeded) else 502
    return ApiError(status, _sentence(error), type="server_error", code=code, may_retry=False)


def _sentence(error: AsrError) -> str:
    """The error's message, with the numbers where the request itself is at fault."""
    text = str(error)
    detail = error.server_message.partition(": ")[2] if error.code else ""
    if detail and isinstance(error, InvalidRequest):
        text += f": {detail}"
    return text[:1].upper() + text[1:] + "."
