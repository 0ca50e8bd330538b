//! How much of each item the caller has heard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use voxgate_protocol::audio::{SampleCount, SampleRate};
use voxgate_protocol::id::{ItemId, ResponseId};

/// Items whose clocks are kept; the oldest are forgotten first.
const MAX_ITEMS: usize = 256;

/// Runs of frames without a gap that are remembered: of 20 ms at the least, five seconds, more than any client buffers.
const MAX_SENT: usize = 250;

#[derive(Clone, Debug)]
pub(super) struct ItemClock {
    pub(super) response_id: ResponseId,
    pub(super) item_id: ItemId,
    pub(super) received: u64,
    pub(super) played: u64,
}

/// A run of samples that left for the caller.
#[derive(Clone, Debug)]
struct Sent {
    item_id: ItemId,
    at: Instant,
    samples: u64,
}

#[derive(Debug)]
pub(super) struct HeardClocks {
    rate: SampleRate,
    items: VecDeque<ItemClock>,
    sent: VecDeque<Sent>,
}

impl HeardClocks {
    pub(super) const fn new(rate: SampleRate) -> Self {
        Self { rate, items: VecDeque::new(), sent: VecDeque::new() }
    }

    pub(super) fn of_response(&self, response_id: &ResponseId) -> impl Iterator<Item = &ItemClock> {
        self.items.iter().filter(move |clock| clock.response_id == *response_id)
    }

    pub(super) fn received(&mut self, response_id: &ResponseId, item_id: &ItemId, samples: u64) {
        if let Some(clock) = self.items.iter_mut().rev().find(|clock| clock.item_id == *item_id) {
            clock.received += samples;
            return;
        }
        if self.items.len() == MAX_ITEMS {
            self.items.pop_front();
        }
        self.items.push_back(ItemClock {
            response_id: response_id.clone(),
            item_id: item_id.clone(),
            received: samples,
            played: 0,
        });
    }

    pub(super) fn played(&mut self, item_id: &ItemId, samples: u64, now: Instant) {
        let Some(clock) = self.items.iter_mut().rev().find(|clock| clock.item_id == *item_id) else { return };
        clock.played += samples;
        if self.sent.len() == MAX_SENT {
            self.sent.pop_front();
        }
        // What leaves in a burst still sounds one after the other.
        let after_previous = self.sent.back().map(|sent| sent.at + self.rate_duration(sent.samples));
        let at = after_previous.map_or(now, |after| after.max(now));
        if after_previous == Some(at)
            && let Some(last) = self.sent.back_mut().filter(|sent| sent.item_id == *item_id)
        {
            last.samples += samples;
            return;
        }
        self.sent.push_back(Sent { item_id: item_id.clone(), at, samples });
    }

    pub(super) fn heard(&self, item_id: &ItemId) -> Option<Duration> {
        Some(self.rate_duration(self.clock(item_id)?.played))
    }

    pub(super) fn heard_at_ear(&self, item_id: &ItemId, now: Instant, buffer: Duration) -> Option<Duration> {
        let clock = self.clock(item_id)?;
        let on_the_way: u64 = self
            .sent
            .iter()
            .filter(|sent| sent.item_id == *item_id)
            .map(|sent| {
                let sounding = now.saturating_duration_since(sent.at + buffer);
                sent.samples.saturating_sub(self.rate.samples_in(sounding).0)
            })
            .sum();
        Some(self.rate_duration(clock.played.saturating_sub(on_the_way)))
    }

    /// The items of which something had left and not reached the caller's ear at that time, each with what had.
    pub(super) fn on_the_way(&self, at: Instant, buffer: Duration) -> Vec<(ItemId, Duration)> {
        let mut items: Vec<(ItemId, Duration)> = Vec::new();
        for sent in &self.sent {
            let is_known = items.last().is_some_and(|(item_id, _)| *item_id == sent.item_id);
            let is_heard = at >= sent.at + buffer + self.rate_duration(sent.samples);
            if !is_known
                && !is_heard
                && let Some(heard) = self.heard_at_ear(&sent.item_id, at, buffer)
            {
                items.push((sent.item_id.clone(), heard));
            }
        }
        items
    }

    pub(super) fn rate_duration(&self, samples: u64) -> Duration {
        SampleCount(samples).duration_at(self.rate)
    }

    fn clock(&self, item_id: &ItemId) -> Option<&ItemClock> {
        self.items.iter().rev().find(|clock| clock.item_id == *item_id)
    }
}
