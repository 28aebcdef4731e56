"""Issuing a credential: the town's last commit says whether this generation may work, the setting of its rig says which it gets.

The route and programs on the town's own machine ask the same object.
"""

from dataclasses import dataclass, field

from shared.adapters.agent_credentials import AgentCredentials, ForgeCredential, NoCredential
from shared.adapters.deploy_keys import DeployKey
from shared.domain.repositories import repository_at
from shared.ports.forge import Asker
from shared.ports.steps import drive
from shared.ports.town_store import TownImage, TownStore
from shared.questions.credential_need import CredentialNeed, need_in
from shared.runner.warm_images import WarmImages


@dataclass(frozen=True, slots=True)
class Issued:
    """The generation that was judged, and what it gets: a credential, and the deploy key of a rig with an ssh address."""

    need: CredentialNeed
    credential: ForgeCredential | NoCredential
    key: DeployKey | None = None


@dataclass(slots=True)
class Issuing:
    """Issues the credentials of the agents of these towns."""

    store: TownStore
    credentials: AgentCredentials
    warm: WarmImages = field(default_factory=WarmImages)

    def credential_for(self, town_id: str, agent_id: str, generation: int) -> Issued:
        """What a generation gets.

        Raises Refused (403, and why), UnknownTown, SecretsUnavailable and AccessDenied (of a secret).
        """
        image: TownImage = drive(self.store.load(town_id, known=self.warm.get(town_id)))
        self.warm.keep(image)
        need = need_in(image, agent_id, generation)
        if need.git_url is None:
            return Issued(need, NoCredential(f"{agent_id} works in no rig, so it has no repository"))
        repository = repository_at(need.git_url)
        holder = f"{agent_id} {need.generation}"
        asker = Asker(town_id, need.rig_id, host=None if repository is None else repository.host)
        key = self.credentials.key_for(asker, need.git_url, need.access)
        return Issued(need, self.credentials.credential_for(asker, need.git_url, need.access, holder=holder), key)
