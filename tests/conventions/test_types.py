"""Where types end: every `Any` of `shared` and of the programs in `infra/agents`, with its reason. There is no `cast`.

JSON comes in and goes out as `dict[str, Any]`; these places are the borders. Everything between them is typed.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conventions.sources import files_under, name_of

_JSON: Final = "JSON that a decoder gave or an encoder will take: the function or the field is the border"
_JOURNAL: Final = "JSON of the journal, whose shape depends on the code version that wrote it"
_STEP: Final = "what a yield returns depends on the step; a generator has one type for all of them"
_STORED: Final = "a row as stored, readable or not: a value of any column, or a part of its JSON"
_CONFIG: Final = "settings as a person wrote them: the configuration's own model checks them"
_ANY_SHAPE: Final = "a type annotation or a class is passed, and both are values of any type"

REASONS: Final = {
    "infra/agents/credentials.py: read": _JSON,
    "infra/agents/credentials.py: _forge": _JSON,
    "infra/agents/posting.py: PostedEvent": _JSON,
    "infra/agents/posting.py: ApiPoster.send": _JSON,
    "infra/agents/reading.py: Answer": _JSON,
    "infra/agents/reading.py: _asked": "filters from the table of verbs: the fields of the question's own filter check their names",
    "infra/agents/town_agent/events.py: AgentEvent": _JSON,
    "infra/agents/town_agent/events.py: bead_created": _JSON,
    "infra/agents/town_agent/rows.py: Row": _JSON,
    "infra/agents/town_agent/tool_server.py: _serve": "the SDK's server is generic in a state that this one does not have",
    "shared/actions/messages.py: EmitEvent.data": "the data of a business event: JSON whose keys depend on its name",
    "shared/adapters/aws_http.py: RefusedRequest.__init__": "an answer in the form of boto3, which has no types",
    "shared/adapters/aws_sdk.py: AwsSession": "botocore has no types",
    "shared/adapters/aws_sdk.py: AwsClient": "boto3 makes its clients at run time and has no types",
    "shared/adapters/aws_sdk.py: client": "boto3 makes its clients at run time and has no types",
    "shared/adapters/aws_sdk.py: response_of": "boto3 has no types",
    "shared/adapters/aws_sdk.py: _Watch._begins": "boto3 has no types",
    "shared/adapters/aws_sdk.py: _Watch._answered": "boto3 has no types",
    "shared/adapters/aws_sdk.py: _Watch._failed": "boto3 has no types",
    "shared/adapters/aws_sdk.py: _Watch._tell": "boto3 has no types",
    "shared/adapters/ecs_tasks.py: _task": "an answer of AWS: the function gives it a type",
    "shared/adapters/ecs_tasks.py: _failure": "an answer of AWS: the function gives it a type",
    "shared/adapters/forge_hosts.py: ForgeHost.from_text": "a word that the constructor checks against its vocabulary",
    "shared/adapters/http_json.py: Answered.body": _JSON,
    "shared/adapters/local_state.py: _read": _JSON,
    "shared/adapters/outside_files.py: json_of": _JSON,
    "shared/adapters/aws_transport.py: _WholeHeaders.begin": "stands for the file of a socket where only lines are read",
    "shared/adapters/aws_transport.py: _WholeLines.__init__": "the same",
    "shared/adapters/aws_place.py: _unsent": "botocore has no types",
    "shared/adapters/aws_json.py: AwsJson.call": _JSON,
    "shared/adapters/aws_json.py: _object_in": _JSON,
    "shared/adapters/table_objects.py: TableObjects._ask": _JSON,
    "shared/adapters/table_objects.py: _said": _JSON,
    "shared/adapters/notices.py: ChannelsToPeople.__init__": "what `subprocess.run` returns depends on its arguments",
    "shared/adapters/notices.py: ChannelsToPeople.document": "the document of a notice is JSON",
    "shared/adapters/sqs_queue.py: SqsQueue._call": _JSON,
    "shared/adapters/sqs_queue.py: deliveries_of": "records as Lambda hands them over: the function gives them a type",
    "shared/adapters/town_tokens.py: _claims": _JSON,
    "shared/adapters/town_tokens.py: _signed": _JSON,
    "shared/domain/alert.py: Alert.extra": "JSON for Sentry and the log; nobody else reads it",
    "shared/domain/field_errors.py: FieldError.of": "pydantic's details of an error",
    "shared/domain/field_errors.py: _names_at": "a JSON schema that pydantic made",
    "shared/domain/report.py: AppliedEvent.as_json": _JOURNAL,
    "shared/domain/report.py: ActionFields": "an action in its wire form: its keys depend on its type",
    "shared/domain/report.py: JudgedAction.as_json": _JOURNAL,
    "shared/domain/report.py: BrokenInvariant.as_json": _JOURNAL,
    "shared/domain/report.py: TickReport.outputs": _JOURNAL,
    "shared/domain/shapes.py: adapter": _ANY_SHAPE,
    "shared/domain/shapes.py: document": _JSON,
    "shared/domain/shapes.py: read": _JSON,
    "shared/domain/shapes.py: _made": _ANY_SHAPE,
    "shared/domain/restores.py: InPlaceRestore.as_json": _JOURNAL,
    "shared/domain/restores.py: InPlaceRestore.from_json": _JOURNAL,
    "shared/domain/restores.py: restore_in": _JOURNAL,
    "shared/domain/senders.py: Sender.as_json": _JSON,
    "shared/domain/strict_json.py: foreign": _JSON,
    "shared/domain/strict_json.py: stored": _JSON,
    "shared/domain/tick.py: Envelope.as_json": _JOURNAL,
    "shared/domain/tick.py: Envelope.from_json": _JOURNAL,
    "shared/domain/tick.py: Observations.as_json": _JOURNAL,
    "shared/domain/processes.py: ProcessStatus.from_json": _JOURNAL,
    "shared/town/inbox.py: fact_of": _STORED,
    "shared/domain/tick.py: TickInput.as_json": _JOURNAL,
    "shared/domain/tick.py: TickInput.from_record": _JOURNAL,
    "shared/domain/wire.py: _form": _ANY_SHAPE,
    "shared/domain/wire.py: _form_of": _ANY_SHAPE,
    "shared/domain/wire.py: _reader": _ANY_SHAPE,
    "shared/events/base.py: Event.__init_subclass__": "the signature of pydantic's base class",
    "shared/events/beads.py: BeadUpdated._replacements": "columns of a bead by name, of several types",
    "shared/history/differences.py: Difference.expected": "a value of any column, or a part of its JSON",
    "shared/history/differences.py: Difference.got": "a value of any column, or a part of its JSON",
    "shared/history/differences.py: of_outputs": _JOURNAL,
    "shared/images/rewriting.py: DumpedRow": "columns of any table by name",
    "shared/intake/decoding.py: _known_source": _JSON,
    "shared/intake/ingest.py: batch_of": _JSON,
    "shared/intake/ingest.py: _read": _JSON,
    "shared/moving/checkup.py: _problem_with": "a value of any column",
    "shared/ports/steps.py: Begin.steps": "a task may return anything: whoever awaits it knows what",
    "shared/ports/steps.py: Await.tasks": "a task is what the driver makes of Begin: each driver has its own",
    "shared/ports/steps.py: Ended.result": "as Begin.steps",
    "shared/ports/steps.py: Steps": _STEP,
    "shared/ports/steps.py: drive": _STEP,
    "shared/ports/steps.py: _done": _STEP,
    "shared/ports/steps.py: _make_all": _STEP,
    "shared/ports/steps.py: Several.make_all": _STEP,
    "shared/ports/steps.py: _answers": _STEP,
    "shared/adapters/shared_calls.py: _Turn.__init__": "a call may return anything: whoever asks for it knows what",
    "shared/ports/town_past.py: JournalRow.inputs": _JOURNAL,
    "shared/ports/town_past.py: JournalRow.outputs": _JOURNAL,
    "shared/ports/town_past.py: journal_row": "decoded JSON: the function is what gives it a type",
    "shared/questions/bead_view.py: WholeBead.labels": _STORED,
    "shared/questions/bead_view.py: WholeBead.metadata": _STORED,
    "shared/questions/bead_view.py: _decoded": _STORED,
    "shared/questions/dry_run.py: rehearse": _CONFIG,
    "shared/questions/dry_run_call.py: DryRunRequest.config": _CONFIG,
    "shared/questions/explain.py: Explanation.row": _STORED,
    "shared/questions/explain.py: _empty_story": _STORED,
    "shared/questions/explain.py: _read": _STORED,
    "shared/questions/explain.py: _row": _STORED,
    "shared/questions/explain.py: _spent_for": _STORED,
    "shared/questions/explain.py: _what_is_missing": _STORED,
    "shared/questions/foresight.py: Foreseen.action": "an action in its wire form: its keys depend on its type",
    "shared/questions/lines.py: _Reader": _ANY_SHAPE,
    "shared/questions/lines.py: _readers": _ANY_SHAPE,
    "shared/questions/lines.py: _reading": _ANY_SHAPE,
    "shared/questions/lines.py: columns_of": _ANY_SHAPE,
    "shared/questions/lines.py: line_of": _ANY_SHAPE,
    "shared/questions/lines.py: lines_of": _ANY_SHAPE,
    "shared/questions/lives.py: agent_row": _STORED,
    "shared/questions/lives.py: bead_row": _STORED,
    "shared/questions/held_settings.py: without_effect": _CONFIG,
    "shared/questions/other_config.py: override_config": _CONFIG,
    "shared/questions/overview.py: _convoy": _STORED,
    "shared/questions/pages.py: place_of": "a cursor: the caller names the types of its parts",
    "shared/questions/relaxed.py: RelaxedReader._changes": "attributes of a reader by name, of several types",
    "shared/questions/repeated_events.py: JournalEvent.envelope": _JOURNAL,
    "shared/questions/repeated_events.py: _content_beside": _JOURNAL,
    "shared/questions/repeated_events.py: without_row": _JOURNAL,
    "shared/questions/request_body.py: PostedEvent": _JSON,
    "shared/questions/event_entries.py: stored_entry": _STORED,
    "shared/questions/event_view.py: EventView.content": _JSON,
    "shared/questions/rosters.py: Setting.value": _CONFIG,
    "shared/questions/rosters.py: Setting.default": _CONFIG,
    "shared/questions/sent_events.py: Sent": _JOURNAL,
    "shared/questions/setting_changes.py: SettingChange.new": _CONFIG,
    "shared/questions/setting_changes.py: SettingChange.old": _CONFIG,
    "shared/questions/story.py: Story._concerns": _JOURNAL,
    "shared/questions/story.py: Story._known": _JOURNAL,
    "shared/questions/story.py: Story._results": _JOURNAL,
    "shared/questions/failures.py: _line": "a row of SQLite, whose cells have the types of the columns",
    "shared/questions/sent_events.py: bead_of": _JOURNAL,
    "shared/questions/story.py: sentence": "an action in its wire form: its keys depend on its type",
    "shared/replay/judging.py: TickJudge._by_outputs": _JOURNAL,
    "shared/replay/judging.py: TickJudge._different": _JOURNAL,
    "shared/replay/judging.py: TickJudge.judged": _JOURNAL,
    "shared/replay/judging.py: TickJudge.judged_by_outputs": _JOURNAL,
    "shared/replay/recordings/changes.py: Changes": _STORED,
    "shared/replay/recordings/changes.py: _after": _STORED,
    "shared/replay/recordings/changes.py: _change": _STORED,
    "shared/replay/recordings/changes.py: as_json": _STORED,
    "shared/replay/recordings/changes.py: from_json": _STORED,
    "shared/replay/recordings/file_format.py: _head": _JSON,
    "shared/replay/recordings/file_format.py: _line": _JSON,
    "shared/replay/recordings/file_format.py: _read": _JSON,
    "shared/replay/recordings/file_format.py: _require": _JSON,
    "shared/replay/recordings/file_format.py: _without_ticks": _JSON,
    "shared/replay/recordings/making.py: _recorded": _JOURNAL,
    "shared/replay/recordings/masking.py: Masks.value": _JSON,
    "shared/replay/recordings/scrubbing.py: Scrubbing._cell": _JOURNAL,
    "shared/replay/recordings/scrubbing.py: Scrubbing._envelope": _JOURNAL,
    "shared/replay/recordings/scrubbing.py: Scrubbing._learn_effect": _JOURNAL,
    "shared/replay/recordings/scrubbing.py: Scrubbing._observations": _JOURNAL,
    "shared/replay/recordings/scrubbing.py: Scrubbing.decisions": _JOURNAL,
    "shared/replay/recordings/scrubbing.py: _actions": _JOURNAL,
    "shared/replay/recordings/scrubbing.py: decisions_of": _JOURNAL,
    "shared/replay/recordings/vocabulary.py: _constants_in": "a JSON schema that pydantic made",
    "shared/replay/recordings/vocabulary.py: _names_in": "a JSON schema that pydantic made",
    "shared/replay/replayed.py: ReplayedEffect.result": _JSON,
    "shared/replay/requests.py: OverridesRequest.config": _CONFIG,
    "shared/replay/requests.py: ReplayRequest.from_": "a time that a person may have written wrongly: `time_in` reads it",
    "shared/replay/requests.py: ReplayRequest.to": "a time that a person may have written wrongly: `time_in` reads it",
    "shared/replay/requests.py: _event": _JSON,
    "shared/replay/requests.py: _required": "a time that a person may have written wrongly: `time_in` reads it",
    "shared/replay/what_if/overrides.py: _own_values": _JOURNAL,
    "shared/replay/what_if/overrides.py: Overrides.config": _CONFIG,
    "shared/runner/inputs.py: _observations": _STEP,
    "shared/runner/result_events.py: ResultEvent": _JSON,
    "shared/storage/layer_reading.py: read_layers": _STEP,
    "shared/domain/images.py: Record": _STORED,
    "shared/domain/tick.py: Archived.as_json": _JOURNAL,
    "shared/domain/tick.py: Archived.from_json": _JOURNAL,
    "shared/domain/tick.py: TickInput._waiting_as_json": _JOURNAL,
    "shared/domain/tick.py: TickInput.returned": _STORED,
    "shared/runner/named_beads.py: _has": _ANY_SHAPE,
    "shared/runner/named_beads.py: _parts": _ANY_SHAPE,
    "shared/storage/archive.py: families_in": _JSON,
    "shared/town/archive.py: record_of": _STORED,
    "shared/town/archive.py: _marked": _STORED,
    "shared/town/archive.py: _present": _STORED,
    "shared/town/archive.py: _insert": _STORED,
    "shared/town/archive.py: _put_back_edges": _STORED,
    "shared/town/arrivals.py: Arrival": _STORED,
    "shared/town/known_events.py: _left_of": _STORED,
    "shared/town/known_events.py: _of_row": _STORED,
    "shared/town/known_events.py: content_of_event": "the fields of an envelope, of an arrival or of a stored row, by name",
    "shared/town/inbox.py: _told": _STORED,
    "shared/ports/steps.py: all_of": _STEP,
    "shared/telemetry/errors.py: MONITOR_CONFIG": "Sentry's types are not importable without Sentry, which no town needs",
    "shared/telemetry/errors.py: start": "Sentry's types are not importable without Sentry, which no town needs",
    "shared/telemetry/errors.py: _exception": "Sentry's types are not importable without Sentry, which no town needs",
    "shared/telemetry/errors.py: _frame": "Sentry's types are not importable without Sentry, which no town needs",
    "shared/telemetry/errors.py: _nothing": "Sentry's types are not importable without Sentry, which no town needs",
    "shared/telemetry/errors.py: scrub": "Sentry's types are not importable without Sentry, which no town needs",
    "shared/town/inbox.py: append": _JSON,
    "shared/town/journal.py: rows": _JOURNAL,
    "shared/town/journal.py: _block_of": _JOURNAL,
    "shared/town/journal.py: _stored": _JOURNAL,
    "shared/town/packed_rows.py: Json": _JOURNAL,
    "shared/town/packed_rows.py: _applied": _JOURNAL,
    "shared/town/packed_rows.py: _difference": _JOURNAL,
    "shared/town/packed_rows.py: _outcomes": _JOURNAL,
    "shared/town/packed_rows.py: _restored": _JOURNAL,
    "shared/town/packed_rows.py: _runs": _JOURNAL,
    "shared/town/packed_rows.py: _shortened": _JOURNAL,
    "shared/town/packed_rows.py: _sum": _JOURNAL,
    "shared/town/packed_rows.py: _unpacked": _JOURNAL,
    "shared/town/packed_rows.py: _without_repetition": _JOURNAL,
    "shared/town/packed_rows.py: packed": _JOURNAL,
    "shared/town/packed_rows.py: row_in_full": _JOURNAL,
    "shared/town/packed_rows.py: unpacked": _JOURNAL,
    "shared/town/large_images.py: FollowedConnection.__init__": "the signature of sqlite3.Connection",
    "shared/town/reading.py: TownReader.__init__": "what rules of one pass share, each under its own name: see `once`",
    "shared/town/rows.py: Row": "a row of SQLite: the statement decides the types of its columns",
    "shared/town/town_keys.py: Stored": _JSON,
    "shared/town/town_keys.py: TownKeys.config": _JSON,
    "shared/town/writing/audit.py: record": _JSON,
    "shared/town/writing/beads.py: set_fields": "columns of a bead by name, of several types",
}


def test_every_any_has_a_reason() -> None:
    found = {
        f"{name_of(path)}: {place}"
        for path in _ours()
        for place in untyped_places(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set(REASONS)


def test_nothing_is_cast() -> None:
    found = {
        f"{name_of(path)}:{node.lineno}"
        for path in _ours()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("cast", "typing.cast")
    }
    assert found == set()


def _ours() -> list[Path]:
    return files_under("shared", "infra/agents")


def untyped_places(tree: ast.Module) -> Iterator[str]:
    """Function, class attribute or constant of each annotation or alias that names `Any`."""
    yield from _places_in(tree.body, "")


def _places_in(statements: list[ast.stmt], around: str) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.ClassDef):
            yield from _places_in(statement.body, f"{around}{statement.name}.")
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            if _names_any(statement):
                yield around + statement.name
        elif isinstance(statement, ast.AnnAssign):
            if _names_any(statement):
                yield around + ast.unparse(statement.target)
        elif isinstance(statement, ast.Assign) and _names_any(statement):
            yield around + ast.unparse(statement.targets[0])


def _names_any(tree: ast.AST) -> bool:
    """Whether `Any` stands anywhere in it, also in a quoted annotation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == "Any":
            return True
        if isinstance(node, ast.Attribute) and node.attr == "Any":
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _quotes_any(node.value):
            return True
    return False


def _quotes_any(text: str) -> bool:
    try:
        return _names_any(ast.parse(text, mode="eval").body) if "Any" in text else False
    except SyntaxError:
        return False


@pytest.mark.parametrize(
    ("source", "places"),
    [
        ("class Metrics(Protocol):\n    def tick_ran(self, report: Any) -> None: ...", ["Metrics.tick_ran"]),
        ("class Row:\n    inputs: dict[str, Any]", ["Row.inputs"]),
        ("Order = Mapping[str, Any]", ["Order"]),
        ("def late(future: 'Future[Any]') -> None: ...", ["late"]),
        ("def late(future: typing.Any) -> None: ...", ["late"]),
        ("def late(future: object) -> None:\n    'Any answer is late.'", []),
        ("from typing import Any", []),
    ],
)
def test_the_place_of_an_any_is_found(source: str, places: list[str]) -> None:
    assert list(untyped_places(ast.parse(source))) == places
