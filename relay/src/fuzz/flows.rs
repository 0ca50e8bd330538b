//! Sequences of operations on a flow table, and snapshots.

use std::time::{Duration, Instant};

use voxgate_protocol::id::NodeIndex;
use voxgate_protocol::path::ClientAddress;

use crate::flow::{FlowLimits, FlowTable, SessionTag};

/// Bytes of one operation: what, client, node, session, size (2), milliseconds before it (2).
const OPERATION: usize = 8;
/// Operations of one input at most; the rest is ignored.
const MOST_OPERATIONS: usize = 300;

const LIMITS: FlowLimits = FlowLimits {
    half_open_per_session: 2,
    half_open_per_host: 3,
    requests_per_host: 20,
    requests_burst: 10,
    assured_per_session: 2,
    half_open: 6,
    assured: 5,
    half_open_age: Duration::from_secs(5),
    assured_idle: Duration::from_secs(30),
    takeover_quiet: Duration::from_secs(6),
};

fn client(number: u8) -> ClientAddress {
    let socket = ([192, 0, 2, number % 4], 4000 + u16::from(number % 16));
    if number < 128 { ClientAddress::udp(socket.into()) } else { ClientAddress::tcp(socket.into()) }
}

/// Limits hold and the table's parts agree after every operation. Says whether entries are left at the end.
///
/// # Panics
/// When the invariant does not hold.
pub fn flow_table(input: &[u8]) -> bool {
    let mut now = Instant::now();
    let mut table = FlowTable::new(LIMITS, 1, now);
    let (operations, rest) = input.as_chunks::<OPERATION>();
    for operation in operations.iter().take(MOST_OPERATIONS) {
        let [what, number, node, session, size_high, size_low, time_high, time_low] = *operation;
        now += Duration::from_millis(u16::from_be_bytes([time_high, time_low]).into());
        let tag = SessionTag { node: NodeIndex(u32::from(node % 4)), session: u32::from(session % 4) };
        let (client, size) = (client(number), usize::from(u16::from_be_bytes([size_high, size_low])));
        apply(&mut table, now, what, client, tag, size);
        table.audit();
        let counts = table.counts();
        assert!(counts.half_open <= LIMITS.half_open && counts.assured <= LIMITS.assured);
    }
    let counts = table.counts();
    rest.is_empty() && counts.half_open + counts.assured > 0
}

fn apply(table: &mut FlowTable, now: Instant, what: u8, client: ClientAddress, tag: SessionTag, size: usize) {
    match what % 7 {
        0 => drop(table.request(now, client, tag, size)),
        1 => drop(table.uplink(now, client)),
        2 => {
            if table.confirm(now, client, tag).is_ok() {
                assert_eq!(table.uplink(now, client), Some(tag));
            }
        }
        3 => drop(table.reply(now, client, tag, size)),
        4 => {
            table.release(client, tag);
            assert_ne!(table.uplink(now, client), Some(tag));
        }
        5 => drop(table.expire(now)),
        _ => {
            let snapshot = table.snapshot(now);
            let mut other = FlowTable::new(LIMITS, 2, now);
            assert_eq!(other.restore(now, &snapshot), Ok(table.counts().assured));
            other.audit();
        }
    }
}

/// What restores is within the limits and gives itself back. Says whether the bytes are a snapshot.
///
/// # Panics
/// When the invariant does not hold.
pub fn snapshot(input: &[u8]) -> bool {
    let now = Instant::now();
    let mut table = FlowTable::new(LIMITS, 1, now);
    let Ok(restored) = table.restore(now, input) else {
        assert_eq!(table.counts().assured, 0);
        return false;
    };
    assert_eq!(table.counts().assured, restored);
    assert!(restored <= LIMITS.assured);
    table.audit();
    let again = table.snapshot(now);
    let mut other = FlowTable::new(LIMITS, 2, now);
    assert_eq!(other.restore(now, &again), Ok(restored));
    assert_eq!(other.snapshot(now), again);
    true
}
