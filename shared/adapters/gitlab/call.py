"""The requests about one project or merge request at GitLab: one GraphQL query to look, REST for the rest.

GraphQL finds a project only by its present name, so a former one (renamed or moved) is looked up by REST, whose redirect leads to
the project's number. All other REST requests address the project by that number: GitLab refuses writes to a former name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import TypeAdapter, ValidationError

from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import ForgeClient
from shared.adapters.gitlab import queries
from shared.adapters.gitlab.answers import Envelope, GraphQlError, MergeRequest, Named, Project, WithProject
from shared.adapters.gitlab.memory import GitLabMemory
from shared.domain.field_errors import first_error
from shared.ports.forge import ForgeError, RepositoryAt

_ENVELOPE: Final = TypeAdapter(Envelope)
_PROJECT: Final = TypeAdapter(Project)
_WITH_PROJECT: Final = TypeAdapter(WithProject)
_NAMED: Final = TypeAdapter(Named)
_CHECKS: Final = ("project", "mergeRequest", "headPipeline")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Look:
    """A merge request, its project, and the projects that were asked for by name (in lower case)."""

    project: WithProject
    request: MergeRequest
    named: Mapping[str, RepositoryAt]
    checks_refused: bool = False


class GitLabCall:
    """The requests about one project, and about one merge request of it if `number` is given."""

    def __init__(self, client: ForgeClient, place: Place, memory: GitLabMemory, number: int = 0) -> None:
        self._client = client
        self._host = place.at.host
        self._name = place.project
        self.number = number
        self._memory = memory
        self._base = urlsplit(place.at.api_url).path

    def rest(self, shape: TypeAdapter[_T], verb: str, path: str, body: object = None) -> _T | ForgeError:
        """A REST request; `path` is below the address of the API."""
        return self._client.ask(shape, verb, self._base + path, body)

    def graphql(self, query: str, variables: Mapping[str, object]) -> Envelope | ForgeError:
        """A GraphQL request."""
        path = self._base.removesuffix("/v4") + "/graphql"
        return self._client.ask(_ENVELOPE, "POST", path, {"query": query, "variables": dict(variables)})

    def presentable(self, message: str) -> str:
        """GitLab's message for people, without the token."""
        return self._client.presentable(message)

    def path_of(self, look: Look, more: str = "") -> str:
        """The REST path of the merge request."""
        return f"/projects/{look.project.at.id}/merge_requests/{self.number}{more}"

    def look(self, names: Sequence[str] = ()) -> Look | ForgeError:
        """Look at the merge request, and at these projects by name."""
        asked = self._name.lower()
        known = self._memory.moved(self._host, asked)
        if known is None or known.name is None:
            found = self._looked(asked, names)
        else:
            found = self._looked(known.name, [asked, *names])
            if isinstance(found, ForgeError):
                return found
            if found is None or found.project.at.id != known.id or asked in found.named:
                self._memory.keep_moved(self._host, asked, None)
                found = self._looked(asked, names)
        if found is not None:
            return found
        moved = self._project_named(asked)
        if isinstance(moved, ForgeError):
            return moved
        found = self._looked(moved.name or asked, names)
        return found if found is not None else ForgeError("http", "404 Project Not Found by GraphQL", http_status=404)

    def repository(self, name: str, look: Look) -> RepositoryAt | ForgeError:
        """The project that a name leads to, from what the look found, else by REST."""
        if look.project.name.lower() == name.lower():
            return look.project.at
        found = look.named.get(name.lower())
        if found is not None:
            return found
        known = self._memory.moved(self._host, name)
        if known is not None and known.name is not None:
            if look.project.at.id == known.id:
                return look.project.at
            now = look.named.get(known.name.lower())
            if now is not None and now.id == known.id:
                return now
        return self._project_named(name)

    def project(self) -> Project | ForgeError:
        """The project by its name, which may be a former one."""
        return self.rest(_PROJECT, "GET", f"/projects/{quote(self._name, safe='')}")

    def has_train(self, look: Look) -> bool | ForgeError:
        """Whether the project merges by trains, by its setting."""
        project = look.project.at.id
        known = self._memory.trains(self._host, project)
        if known is not None:
            return known
        found = self.rest(_PROJECT, "GET", f"/projects/{project}")
        if isinstance(found, ForgeError):
            return found
        self._memory.keep_trains(self._host, project, has=found.merge_trains_enabled)
        return found.merge_trains_enabled

    def _project_named(self, name: str) -> RepositoryAt | ForgeError:
        found = self.rest(_PROJECT, "GET", f"/projects/{quote(name, safe='')}")
        if isinstance(found, ForgeError):
            return found
        has_moved = found.path_with_namespace.lower() != name.lower()
        self._memory.keep_moved(self._host, name, found.at if has_moved else None)
        return found.at

    def _looked(self, name: str, names: Sequence[str]) -> Look | ForgeError | None:
        """Look under that name; None if GraphQL knows no project of that name."""
        wanted = list(dict.fromkeys(each.lower() for each in [*names, *self._present(names)]))
        others = [each for each in wanted if each != name.lower()]
        query, variables = queries.of_merge_request(others)
        answer = self.graphql(query, {"project": name, "iid": str(self.number), **variables})
        if isinstance(answer, ForgeError):
            return answer
        problem, checks_refused = _problem_of(answer)
        if problem is not None or answer.data is None:
            if problem is not None:
                return replace(problem, message=self.presentable(problem.message))
            return ForgeError("invalid_response", "the answer is not GitLab's: data")
        try:
            if answer.data.get("project") is None:
                return None
            project = _WITH_PROJECT.validate_python(answer.data["project"])
            found = {
                variables[key]: _NAMED.validate_python(value).at
                for key, value in answer.data.items()
                if key in variables and value is not None
            }
        except ValidationError as error:
            return ForgeError("invalid_response", f"the answer is not GitLab's: {first_error(error).place}")
        if project.merge_request is None:
            return ForgeError("http", f"404 GitLab shows no merge request {self.number}", http_status=404)
        return Look(project, project.merge_request, found, checks_refused)

    def _present(self, names: Sequence[str]) -> list[str]:
        """The present names of projects that are remembered to have moved."""
        known = (self._memory.moved(self._host, name) for name in names)
        return [each.name for each in known if each is not None and each.name is not None]


def _problem_of(answer: Envelope) -> tuple[ForgeError | None, bool]:
    """What the errors of an answer mean, and whether it is only the pipeline that was refused."""
    errors = answer.errors or []
    rest = [each for each in errors if each.path is None or tuple(each.path[:3]) != _CHECKS or answer.data is None]
    return (_error_of(rest[0]) if rest else None), bool(errors) and not rest


def _error_of(error: GraphQlError) -> ForgeError:
    message = error.message[:200]
    lower = message.lower()
    if "timed out" in lower or "timeout" in lower or "internal server error" in lower:
        return ForgeError("transient", message)
    if "permission" in lower:
        return ForgeError("http", message, http_status=403)
    if (error.extensions or {}).get("code") == "undefinedField":
        return ForgeError("invalid_response", f"this GitLab is older than the town needs: {message}")
    return ForgeError("invalid_response", f"GitLab refused a part of the query: {message}")
