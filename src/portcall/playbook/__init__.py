"""Playbook text -> a checked model."""

from portcall.playbook.config import ToolSpec
from portcall.playbook.loader import check, load
from portcall.playbook.problems import PlaybookError, Problem, as_json, show
from portcall.playbook.schema import json_schema

__all__ = ["PlaybookError", "Problem", "ToolSpec", "as_json", "check", "json_schema", "load", "show"]
