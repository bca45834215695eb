"""The language as a JSON Schema (2020-12), for completion and checks in an editor.

It knows less than the checker: names, graphs and expressions are beyond it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from portcall.playbook.config import ToolSpec, spellings
from portcall.playbook.loader import API_VERSION, FOREIGN
from portcall.playbook.policy import ACTIONS, BACKOFFS
from portcall.playbook.retry import ON
from portcall.playbook.steps import RESERVED

_Schema = dict[str, Any]
_TEMPLATE: _Schema = {"$ref": "#/$defs/template"}
_DATA: _Schema = {"type": "object"}
_NAMES: _Schema = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_DURATION: _Schema = {
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": r"^(\d+(\.\d+)?(ms|s|m|h|d)?)+$"},
    ],
    "description": "Seconds, or a duration such as 500ms, 2s, 1m or 1h.",
}


def json_schema(kinds: Mapping[str, ToolSpec]) -> _Schema:
    """The schema of a playbook whose tools are of these kinds."""
    definitions: _Schema = {
        "template": {
            "type": "string",
            "pattern": r"\{\{|\{%",
            "description": "An expression, evaluated when it is used.",
        },
        "condition": {
            "type": ["string", "boolean"],
            "description": 'An expression such as "{{ output.data.ok }}", or true or false.',
        },
        "set": _set(),
        "then": _then(),
        "rule": _rule(),
        "policySpec": _policy_spec(),
        "assert": _closed(
            "Names that must be there before and after the call.", {"expects": _NAMES, "returns": _NAMES}
        ),
        "retry": _retry(),
        "loop": _loop(),
        "arc": _arc(),
        "next": _next(),
        "step": _step(),
    }
    definitions["tool"] = _tool(kinds)
    definitions["namedTool"] = {
        "anyOf": [
            {"allOf": [{"$ref": "#/$defs/tool"}], "required": ["name"]},
            {
                "type": "object",
                "maxProperties": 1,
                "not": {"required": ["kind"]},
                "additionalProperties": {"$ref": "#/$defs/tool"},
            },
        ]
    }
    for kind, spec in sorted(kinds.items()):
        definitions[f"tool.{kind}"] = _kind(kind, spec, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "portcall playbook",
        **_root(),
        "$defs": definitions,
    }


def _closed(description: str, properties: Mapping[str, Any], required: tuple[str, ...] = ()) -> _Schema:
    """An object with no other keys but those that start with `x-`."""
    schema: _Schema = {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
    }
    return {**schema, "required": list(required)} if required else schema


def _said(description: str, schema: Mapping[str, Any]) -> _Schema:
    return {"description": description, **schema}


def _root() -> _Schema:
    entry = _closed(
        "A named tool.",
        {"name": {"type": "string"}, "desc": {"type": "string"}, "tool": {"$ref": "#/$defs/tool"},
         "input": _DATA, "assert": {"$ref": "#/$defs/assert"}},
        ("name", "tool"),
    )  # fmt: skip
    metadata = {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"},
        "path": _said("The name in the catalog.", {"type": "string"}),
        "description": {"type": "string"},
        "labels": _DATA,
    }}  # fmt: skip
    keychain = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    properties = {
        "apiVersion": {"const": API_VERSION},
        "kind": {"const": "Playbook"},
        "metadata": _said("What the playbook is called; other keys are free.", metadata),
        "workload": _said(
            "Immutable input with defaults; the caller's values are merged over it, deeply.", _DATA
        ),
        "keychain": _said("Credential aliases.", {"type": "array", "items": keychain}),
        "workbook": _said("Named tools, used by `kind: workbook`.", {"type": "array", "items": entry}),
        "workflow": _said(
            "The steps; the one named `start` is first.", {"type": "array", "items": {"$ref": "#/$defs/step"}}
        ),
        **{key: {"description": text} for key, text in FOREIGN.items()},
    }
    return _closed("A playbook: a graph of steps.", properties, ("apiVersion", "kind", "metadata", "workflow"))


def _step() -> _Schema:
    tools = {
        "anyOf": [
            {"$ref": "#/$defs/tool"},
            {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/namedTool"}},
        ]
    }
    properties = {
        "step": _said("The step's name.", {"type": "string", "not": {"enum": sorted(RESERVED)}}),
        "desc": {"type": "string"},
        "when": _said("False: the step is skipped.", {"$ref": "#/$defs/condition"}),
        "input": _said("Bound before the tool; the tool's own input wins.", _DATA),
        "tool": _said("What the step does: one tool, or a list of named ones that run in order.", tools),
        "set": {"$ref": "#/$defs/set"},
        "retry": _said("Which failures are tried again.", {"anyOf": [
            {"$ref": "#/$defs/retry"}, {"type": "array", "items": {"$ref": "#/$defs/retry"}}]}),
        "loop": {"$ref": "#/$defs/loop"},
        "next": {"$ref": "#/$defs/next"},
        "spec": _DATA,
        "output": _said("No effect.", {}),
    }  # fmt: skip
    return _closed("A step.", properties, ("step", "tool"))


def _set() -> _Schema:
    return {
        "type": "object",
        "description": "Targets `ctx.x` (the execution), `step.x` (this step run), `iter.x` (this iteration).",
    }


def _then() -> _Schema:
    properties = {
        "do": {"enum": list(ACTIONS)},
        "attempts": _said("Counts the first call.", {"type": "integer", "minimum": 1}),
        "backoff": {"enum": list(BACKOFFS)},
        "delay": _DURATION,
        "to": _said("The tool of the list to jump to.", {"type": "string"}),
        "set": {"$ref": "#/$defs/set"},
    }
    return _closed("What a policy rule does.", properties)


def _rule() -> _Schema:
    then = {"$ref": "#/$defs/then"}
    rule = _closed(
        "Holds when `when` does.", {"when": {"$ref": "#/$defs/condition"}, "then": then}, ("when", "then")
    )
    otherwise = {"anyOf": [_closed("", {"then": then}, ("then",)), then]}
    return {"anyOf": [rule, _closed("Holds when no rule before it does.", {"else": otherwise}, ("else",))]}


def _policy_spec() -> _Schema:
    policy = _closed("", {"rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}}})
    properties = {"policy": _said("What a result leads to; the first rule that holds wins.", policy)}
    return {"type": "object", "properties": properties}


def _retry() -> _Schema:
    quantity = {"type": ["string", "number"]}
    backoff = {
        "initial": _DURATION,
        "factor": {"type": "number", "minimum": 1},
        "max": _DURATION,
        "jitter": {"type": "boolean"},
    }
    grow = {"memory": quantity, "cpu": quantity, "up_to": {"anyOf": [quantity, _DATA]}}
    on = {"anyOf": [{"enum": list(ON)}, {"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    properties = {
        "on": _said("A failure class, a state, an error kind, or `any`.", on),
        "max_attempts": _said("Counts the first.", {"type": "integer", "minimum": 1}),
        "backoff": _closed("The pause before each attempt.", backoff),
        "grow": _closed("Limits that are raised with each attempt, such as {memory: 2x, up_to: 16Gi}.", grow),
    }
    return _closed("Which failures are tried again, and how.", properties)


def _loop() -> _Schema:
    spec = {"mode": {"enum": ["sequential", "parallel"]}, "max_in_flight": {"type": "integer", "minimum": 1},
            "policy": {}, "frame": {}}  # fmt: skip
    properties = {
        "in": _said("A list, or an expression that gives one.", {"anyOf": [{"type": "array"}, _TEMPLATE]}),
        "iterator": _said("The name of the current item.", {"type": "string", "pattern": r"^[A-Za-z_]\w*$"}),
        "spec": _closed("", spec),
    }
    return _closed("Runs the step's tool once for each item.", properties, ("in",))


def _arc() -> _Schema:
    properties = {
        "step": {"type": "string"},
        "when": _said("Without it the arc is for success only.", {"$ref": "#/$defs/condition"}),
        "set": {"$ref": "#/$defs/set"},
    }
    return _closed("A way to another step.", properties, ("step",))


def _next() -> _Schema:
    arcs = {"type": "array", "items": {"$ref": "#/$defs/arc"}}
    mode = _said(
        "exclusive: the first arc that holds; inclusive: every arc that holds, in parallel.",
        {"enum": ["exclusive", "inclusive"]},
    )
    routing = _closed("", {"spec": _closed("", {"mode": mode}), "arcs": arcs})
    some = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/arc"}]}}
    return _said("Where it goes on.", {"anyOf": [{"type": "string"}, some, {"$ref": "#/$defs/arc"}, routing]})


def _tool(kinds: Mapping[str, ToolSpec]) -> _Schema:
    chosen = [
        {"if": {"properties": {"kind": {"const": kind}}}, "then": {"$ref": f"#/$defs/tool.{kind}"}}
        for kind in sorted(kinds)
    ]
    return {
        "type": "object",
        "description": "One tool.",
        "required": ["kind"],
        "properties": {"kind": {"enum": [*sorted(kinds), "workbook"]}},
        "allOf": chosen,
    }


def _common(kind: str) -> _Schema:
    return {
        "kind": {"const": kind},
        "name": {"type": "string"},
        "desc": {"type": "string"},
        "input": _said("Values that the tool is given.", _DATA),
        "set": _said("After the tool; in a list also bare names for the later tools.", _DATA),
        "spec": {"$ref": "#/$defs/policySpec"},
        "assert": {"$ref": "#/$defs/assert"},
        "output": _said("No effect.", {}),
    }


def _kind(kind: str, spec: ToolSpec, definitions: _Schema) -> _Schema:
    """The kind's own model, with a template allowed wherever a value is typed."""
    prefix = f"{kind}."
    own = spec.Config.model_json_schema(ref_template="#/$defs/" + prefix + "{model}", by_alias=False)
    for name, inner in own.pop("$defs", {}).items():
        definitions[prefix + name] = _lenient(inner)
    own = _lenient(own)
    fields: _Schema = own.get("properties", {})
    properties = {key: fields[name] for key, name in spellings(spec.Config).items() if name in fields}
    schema = _closed(str(own.get("description", "")), {**properties, **_common(kind)})
    required = [
        name for name in own.get("required", []) if sum(n == name for n in spellings(spec.Config).values()) == 1
    ]
    return {**schema, "required": required}


def _lenient(schema: Any, *, top: bool = True) -> Any:
    """`schema` with templates beside every typed value."""
    if not isinstance(schema, dict):
        return schema
    changed = dict(schema)
    for key in ("properties", "patternProperties"):
        if key in changed:
            changed[key] = {name: _lenient(inner, top=False) for name, inner in changed[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(changed.get(key), dict):
            changed[key] = _lenient(changed[key], top=False)
    for key in ("anyOf", "oneOf"):
        if key in changed:
            changed[key] = [_lenient(inner) for inner in changed[key]]
    return changed if top else _or_template(changed)


def _or_template(schema: _Schema) -> _Schema:
    kept: _Schema = {key: schema[key] for key in ("description", "title", "default") if key in schema}
    rest = {key: value for key, value in schema.items() if key not in kept}
    if not rest or rest == {"type": "string"} or json.dumps(rest) == json.dumps(_TEMPLATE):
        return schema
    return {**kept, "anyOf": [rest, _TEMPLATE]}
