//! What the gateway publishes to its relays, and the change of ufrag keys under running calls.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use voxgate_protocol::id::{NodeIndex, RelayId};
use voxgate_relay::tunnel::TunnelKey;

use super::list::{AllowList, NodeRecord, Secret, TunnelKeyRecord, UfragKeyRecord};
use crate::sealing::Sealing;

/// The one group of relays a gateway has.
const GROUP: u32 = 0;
/// Key ids a ufrag can name.
const KEY_IDS: u8 = 16;
/// How long the change of a key waits for relays to fetch it. A relay that is away must not hold it up; its clients
/// have another relay in their answer.
const FETCH_PATIENCE: Duration = Duration::from_secs(2);
/// How much longer than a session a retired key is kept: clocks differ.
const RETIREMENT_GRACE: Duration = Duration::from_mins(5);

/// Why the ufrag key was not changed.
#[derive(Debug, Error)]
pub(crate) enum RotateError {
    /// Another change is under way.
    #[error("another rotation is under way")]
    Busy,
    /// All key ids are held by keys of sessions that may still live.
    #[error(
        "all {KEY_IDS} key ids are in use by keys of sessions that may still live; the oldest is free \
         limits.session_duration after it was replaced"
    )]
    NoFreeId,
    /// The system gave no random numbers.
    #[error("the operating system gave no random numbers")]
    Random,
}

/// What a change of the ufrag key came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rotation {
    /// The id of the key new sessions are sealed with.
    pub(crate) key_id: u8,
    /// Relays of this gateway.
    pub(crate) relays: usize,
    /// Those that held the new key before the first session was sealed with it.
    pub(crate) informed: usize,
}

/// What may change while the process runs. The last key is the newest.
#[derive(Clone, Debug)]
struct Published {
    revision: u64,
    keys: Vec<UfragKeyRecord>,
}

/// The node relays are told of: this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Its index in ufrags.
    pub(crate) index: NodeIndex,
    /// Its present life.
    pub(crate) epoch: u8,
    /// Its tunnel socket as relays reach it.
    pub(crate) address: SocketAddr,
}

/// The published state of a gateway.
pub(crate) struct ControlState {
    node: Node,
    tunnel_keys: BTreeMap<RelayId, TunnelKeyRecord>,
    published: watch::Sender<Published>,
    held: watch::Sender<BTreeMap<RelayId, u64>>,
    sealing: Arc<Sealing>,
    /// The longest session of any configuration of this process.
    session_duration: StdMutex<Duration>,
    rotating: Mutex<()>,
}

impl ControlState {
    /// State for these relays, with keys of its own. `since_unix_epoch` makes the first revision one no earlier life of
    /// the gateway has used; `session_duration` is the longest session.
    ///
    /// # Errors
    /// [`RotateError::Random`].
    pub(crate) fn new(
        node: Node,
        relays: &[RelayId],
        since_unix_epoch: Duration,
        session_duration: Duration,
    ) -> Result<Self, RotateError> {
        let random = |_| RotateError::Random;
        let mut tunnel_keys = BTreeMap::new();
        for relay in relays {
            let secret = Secret::random().map_err(random)?;
            tunnel_keys.insert(*relay, TunnelKeyRecord { id: 0, secret });
        }
        let first = UfragKeyRecord { id: 0, group: GROUP, secret: Secret::random().map_err(random)? };
        let sealing = Sealing::new(node.index, node.epoch, first.key().map_err(|_| RotateError::NoFreeId)?);
        let revision = u64::try_from(since_unix_epoch.as_micros()).unwrap_or_default();
        Ok(Self {
            node,
            tunnel_keys,
            published: watch::Sender::new(Published { revision, keys: vec![first] }),
            held: watch::Sender::new(BTreeMap::new()),
            sealing: Arc::new(sealing),
            session_duration: StdMutex::new(session_duration),
            rotating: Mutex::new(()),
        })
    }

    /// From now on sessions may be this long. Keys are kept as long as the longest that may still run.
    pub(crate) fn allow_sessions_of(&self, length: Duration) {
        let mut longest = self.session_duration.lock().unwrap_or_else(PoisonError::into_inner);
        *longest = length.max(*longest);
    }

    fn longest_session(&self) -> Duration {
        *self.session_duration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What seals the ufrags of this node's sessions.
    pub(crate) fn sealing(&self) -> Arc<Sealing> {
        Arc::clone(&self.sealing)
    }

    /// The key of the tunnel between a relay and this node.
    pub(crate) fn tunnel_key(&self, relay: RelayId) -> Option<TunnelKey> {
        self.tunnel_keys.get(&relay).map(TunnelKeyRecord::key)
    }

    /// The present list of a relay; `None` for a relay this gateway does not have.
    pub(crate) fn list(&self, relay: RelayId) -> Option<AllowList> {
        let tunnel_key = self.tunnel_keys.get(&relay)?.clone();
        let published = self.published.borrow();
        let node = NodeRecord {
            index: self.node.index.0,
            epoch: self.node.epoch,
            address: self.node.address,
            tunnel_key,
        };
        Some(AllowList {
            revision: published.revision,
            ufrag_keys: published.keys.clone(),
            nodes: vec![node],
        })
    }

    /// Waits until the list is another one than `held`, which may be at once.
    pub(crate) async fn changed(&self, held: Option<u64>) {
        let mut published = self.published.subscribe();
        // The sender lives as long as `self`.
        let _ = published.wait_for(|published| held != Some(published.revision)).await;
    }

    /// A relay has said which revision it holds.
    pub(crate) fn relay_holds(&self, relay: RelayId, revision: u64) {
        self.held.send_if_modified(|held| held.insert(relay, revision) != Some(revision));
    }

    /// Seals new sessions with a new key once the relays hold it, or after [`FETCH_PATIENCE`]. The old key opens ufrags
    /// until the last session it sealed has ended.
    ///
    /// # Errors
    /// [`RotateError`].
    pub(crate) async fn rotate(self: Arc<Self>) -> Result<Rotation, RotateError> {
        let _one_at_a_time = self.rotating.try_lock().map_err(|_| RotateError::Busy)?;
        let record = self.next_key()?;
        let key = record.key().map_err(|_| RotateError::NoFreeId)?;
        let revision = self.publish(|keys| keys.push(record.clone()));
        let mut held = self.held.subscribe();
        let all = held.wait_for(|held| self.informed(held, revision) == self.tunnel_keys.len());
        // Whoever is late is counted below.
        let _ = tokio::time::timeout(FETCH_PATIENCE, all).await;
        self.sealing.change_key(key);
        self.retire_predecessor_of(record.id);
        let informed = self.informed(&self.held.borrow(), revision);
        let rotation = Rotation { key_id: record.id, relays: self.tunnel_keys.len(), informed };
        tracing::info!(key_id = record.id, relays = rotation.relays, informed, "the ufrag key was changed");
        Ok(rotation)
    }

    fn informed(&self, held: &BTreeMap<RelayId, u64>, revision: u64) -> usize {
        self.tunnel_keys.keys().filter(|relay| held.get(relay) == Some(&revision)).count()
    }

    /// A key with the next id no held key has.
    fn next_key(&self) -> Result<UfragKeyRecord, RotateError> {
        let published = self.published.borrow();
        let in_use: BTreeSet<u8> = published.keys.iter().map(|key| key.id).collect();
        let newest = published.keys.last().map_or(0, |key| key.id);
        let id = (1..KEY_IDS).map(|step| (newest + step) % KEY_IDS).find(|id| !in_use.contains(id));
        let secret = Secret::random().map_err(|_| RotateError::Random)?;
        Ok(UfragKeyRecord { id: id.ok_or(RotateError::NoFreeId)?, group: GROUP, secret })
    }

    fn publish(&self, change: impl FnOnce(&mut Vec<UfragKeyRecord>)) -> u64 {
        let mut revision = 0;
        self.published.send_modify(|published| {
            change(&mut published.keys);
            published.revision += 1;
            revision = published.revision;
        });
        revision
    }

    /// Forgets the key that `current` replaced when no session sealed with it can live any more.
    fn retire_predecessor_of(self: &Arc<Self>, current: u8) {
        let state = Arc::downgrade(self);
        let replaced = self.published.borrow().keys.iter().rev().map(|key| key.id).find(|id| *id != current);
        let Some(replaced) = replaced else { return };
        let after = self.longest_session() + RETIREMENT_GRACE;
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            if let Some(state) = state.upgrade() {
                state.publish(|keys| keys.retain(|key| key.id != replaced));
            }
        });
    }
}

impl fmt::Debug for ControlState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ControlState").field("node", &self.node).finish_non_exhaustive()
    }
}
