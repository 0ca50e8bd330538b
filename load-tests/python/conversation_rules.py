"""Rules between the server events of one session: what began ends, once, in order, and refers to what exists."""

from collections import Counter, defaultdict

# The pieces of a content part or a tool call, the event that ends them and its field with the whole.
WHOLES = {
    "response.output_audio_transcript": "transcript",
    "response.output_text": "text",
    "response.function_call_arguments": "arguments",
}
AUDIO = "response.output_audio.delta"


class Rules:
    """Reads the events of a finished session in order. `broken` lists every rule that did not hold.

    `has_media` says that audio travels beside the events, as in a WebRTC call.
    """

    def __init__(self, events, has_media):
        self.broken = []
        self.has_media = has_media
        self.responses = {}
        self.items = []
        self.heard = {}
        self.played = {}
        self.audio_bytes = Counter()
        self.deltas = defaultdict(str)
        for event in events:
            self._read(event)
        self._repeated("event_id", [event["event_id"] for event in events])
        self._ends()

    def _expect(self, holds, rule, event):
        if not holds:
            self.broken.append(f"{rule}: {event}")

    def _repeated(self, what, values):
        self.broken += [f"{what} {value} came {count} times" for value, count in Counter(values).items() if count > 1]

    def _read(self, event):
        kind = event["type"]
        known = {
            "response.created": self._created,
            "response.done": self._done,
            "response.output_item.added": self._item_began,
            "response.output_item.done": self._item_ended,
            "response.content_part.added": self._part_began,
            "response.content_part.done": self._part_ended,
            "conversation.item.added": self._added,
            "conversation.item.done": self._completed,
            "conversation.item.deleted": self._deleted,
            "conversation.item.truncated": self._truncated,
            "input_audio_buffer.speech_started": self._speech,
            "input_audio_buffer.speech_stopped": self._speech,
            "input_audio_buffer.committed": self._committed,
        }
        if kind in known:
            known[kind](event)
        elif kind.startswith("output_audio_buffer."):
            self._playback(event)
        elif kind.startswith("response."):
            self._piece(event)

    def _created(self, event):
        response = event["response"]
        self._expect(response["id"] not in self.responses, "a response is created once", event)
        self._expect(response["status"] == "in_progress" and response["output"] == [], "it begins empty", event)
        beside = response["conversation_id"] is None
        others = [one for one in self.responses.values() if one["status"] is None and not one["beside"]]
        self._expect(beside or not others, "one active response in a conversation", event)
        self.responses[response["id"]] = {"status": None, "beside": beside, "items": {}, "parts": {}}

    def _open(self, event):
        """The response an event belongs to, which has to be running."""
        response = self.responses.get(event["response_id"])
        self._expect(response and response["status"] is None, "a piece belongs to a running response", event)
        return response or {"status": None, "beside": False, "items": {}, "parts": {}}

    def _done(self, event):
        response = event["response"]
        mine = self._open({**event, "response_id": response["id"]})
        mine["status"] = response["status"]
        self._expect(response["status"] != "in_progress", "a response ends in a final state", event)
        ended = [item for item in mine["items"].values() if item]
        self._expect(len(ended) == len(mine["items"]), "items end before their response", event)
        self._expect([item["id"] for item in response["output"]] == [item["id"] for item in ended],
                     "response.done lists the items of the response", event)

    def _item_began(self, event):
        items = self._open(event)["items"]
        self._expect(event["output_index"] == len(items), "items are numbered in order", event)
        self._expect(event["item"]["status"] == "in_progress", "an item begins unfinished", event)
        items[event["output_index"]] = None

    def _item_ended(self, event):
        response = self._open(event)
        begun = response["items"].get(event["output_index"], "nothing")
        self._expect(begun is None, "an item ends once, after it began", event)
        still = [place for place, part in response["parts"].items()
                 if place[0] == event["item"]["id"] and part == "open"]
        self._expect(not still, "parts end before their item", event)
        self._expect(event["item"]["status"] in ("completed", "incomplete"), "an item ends in a final state", event)
        response["items"][event["output_index"]] = event["item"]

    def _part_began(self, event):
        response, place = self._open(event), (event["item_id"], event["content_index"])
        self._expect(event["output_index"] in response["items"], "a part belongs to an item", event)
        self._expect(place not in response["parts"], "a part begins once", event)
        response["parts"][place] = "open"

    def _part_ended(self, event):
        response, place = self._open(event), (event["item_id"], event["content_index"])
        self._expect(response["parts"].get(place) == "open", "a part ends once, after it began", event)
        response["parts"][place] = "closed"

    def _piece(self, event):
        response = self._open(event)
        item, part = event["item_id"], event.get("content_index")
        self._expect(event["output_index"] in response["items"], "a piece belongs to an item", event)
        self._expect(part is None or response["parts"].get((item, part)) == "open",
                     "a piece belongs to an open part", event)
        stem, _, step = event["type"].rpartition(".")
        if event["type"] == AUDIO:
            self._expect(not self.has_media, "audio of a call is sent as media only", event)
            # Four characters of base64 are three bytes; padding is at most two of them.
            self.audio_bytes[item] += len(event["delta"]) * 3 // 4 - event["delta"].count("=")
        elif stem in WHOLES and step == "delta":
            self.deltas[stem, item, part] += event["delta"]
        elif stem in WHOLES:
            self._expect(event[WHOLES[stem]] == self.deltas[stem, item, part], "the whole is the sum of its deltas",
                         event)

    def _added(self, event):
        item = event["item"]["id"]
        self._expect(item not in self.items, "an item is added once", event)
        self._insert(item, event)

    def _insert(self, item, event):
        previous = event.get("previous_item_id")
        self._expect(previous is None or previous in self.items, "the previous item exists", event)
        self.items.insert(self.items.index(previous) + 1 if previous in self.items else 0, item)

    def _completed(self, event):
        self._expect(event["item"]["id"] in self.items, "an item is added before it is done", event)

    def _deleted(self, event):
        self._expect(event["item_id"] in self.items, "what is deleted was there", event)
        if event["item_id"] in self.items:
            self.items.remove(event["item_id"])

    def _truncated(self, event):
        item = event["item_id"]
        self._expect(item in self.items, "what is truncated is there", event)
        if not self.has_media:
            sent_ms = self.audio_bytes[item] / 48
            self._expect(event["audio_end_ms"] <= sent_ms + 1, f"truncated within the {sent_ms} ms received", event)

    def _speech(self, event):
        item, state = event["item_id"], event["type"].rpartition("_")[2]
        before = self.heard.get(item)
        self._expect(before == (None if state == "started" else "started"), "speech starts, then stops, once", event)
        self.heard[item] = state

    def _committed(self, event):
        self._expect(self.heard.get(event["item_id"]) in (None, "stopped"), "a turn is committed after it ended", event)

    def _playback(self, event):
        response, step = event["response_id"], event["type"].rpartition(".")[2]
        self._expect(self.has_media, "only calls have an output buffer", event)
        self._expect(response in self.responses, "playback belongs to a response", event)
        mine = self.responses.get(response, {"status": None, "parts": {}})
        if step == "started":
            self._expect(response not in self.played, "playback starts once", event)
            self._expect(mine["parts"], "playback starts after its content part", event)
        else:
            self._expect(self.played.get(response) == "started", "playback ends once, after it started", event)
        self._expect(step != "stopped" or mine["status"], "playback stops after response.done", event)
        self.played[response] = step

    def _ends(self):
        self.broken += [f"response {name} never ended" for name, one in self.responses.items() if not one["status"]]
        self.broken += [f"playback of {name} never ended" for name, step in self.played.items() if step == "started"]
        for name, response in self.responses.items():
            spoke = {item for item, _ in response["parts"]} & self.audio_bytes.keys()
            self.broken += [f"{item} of {name} is no item of it" for item in spoke
                            if item not in [one["id"] for one in response["items"].values() if one]]
