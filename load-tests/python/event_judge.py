"""Judges one server event at a time: the official parsers in their strict form, and the JSON Schemas of the API."""

import functools
import json
import pathlib
import sys

import jsonschema
import pydantic
from agents.realtime.openai_realtime import get_server_event_type_adapter
from openai.types.realtime import RealtimeServerEvent

from conversation_rules import Rules

SPECS = pathlib.Path(__file__).resolve().parents[1] / "specs"


@functools.cache
def _openai():
    """The event models of `openai` with validation; the SDK itself constructs them without."""
    return pydantic.TypeAdapter(RealtimeServerEvent)


@functools.cache
def _schemas():
    """A validator and the known fields for each event type."""
    whole = json.loads((SPECS / "realtime_server_event.schema.json").read_text())
    found = {}
    for name, definition in whole["$defs"].items():
        kind = definition.get("properties", {}).get("type", {}).get("const")
        if {"$ref": f"#/$defs/{name}"} in whole["anyOf"]:
            schema = {"$defs": whole["$defs"], "$ref": f"#/$defs/{name}"}
            found[kind] = jsonschema.Draft202012Validator(schema), set(definition["properties"])
    return found


def complaints(text):
    """What the judges hold against an event as it came over the wire; nothing if it is in order."""
    event = json.loads(text)
    found = []
    try:
        _openai().validate_json(text, strict=True)
    except pydantic.ValidationError as error:
        found.append(f"openai: {error}")
    # What openai-agents does itself before it parses.
    seen = {**event, "previous_item_id": ""} if event.get("previous_item_id", "") is None else event
    try:
        get_server_event_type_adapter().validate_python(seen)
    except pydantic.ValidationError as error:
        found.append(f"openai-agents: {error}")
    validator, fields = _schemas().get(event.get("type"), (None, set()))
    if validator is None:
        return [*found, f"schema: no event has the type {event.get('type')!r}"]
    found += [f"schema: {error.json_path}: {error.message}" for error in validator.iter_errors(event)]
    found += [f"schema: nobody knows the field {name!r}" for name in event.keys() - fields]
    return [f"{complaint}\nin {text}" for complaint in found]


def main():
    """Judges a session read from standard input, an event a line. Prints what is wrong and nothing else."""
    texts = sys.stdin.read().splitlines()
    for complaint in [complaint for text in texts for complaint in complaints(text)]:
        print(complaint)
    for broken in Rules([json.loads(text) for text in texts], "--media" in sys.argv).broken:
        print(broken)


if __name__ == "__main__":
    main()
