"""Why an override of a setting changed less than was asked for: it held already, or a rig has a value of its own."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.domain.config import OF_A_RIG, TownConfig
from shared.questions.flat_settings import flat
from shared.questions.rosters import TownSettings
from shared.questions.sent_events import scrubbed
from shared.questions.setting_changes import shown


def without_effect(
    config: Mapping[str, Any], before: TownSettings, after: TownSettings, given: Mapping[tuple[str, str], str]
) -> Iterator[str]:
    """A sentence for each such override. `before` and `after` are the settings of history at both ends of the window.

    `given` are the events of the window that gave rigs values of their own, by rig and the first part of the setting's name.
    """
    then = {each.name: each.value for each in before.settings}
    now = {each.name: each.value for each in after.settings}
    for name, value, is_asked in flat(TownConfig().model_dump(mode="json"), config):
        if not is_asked:
            continue
        if then.get(name) == now.get(name) == value:
            yield f"{name} was {_words(value)} already"
        of_rig = OF_A_RIG.get(name)
        for rig, own in after.own_values(of_rig):
            if own != value:
                event = given.get((rig.rig_id, (of_rig or "").partition(".")[0]))
                instead = (
                    "an added town_configured event can change it"
                    if event is None
                    else f"to see the window without it, leave out event {event}"
                )
                yield f"rig {rig.name} has its own {of_rig}, {_words(own)}, which goes before the town's: {instead}"


def _words(value: object) -> str:
    return shown(scrubbed(value))
