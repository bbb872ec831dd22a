"""What the Hub answers when it doesn't do what was asked."""

from __future__ import annotations

from typing import Optional

from httpbase import Request, Response, json_response, text_response


class HubError(Exception):
    """An answer other than the one asked for: an error, or a redirect to a repo's new name."""

    def __init__(self, status: int, message: str, code: Optional[str] = None,
                 headers: Optional[dict] = None):
        super().__init__(message)
        self._status = status
        self._message = message
        self._headers = dict(headers or {})
        if status >= 400:
            self._headers["X-Error-Message"] = message
        if code:
            self._headers["X-Error-Code"] = code

    def response(self, request: Request, plain: bool) -> Response:
        if plain or self._status < 400:
            return text_response(self._status, self._message, self._headers)
        return json_response(request, {"error": self._message}, self._status, self._headers)
