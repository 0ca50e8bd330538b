//! Every answer begins once and ends once, one at a time, and is played and stopped in pairs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use voxgate_media::encode::FRAME;

use super::items::Items;
use super::{Verdict, promise, text};

/// Frames an answer that runs out of audio can have besides: one that is not full, and ten of silence.
const FRAMES_OF_UNDERRUN: u64 = 11;

struct Answer {
    is_in_conversation: bool,
    is_done: bool,
    /// Packets that had left when playback began.
    packets_before: Option<u64>,
    /// Packets in which it alone was audible, and whether there were others.
    packets: u64,
    is_shared: bool,
    /// Times an answer had run out of audio when playback began.
    underruns_before: u64,
}

#[derive(Default)]
pub(super) struct Answers {
    answers: BTreeMap<String, Answer>,
    /// Answers nothing of which may follow, from the step after the one given here.
    stale: BTreeMap<String, u64>,
    playing: Vec<String>,
    played: BTreeSet<String>,
    /// What was or became audible in this step.
    audible: Vec<String>,
    step: u64,
    /// Packets that had left before this step.
    packets_at_step: u64,
    /// Played to their end in this step.
    stopped: Vec<String>,
    underruns: u64,
}

impl Answers {
    /// `packets` is how many left before.
    pub(super) fn begin_step(&mut self, packets: u64) {
        self.step += 1;
        self.packets_at_step = packets;
        self.audible.clone_from(&self.playing);
        self.stopped.clear();
    }

    pub(super) fn playing(&self) -> usize {
        self.playing.len()
    }

    /// The input is carried to its end; `packets` have left so far, `underruns` is how often an answer ran out of audio.
    pub(super) fn settled(&mut self, packets: u64, underruns: u64, items: &Items) -> Verdict {
        let sent = packets - self.packets_at_step;
        for id in &self.audible {
            let Some(answer) = self.answers.get_mut(id) else { continue };
            answer.is_shared |= sent > 0 && self.audible.len() > 1;
            answer.packets += sent;
        }
        self.underruns = underruns;
        self.stopped.iter().try_for_each(|id| self.was_whole(id, items))
    }

    /// An answer that was played to its end was played once and whole, whatever interrupted it.
    fn was_whole(&self, id: &str, items: &Items) -> Verdict {
        let Some(answer) = self.answers.get(id).filter(|answer| !answer.is_shared) else { return Ok(()) };
        let (taken, received) = items.audio_of(id);
        let played = FRAME * answer.packets as u32;
        promise!(played >= taken, "{id} was played for {played:?}, but {taken:?} of it were taken");
        let more = 1 + FRAMES_OF_UNDERRUN * (self.underruns - answer.underruns_before);
        let most = received + FRAME * more as u32;
        promise!(played <= most, "{id} was played for {played:?}, but only {received:?} of it came");
        Ok(())
    }

    pub(super) fn audible(&self) -> &[String] {
        &self.audible
    }

    /// Whether a piece of this answer certainly still reaches the client.
    pub(super) fn takes_pieces(&self, id: &str) -> bool {
        self.answers.get(id).is_some_and(|answer| !answer.is_done) && !self.stale.contains_key(id)
    }

    /// The caller spoke over the answer.
    pub(super) fn interrupted(&mut self) {
        let live = self.answers.iter().filter(|(_, answer)| !answer.is_done && answer.is_in_conversation);
        let live: Vec<_> = live.map(|(id, _)| id.clone()).collect();
        for id in live {
            self.stale.entry(id).or_insert(self.step);
        }
    }

    /// The provider was told to stop an answer.
    pub(super) fn cancelled(&mut self, id: Option<&str>) {
        match id {
            Some(id) => {
                self.stale.entry(id.to_owned()).or_insert(self.step);
            }
            None => self.interrupted(),
        }
    }

    pub(super) fn event(&mut self, kind: &str, event: &Value) -> Verdict {
        match kind {
            "response.created" => self.created(&event["response"]),
            "response.done" => self.done(&event["response"]),
            _ => {
                let id = text(event, "response_id");
                let is_live = self.answers.get(id).is_some_and(|answer| !answer.is_done);
                promise!(is_live, "{kind} of {id}, which is not being written");
                let is_stale = self.stale.get(id).is_some_and(|since| *since < self.step);
                promise!(!(is_stale && kind.ends_with(".delta")), "{kind} of {id}, which was stopped before");
                Ok(())
            }
        }
    }

    fn created(&mut self, response: &Value) -> Verdict {
        let id = text(response, "id");
        let is_in_conversation = response["conversation_id"].is_string();
        promise!(response["status"] == "in_progress", "{id} begins as {}", response["status"]);
        if is_in_conversation {
            let other = self.answers.iter().find(|(_, answer)| !answer.is_done && answer.is_in_conversation);
            promise!(
                other.is_none(),
                "{id} begins while {:?} writes to the conversation",
                other.map(|o| o.0)
            );
        }
        let answer = Answer {
            is_in_conversation,
            is_done: false,
            packets_before: None,
            packets: 0,
            is_shared: false,
            underruns_before: 0,
        };
        promise!(self.answers.insert(id.to_owned(), answer).is_none(), "{id} begins twice");
        Ok(())
    }

    fn done(&mut self, response: &Value) -> Verdict {
        let id = text(response, "id");
        let Some(answer) = self.answers.get_mut(id) else { return Err(format!("{id} ends and never began")) };
        promise!(!std::mem::replace(&mut answer.is_done, true), "{id} ends twice");
        promise!(response["status"] != "in_progress", "{id} ends in progress");
        let items = response["output"].as_array().map(Vec::as_slice).unwrap_or_default();
        let open = items.iter().any(|item| item["status"] == "in_progress");
        promise!(!open, "{id} ends with an item in progress");
        Ok(())
    }

    pub(super) fn playback(&mut self, kind: &str, event: &Value) -> Verdict {
        let id = text(event, "response_id");
        let place = self.playing.iter().position(|playing| playing == id);
        if kind == "output_audio_buffer.started" {
            promise!(self.answers.contains_key(id), "{id} is played and never began");
            promise!(place.is_none() && !self.played.contains(id), "{id} is started twice");
            if let Some(answer) = self.answers.get_mut(id) {
                answer.packets_before = Some(self.packets_at_step);
                answer.underruns_before = self.underruns;
            }
            self.playing.push(id.to_owned());
            self.audible.push(id.to_owned());
            return Ok(());
        }
        let Some(place) = place else { return Err(format!("{kind} of {id}, which is not played")) };
        self.playing.remove(place);
        if kind == "output_audio_buffer.stopped" {
            self.stopped.push(id.to_owned());
        }
        self.played.insert(id.to_owned());
        let is_done = self.answers.get(id).is_some_and(|answer| answer.is_done);
        promise!(is_done || kind != "output_audio_buffer.stopped", "{id} stopped before it was done");
        Ok(())
    }

    /// Packets that left since an answer became audible, that step included.
    pub(super) fn packets_since_start(&self, id: Option<&str>, packets: u64) -> u64 {
        let answer = id.and_then(|id| self.answers.get(id));
        answer.and_then(|answer| answer.packets_before).map_or(0, |before| packets - before)
    }

    pub(super) fn finish(&self) -> Verdict {
        let open = self.answers.iter().find(|(_, answer)| !answer.is_done);
        promise!(open.is_none(), "{:?} never ended", open.map(|(id, _)| id));
        promise!(self.playing.is_empty(), "{:?} never stopped", self.playing);
        Ok(())
    }
}
