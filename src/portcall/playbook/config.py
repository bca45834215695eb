"""A tool's own fields against the pydantic model of its kind.

What holds a template is known only when it is rendered, so its type is not judged here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from pydantic import AliasChoices, BaseModel, ValidationError

from portcall.playbook.fields import is_template, unknown, what
from portcall.playbook.problems import did_you_mean, quoted
from portcall.playbook.report import Report
from portcall.playbook.source import Node

_WORDS = {
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid tuple": "a list",
    "a valid dictionary or object to extract fields from": "a map",
    "a valid dictionary": "a map",
}


class ToolSpec(Protocol):
    """What the checker must know of a tool kind."""

    @property
    def Config(self) -> type[BaseModel]:  # noqa: N802 - it is a class
        """The kind's own fields."""
        ...

    @property
    def raw(self) -> frozenset[str]:
        """Fields that are never rendered, such as python's `code`."""
        ...


@cache
def spellings(model: type[BaseModel]) -> dict[str, str]:
    """Every key that a model takes, other spellings too, with the field it means."""
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        if isinstance(alias, AliasChoices):
            found.update({choice: name for choice in alias.choices if isinstance(choice, str)})
        elif isinstance(alias, str):
            found[alias] = name
        if (
            alias is None
            or model.model_config.get("populate_by_name")
            or model.model_config.get("validate_by_name")
        ):
            found[name] = name
    return found


def raw_keys(spec: ToolSpec) -> frozenset[str]:
    """The keys whose values are never rendered, by all their spellings."""
    return spec.raw | {key for key, name in spellings(spec.Config).items() if name in spec.raw}


def validate(report: Report, node: Node, kind: str, spec: ToolSpec, own: Collection[str]) -> None:
    """Check the keys `own` of a tool's map."""
    data = {key: node.keys[key][1].data() for key in own}
    try:
        spec.Config.model_validate(data, extra=None if spec.Config.model_config.get("extra") else "forbid")
    except ValidationError as error:
        fragment = _subset(node, own)
        for found in _telling(error, fragment, spec.Config):
            _report(report, node, kind, spec, found)


class _Found:
    """One error of the model, and the node that it is about."""

    def __init__(self, error: Mapping[str, Any], root: Node, names: Mapping[str, str]) -> None:
        self.type: str = error["type"]
        self.text: str = error["msg"]
        self.node = root
        self.key: Node | None = None
        self.name = ""
        self.depth = 0
        self.branches: list[str] = []
        self.top = ""
        for part in error["loc"]:
            self._step(part, names)
        # A model's own judgement of a whole map or list rests on everything inside.
        plain = self.type in ("missing", "extra_forbidden") or self.type.endswith("_type")
        spots = [self.node] if plain else self.node.walk()
        self.templated = any(is_template(spot.value) for spot in spots)

    def _step(self, part: str | int, names: Mapping[str, str]) -> None:
        child = self._child(part, names)
        if child is not None:
            self.key, self.node = child
            self.depth += 1
            self.name = str(part)
            self.top = self.top or str(part)
        elif isinstance(part, str):
            self.branches.append(part)

    def _child(self, part: str | int, names: Mapping[str, str]) -> tuple[Node | None, Node] | None:
        if isinstance(part, int):
            return (None, self.node.items[part]) if part < len(self.node.items) else None
        if part in self.node.keys:
            return self.node.keys[part]
        if self.depth == 0:
            for key, (place, value) in self.node.keys.items():
                if part in (names.get(key), key) or (part in names and names[part] == names.get(key)):
                    return place, value
        return None

    @property
    def missing(self) -> bool:
        return self.type == "missing"


def _telling(error: ValidationError, root: Node, model: type[BaseModel]) -> Iterator[_Found]:
    """The errors to tell: of a union's branches the one that came furthest, unless a template explains it."""
    names = spellings(model)
    groups: dict[str, list[_Found]] = {}
    for entry in error.errors(include_url=False, include_context=False, include_input=False):
        found = _Found(entry, root, names)
        groups.setdefault(found.top or str(entry["loc"]), []).append(found)
    for group in groups.values():
        if not any(found.branches and not found.missing for found in group):
            yield from (found for found in group if not found.templated)
        elif not any(found.templated for found in group):
            deepest = max(found.depth + found.missing for found in group)
            yield from _merged([found for found in group if found.depth + found.missing == deepest])


def _merged(group: list[_Found]) -> list[_Found]:
    """Several branches that wanted something else of the same node become one error."""
    by_node: dict[int, _Found] = {}
    for found in group:
        first = by_node.setdefault(id(found.node) if not found.missing else id(found), found)
        if first is not found and found.text not in first.text:
            first.text += " or " + found.text.removeprefix("Input should be ")
    return list(by_node.values())


def _report(report: Report, node: Node, kind: str, spec: ToolSpec, found: _Found) -> None:
    if found.type == "extra_forbidden" and found.key is not None:
        if found.depth == 1:
            unknown(report, found.key, found.name, f"a {kind} tool", spellings(spec.Config))
        else:
            hint = did_you_mean(found.name, _inner_keys(spec.Config))
            report.error(found.key, f"{quoted(found.name)} is no key here.", found=found.name, hint=hint)
    elif found.missing:
        name = found.branches[-1] if found.branches else "a field"
        place = found.node if found.depth else node
        report.error(place, f"A {kind} tool needs {quoted(name)}{' here' if found.depth else ''}.", key=name)
    elif found.depth == 0:
        report.error(node, _sentence(found.text, f"This {kind} tool"))
    else:
        report.error(
            found.node, _sentence(found.text, quoted(found.name)), found=what(found.node), expected=found.text
        )


def _inner_keys(model: type[BaseModel]) -> set[str]:
    """The keys of the models inside a model."""
    inner = model.model_json_schema().get("$defs", {}).values()
    return {key for schema in inner for key in schema.get("properties", {})}


def _sentence(text: str, subject: str) -> str:
    """The words of pydantic as a sentence."""
    if text.startswith("Input should be "):
        wanted = text.removeprefix("Input should be ")
        for theirs, ours in _WORDS.items():
            wanted = wanted.replace(theirs, ours)
        return f"{subject} must be {wanted}."
    for prefix in ("Value error, ", "Assertion failed, "):
        if text.startswith(prefix):
            said = text.removeprefix(prefix).rstrip(".") + "."
            return f"{subject} {said}" if said[:1].islower() and not said.startswith(subject) else said
    return f"{subject}: {text}."


def _subset(node: Node, own: Collection[str]) -> Node:
    """The map with only the kind's own keys."""
    subset = Node("map", node.line, node.column)
    subset.keys = {key: node.keys[key] for key in own}
    return subset
