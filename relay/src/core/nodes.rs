//! The nodes of the allow-list as one lane reaches them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use voxgate_protocol::id::NodeIndex;

use super::greeting::Greeting;
use super::{NodeEntry, Relay, canonical};
use crate::core::Directory;
use crate::tunnel::{Endpoint, Lane, Side};

/// One node and the lane's tunnel to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) index: NodeIndex,
    pub(super) address: SocketAddr,
    pub(super) epoch: u8,
    pub(super) endpoint: Endpoint,
    pub(super) greeting: Greeting,
}

/// The nodes in the order of their indices.
#[derive(Debug, Default)]
pub(super) struct Nodes(Vec<Node>);

impl Nodes {
    pub(super) fn get(&self, index: NodeIndex) -> Option<&Node> {
        let slot = self.0.binary_search_by_key(&index, |node| node.index).ok()?;
        self.0.get(slot)
    }

    pub(super) fn get_mut(&mut self, index: NodeIndex) -> Option<&mut Node> {
        let slot = self.0.binary_search_by_key(&index, |node| node.index).ok()?;
        self.0.get_mut(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.iter_mut()
    }

    pub(super) fn round_trips(&self) -> impl Iterator<Item = (NodeIndex, Duration)> {
        self.0.iter().filter_map(|node| Some((node.index, node.endpoint.round_trip()?)))
    }

    /// Brings the list in line with the directory. Nodes that stay keep their endpoint, and with it sequence and window.
    pub(super) fn follow(&mut self, now: Instant, relay: &Relay, lane: Lane, directory: &Directory) {
        self.0.retain(|node| directory.nodes.contains_key(&node.index));
        for (index, entry) in &directory.nodes {
            match self.get_mut(*index) {
                Some(node) => node.follow(now, entry),
                None => {
                    let at = self.0.partition_point(|node| node.index < *index);
                    self.0.insert(at, Node::new(now, relay, lane, *index, entry));
                }
            }
        }
    }
}

impl Node {
    fn new(now: Instant, relay: &Relay, lane: Lane, index: NodeIndex, entry: &NodeEntry) -> Self {
        let side = Side::Relay { epoch: relay.epoch };
        let endpoint = Endpoint::new(side, relay.id, index, lane, entry.key.clone(), now, relay.unix(now));
        let address = canonical(entry.address);
        Self { index, address, epoch: entry.epoch, endpoint, greeting: Greeting::new(now) }
    }

    fn follow(&mut self, now: Instant, entry: &NodeEntry) {
        if !self.endpoint.is_to_send_with(&entry.key) {
            if self.epoch == entry.epoch && !self.endpoint.sends_with_id(entry.key.id()) {
                self.endpoint.prepare(entry.key.clone());
            } else {
                // A node that has restarted knows only the new key, and one id cannot mean two keys.
                self.endpoint.rotate(entry.key.clone());
            }
        }
        let address = canonical(entry.address);
        if (self.address, self.epoch) != (address, entry.epoch) {
            (self.address, self.epoch) = (address, entry.epoch);
            self.greeting = Greeting::new(now);
        }
    }
}
