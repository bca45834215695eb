"""What the fields of every tool kind have in common: how they are checked, and how they are described.

Docstrings below fields become the descriptions of the JSON Schema, so they speak to authors of
playbooks. Messages of validators never repeat a value, which may be a secret.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema, PydanticCustomError

from portcall.playbook.duration import seconds


class ToolConfig(BaseModel):
    """Unknown fields are errors. Models are built when they are first used, to start quickly."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, hide_input_in_errors=True, protected_namespaces=()
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Pydantic's `use_attribute_docstrings` would read the source of every model at start-up."""
        schema = handler(core_schema)
        fields = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in _docstrings(cls.__module__).get(cls.__qualname__, {}).items():
            field = cls.model_fields[name]
            for key in (name, field.alias, field.validation_alias):
                if isinstance(key, str) and key in fields:
                    fields[key].setdefault("description", text)
        return schema


@functools.cache
def _docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Class to field to the docstring below it."""
    import ast
    import inspect

    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(sys.modules[module])).body:
        if not isinstance(node, ast.ClassDef):
            continue
        for field, below in pairwise(node.body):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found.setdefault(node.name, {})[name] = inspect.cleandoc(text).replace("\n", " ")
    return found


def wrong(expected: str) -> PydanticCustomError:
    """An error in the words of pydantic's own, so that all are told in one way."""
    return PydanticCustomError("wrong", "Input should be {expected}", {"expected": expected})


def _seconds(value: object) -> object:
    found = seconds(value)
    if found is None:
        raise wrong("seconds, or a duration such as 500ms, 30s, 10m or 1h30m")
    return found


def _positive(value: object) -> object:
    found = seconds(value)
    if not found:
        raise wrong("seconds above 0, or a duration such as 500ms, 30s, 10m or 1h30m")
    return found


_DURATION_SCHEMA = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string"}]}

Duration = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds from 0, given as a number or as text with units."""
Timeout = Annotated[float, BeforeValidator(_positive), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds above 0, given as a number or as text with units."""


def as_text(value: Any) -> Any:
    """Numbers and booleans as YAML writes them; everything else as it is."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[
    str,
    BeforeValidator(as_text),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]}),
]
"""Text; numbers and booleans are written as text."""


def env_map(value: Any) -> Any:
    """`[{name: A, value: b}]` as `{A: b}`: both spellings of an environment."""
    if not isinstance(value, list):
        return value
    pairs = [(item.get("name"), item.get("value", "")) for item in value if isinstance(item, Mapping)]
    if len(pairs) != len(value) or not all(isinstance(name, str) and name for name, _ in pairs):
        raise wrong("a map of names to values, or a list of {name, value}")
    return dict(pairs)


Env = Annotated[dict[str, Text], BeforeValidator(env_map)]
