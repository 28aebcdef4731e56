"""Protocols to the outside are ports. Each Protocol of `shared` that is not a port is listed here with its reason."""

import ast
from typing import Final

from tests.conventions.sources import files_under, name_of

NOT_PORTS: Final = {
    "shared/adapters/aws_transport.py: Transport": "with and without a proxy; only AwsHttp sees it",
    "shared/adapters/forges.py: PullRequestApi": "what the adapters of single forges have in common; nobody else sees it",
    "shared/domain/green.py: Findings": "what is judged of a pull request, as values of the core and of the port",
    "shared/domain/green.py: IsDraft": "the same",
    "shared/domain/green.py: Shown": "the same",
    "shared/events/ages.py: Dated": "an event as it was received and as the town has stored it: values of the core",
    "shared/events/beats.py: Beat": "the same",
    "shared/events/forge.py: OpenSeen": "the same, with what only a poll shows",
    "shared/domain/identities.py: HasId": "which pull request it is, as values of the core and of the port",
    "shared/domain/identities.py: Seen": "the same",
    "shared/domain/urgency.py: Waiting": "a bead that waits for a place: a value of the core",
    "shared/storage/layer_reading.py: Readable": "the part of the object store that reads: heads are also read from copies",
    "shared/domain/images.py: PagedImage": "an image as a value: the core imports no port",
    "shared/rules/beads.py: Dispatched": "what the rules need to know of an issue or a review: a value of the core",
    "shared/runner/figures.py: Figures": "what the loops tell beside `Metrics`: its values are reports of the runner",
    "shared/runner/passes.py: Watcher": "whoever started the local loop: its values are reports of the runner",
    "shared/town/large_images.py: ScratchFiles": "where the core keeps the file of a large image: the core imports no port",
}


def test_every_protocol_of_shared_is_a_port_or_has_a_reason() -> None:
    found = {
        f"{name_of(path)}: {node.name}"
        for path in files_under("shared")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and any(ast.unparse(base).startswith("Protocol") for base in node.bases)
    }
    assert {each for each in found if not each.startswith("shared/ports/")} == set(NOT_PORTS)
