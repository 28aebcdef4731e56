"""What checks whether a merge has happened, in a deployment on one machine: the API of the forge, git, the control server.

<data>/.proofs      private clones of the repositories that git was asked about
"""

from collections.abc import Mapping
from pathlib import Path

from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.git_prover import LOCAL_PROTOCOLS, GitProver, git_variables
from shared.adapters.provers import Provers
from shared.ports.forge import MergeProver, SourceForge
from shared.ports.runtime import AgentRuntime


def prover_of(
    data: Path, *, forge: SourceForge | None, runtime: AgentRuntime | None, environment: Mapping[str, str]
) -> MergeProver:
    """The ways to look, the surest first. Git gets the variables GIT_* of the agents' program, so it sees what they see."""
    ways: list[MergeProver] = [] if forge is None else [forge]
    ways.append(GitProver(data / ".proofs", protocols=LOCAL_PROTOCOLS, environment=git_variables(environment)))
    if isinstance(runtime, ControlServerRuntime):
        ways.append(runtime)
    return Provers(ways)
