"""What keeps a token from the fake GitHub: it has expired, single sign-on is required, or a limit is used up.

    forge.walls.sign_on = True                    # until somebody authorizes the token
    forge.walls.spent_until = now + an_hour       # the primary limit; its end opens the wall
    forge.walls.slow_down_seconds = 60            # a secondary limit, without an end of its own

REST and GraphQL say the same in different ways: GraphQL with status 200.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from infra.devstack.fake_forge import Reply
from infra.devstack.fake_github_rules import no
from infra.devstack.fake_site import Site

_SIGN_ON: Final = (
    "Resource protected by organization SAML enforcement. You must grant your token access to this organization."
)
_SPENT: Final = "API rate limit exceeded for user ID 1."
_SLOW_DOWN: Final = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


@dataclass
class Walls:
    """The walls that stand now."""

    site: Site
    sign_on: bool = False
    spent_until: datetime | None = None
    slow_down_seconds: int | None = None

    def refusal(self, *, is_graphql: bool) -> Reply | None:
        """The answer to every request while a wall stands; None if there is none."""
        if self.slow_down_seconds is not None:
            headers = {"retry-after": str(self.slow_down_seconds)} if self.slow_down_seconds else {}
            return _graphql({"message": _SLOW_DOWN}, headers) if is_graphql else no(403, _SLOW_DOWN, **headers)
        if self.spent_until is not None and self.site.now() < self.spent_until:
            reset = str(int(self.spent_until.timestamp()))
            headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset}
            error = {"type": "RATE_LIMITED", "message": _SPENT}
            return _graphql(error, headers) if is_graphql else no(403, _SPENT, **headers)
        if self.sign_on:
            headers = {"x-github-sso": "required; url=https://github.com/orgs/acme/sso?authorization_request=A1B2"}
            walled: dict[str, Any] = {"type": "FORBIDDEN", "path": ["repository"], "extensions": {"saml_failure": True}}
            return _graphql({**walled, "message": _SIGN_ON}, headers) if is_graphql else no(403, _SIGN_ON, **headers)
        return None


def _graphql(error: dict[str, Any], headers: dict[str, str]) -> Reply:
    data = {"repository": None} if "path" in error else None
    return Reply(200, {"data": data, "errors": [error]}, headers)
