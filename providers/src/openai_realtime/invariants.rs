//! What holds for every stream of events, whatever a vendor sends. Used by tests and fuzzers.

use std::collections::BTreeMap;

use voxgate_protocol::bridge::BridgeEvent;
use voxgate_protocol::id::{ItemId, ResponseId};

use super::codec::Codec;

/// Watches a stream of events and names the first promise it breaks.
#[derive(Debug, Default)]
pub struct Invariants {
    /// Items of each response in progress; `true` once they have ended.
    open: BTreeMap<ResponseId, BTreeMap<ItemId, bool>>,
    is_ready: bool,
}

impl Invariants {
    /// Checks the next event.
    ///
    /// # Errors
    /// A sentence naming the broken promise.
    pub fn check(&mut self, event: &BridgeEvent) -> Result<(), String> {
        match event {
            BridgeEvent::Ready => {
                let was_ready = std::mem::replace(&mut self.is_ready, true);
                return if was_ready { Err("ready twice".into()) } else { Ok(()) };
            }
            BridgeEvent::ResponseStarted { response_id } => {
                let known = self.open.insert(response_id.clone(), BTreeMap::new());
                return known.map_or(Ok(()), |_| Err(format!("{response_id} started twice")));
            }
            BridgeEvent::Output { response_id, item_id, .. } => {
                let items = self.open.get_mut(response_id).ok_or("output outside its response")?;
                if *items.entry(item_id.clone()).or_insert(false) {
                    return Err(format!("output of {item_id} after its end"));
                }
            }
            BridgeEvent::OutputItemDone { response_id, item_id, .. } => {
                let items = self.open.get_mut(response_id).ok_or("an item ended outside its response")?;
                if items.insert(item_id.clone(), true) != Some(false) {
                    return Err(format!("{item_id} ended without output, or twice"));
                }
            }
            BridgeEvent::ResponseDone { response_id, .. } => {
                let items = self.open.remove(response_id).ok_or("a response ended that had not started")?;
                if items.values().any(|has_ended| !has_ended) {
                    return Err(format!("{response_id} ended before its items"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Feeds text, one frame a line, to a fresh codec and checks every event.
///
/// # Errors
/// A sentence naming the first broken promise.
pub fn check_lines(codec: &mut Codec, lines: &str) -> Result<Vec<BridgeEvent>, String> {
    let mut invariants = Invariants::default();
    let mut all = Vec::new();
    for line in lines.lines() {
        for event in codec.decode(line) {
            invariants.check(&event)?;
            all.push(event);
        }
        while codec.poll_transmit().is_some() {}
    }
    Ok(all)
}
