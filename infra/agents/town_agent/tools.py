"""The verbs as tools for models: their names, descriptions and JSON schemas, and the arguments of a call, which a model wrote."""

from collections.abc import Callable, Mapping
from typing import Final

from infra.agents.town_agent.order import Caller
from infra.agents.town_agent.talk import Given
from infra.agents.town_agent.verb import Argument, Kind, Verb, may_use
from infra.agents.town_agent.verbs import VERBS

_TYPES: Final = {"text": "string", "words": "string", "number": "integer", "flag": "boolean"}

_FORMS: Final[dict[Kind, tuple[Callable[[object], bool], str]]] = {
    "text": (lambda said: isinstance(said, str), "a text"),
    "words": (lambda said: isinstance(said, str), "a text"),
    "texts": (lambda said: isinstance(said, list) and all(isinstance(each, str) for each in said), "a list of texts"),
    "number": (lambda said: type(said) is int, "a whole number"),
    "flag": (lambda said: isinstance(said, bool), "true or false"),
}


def tools_of(caller: Caller) -> dict[str, Verb]:
    """The verbs that this agent may call as tools, by the names of the tools."""
    return {verb.tool: verb for verb in VERBS if verb.is_tool and may_use(verb, caller)}


def schema_of(verb: Verb) -> dict[str, object]:
    """The JSON schema of the arguments of a tool."""
    return {
        "type": "object",
        "properties": {argument.key: _property(argument) for argument in verb.arguments},
        "required": [argument.key for argument in verb.arguments if argument.is_required],
        "additionalProperties": False,
    }


def given_by(verb: Verb, said: Mapping[str, object]) -> Given:
    """The arguments of a call, checked. Null is as good as nothing. Raises ValueError, which names the argument."""
    known = {argument.key: argument for argument in verb.arguments}
    strange = sorted(set(said) - set(known))
    if strange:
        named = ", ".join(known) or "none"
        raise ValueError(f"{verb.tool}: {strange[0]!r} is not an argument; its arguments are: {named}")
    return Given(**{key: _value(verb, argument, said.get(key)) for key, argument in known.items()})


def _property(argument: Argument) -> dict[str, object]:
    about: dict[str, object] = {"description": argument.about}
    if argument.schema is not None:
        return {**about, **argument.schema}
    if argument.kind == "texts":
        return {"type": "array", "items": {"type": "string"}, **about}
    shape: dict[str, object] = {"type": _TYPES[argument.kind], **about}
    return shape | ({"enum": list(argument.choices)} if argument.choices else {})


def _value(verb: Verb, argument: Argument, said: object) -> object:
    """One argument as the command line would give it. Raises ValueError."""
    place = f"{verb.tool}: {argument.key}"
    if said is None:
        if argument.is_required:
            raise ValueError(f"{place} is required: {argument.about}")
        return _absent(argument)
    is_fit, words = _FORMS[argument.kind]
    if argument.schema is None and not is_fit(said):
        raise ValueError(f"{place} must be {words}")
    if argument.choices and said not in argument.choices:
        raise ValueError(f"{place} must be one of {', '.join(argument.choices)}")
    return said


def _absent(argument: Argument) -> object:
    """The value of an argument that was not given."""
    match argument.kind:
        case "texts":
            return []
        case "flag":
            return False
        case "words":
            return argument.default or ""
        case "text" | "number":
            return argument.default
