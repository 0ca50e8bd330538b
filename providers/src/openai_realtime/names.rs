//! Two names for one user item.
//!
//! The vendor names the item a commit makes; the gateway has named it before, and its client knows that name. The
//! gateway's name is used on the gateway's side and the vendor's on the wire.

use std::collections::VecDeque;

use voxgate_protocol::id::ItemId;

/// Commits the vendor has not answered yet.
const MAXIMUM_PENDING: usize = 64;
/// Pairs that are remembered: turns of the caller one can still refer to.
const MAXIMUM_PAIRS: usize = 1_024;

/// Longer names the vendor refuses (`string_above_max_length`).
const LONGEST_VENDOR_NAME: usize = 32;

/// The pairs of names.
#[derive(Debug, Default)]
pub(super) struct InputNames {
    pending: VecDeque<(u64, ItemId)>,
    announced: VecDeque<String>,
    pairs: VecDeque<(String, ItemId)>,
    minted: u64,
}

impl InputNames {
    /// A commit with this number was sent for an item the gateway has named.
    pub(super) fn commit_sent(&mut self, number: u64, item_id: ItemId) {
        if self.pending.len() == MAXIMUM_PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back((number, item_id));
    }

    /// Whether the vendor is still to say what it calls this item.
    pub(super) fn is_pending(&self, ours: &ItemId) -> bool {
        self.pending.iter().any(|(_, item_id)| item_id == ours)
    }

    /// The vendor refused the commit with this number.
    pub(super) fn commit_refused(&mut self, number: u64) {
        self.pending.retain(|(sent, _)| *sent != number);
    }

    /// The vendor's own turn detection named an item; a commit of it is not an answer to ours.
    pub(super) fn announced(&mut self, vendor: &str) {
        if self.announced.len() == MAXIMUM_PENDING {
            self.announced.pop_front();
        }
        self.announced.push_back(vendor.to_owned());
    }

    /// The vendor committed an item. Returns the name the gateway knows it by.
    pub(super) fn committed(&mut self, vendor: &str) -> ItemId {
        if let Some(index) = self.announced.iter().position(|known| known == vendor) {
            self.announced.remove(index);
            return ItemId::from(vendor);
        }
        let Some((_, ours)) = self.pending.pop_front() else { return ItemId::from(vendor) };
        self.pair(vendor.to_owned(), ours.clone());
        ours
    }

    /// The name under which an item is told to the vendor: its own, or a short one if the vendor would refuse that.
    pub(super) fn introduced(&mut self, ours: &ItemId) -> String {
        if ours.as_str().len() <= LONGEST_VENDOR_NAME {
            return ours.as_str().to_owned();
        }
        self.minted += 1;
        let vendor = format!("item_vg_{}", self.minted);
        self.pair(vendor.clone(), ours.clone());
        vendor
    }

    fn pair(&mut self, vendor: String, ours: ItemId) {
        if self.pairs.len() == MAXIMUM_PAIRS {
            self.pairs.pop_front();
        }
        self.pairs.push_back((vendor, ours));
    }

    /// The gateway's name of a vendor's item.
    pub(super) fn ours(&self, vendor: &str) -> ItemId {
        let pair = self.pairs.iter().rev().find(|(known, _)| known == vendor);
        pair.map_or_else(|| ItemId::from(vendor), |(_, ours)| ours.clone())
    }

    /// The vendor's name of a gateway's item.
    pub(super) fn vendors<'a>(&'a self, ours: &'a ItemId) -> &'a str {
        let pair = self.pairs.iter().rev().find(|(_, known)| known == ours);
        pair.map_or_else(|| ours.as_str(), |(vendor, _)| vendor)
    }
}
