"""The judges themselves: what is wrong has to be found."""

import json

import pytest

from conversation_rules import Rules
from event_judge import complaints

GOOD = {"type": "response.content_part.added", "event_id": "event_1", "response_id": "resp_1", "item_id": "item_1",
        "output_index": 0, "content_index": 0, "part": {"type": "audio", "transcript": ""}}


@pytest.mark.parametrize("change, judges", [
    ({}, []),
    ({"part": {"type": "output_audio"}}, ["openai", "openai-agents", "schema"]),
    ({"output_index": "0"}, ["openai", "schema"]),
    ({"type": "response.painted"}, ["openai", "openai-agents", "schema"]),
    ({"colour": "red"}, ["schema"]),
])
def test_every_judge_finds_what_is_wrong_with_an_event(change, judges):
    found = complaints(json.dumps({**GOOD, **change}))
    assert sorted({complaint.split(":")[0] for complaint in found}) == sorted(judges), found


def response(status, name="resp_1", **fields):
    return {"id": name, "status": status, "output": [], "conversation_id": "conv_1", **fields}


def events(*pairs):
    """Events with names of their own."""
    return [{"event_id": f"event_{at}", "type": kind, **fields} for at, (kind, fields) in enumerate(pairs)]


CREATED = ("response.created", {"response": response("in_progress")})
DONE = ("response.done", {"response": response("completed")})
ITEM = ("response.output_item.added", {"response_id": "resp_1", "output_index": 0,
                                       "item": {"id": "item_1", "status": "in_progress"}})
PART = ("response.content_part.added", {key: value for key, value in GOOD.items() if key not in ("type", "event_id")})
STARTED = ("output_audio_buffer.started", {"response_id": "resp_1"})
STOPPED = ("output_audio_buffer.stopped", {"response_id": "resp_1"})
ADDED = ("conversation.item.added", {"item": {"id": "item_u"}, "previous_item_id": None})


@pytest.mark.parametrize("story, broken", [
    ([CREATED, DONE], None),
    ([CREATED], "never ended"),
    ([CREATED, DONE, DONE], "a running response"),
    ([CREATED, ("response.created", {"response": response("in_progress", "resp_2")}), DONE], "one active response"),
    ([CREATED, ITEM, DONE], "items end before their response"),
    ([CREATED, ITEM, PART, STARTED, STOPPED, DONE], "playback stops after response.done"),
    ([CREATED, ITEM, STARTED], "after its content part"),
    ([CREATED, ITEM, PART, STARTED], "playback of resp_1 never ended"),
    ([CREATED, DONE, STOPPED], "playback ends once"),
    ([ADDED, ADDED], "added once"),
    ([("conversation.item.added", {"item": {"id": "item_u"}, "previous_item_id": "item_x"})], "previous item exists"),
    ([("conversation.item.deleted", {"item_id": "item_x"})], "what is deleted was there"),
    ([("input_audio_buffer.speech_stopped", {"item_id": "item_u"})], "speech starts, then stops"),
])
def test_the_rules_find_what_is_out_of_order(story, broken):
    found = Rules(events(*story), has_media=True).broken
    assert found == [] if broken is None else any(broken in rule for rule in found), found
