"""What is known of one route of the HTTP API: method, path, scope, and what goes in and out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

Json = Any
PREFIX: Final = "/api/v1"
#: In place of a scope: no credential, any valid credential, the callback token or the decision link in the path.
PUBLIC: Final = "(public)"
ANY: Final = "(any)"
TASK: Final = "(task)"
LINK: Final = "(link)"


@dataclass(frozen=True, slots=True)
class Route:
    """One route. `id` is the name of its view, and its operationId."""

    id: str
    method: str
    #: Below `/api/v1`; parameters in braces.
    path: str
    scope: str
    summary: str
    #: Status of success.
    status: int = 200
    #: Query parameters: name -> what it means.
    query: dict[str, str] = field(default_factory=dict)
    #: Body members: name -> what it means; the names that must be there.
    body: dict[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    body_optional: bool = False
    #: The body is a JSON Patch document: a list of operations.
    json_patch: bool = False
    #: The body may be any JSON, and no body is null.
    any_body: bool = False
    #: A token bound to one run may use it as well; the view keeps to that run.
    bound: bool = False
    #: Browsers that ask for HTML are answered with a page.
    html: bool = False

    @property
    def full_path(self) -> str:
        """The path as served."""
        return PREFIX + self.path


#: Query parameters of lists.
PAGE: Final = {"limit": "Items on a page, 1 to 200 (default 50).", "cursor": "A next_cursor of an earlier page."}
