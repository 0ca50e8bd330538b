//! The flow table against a model that is too slow to be wrong.

use proptest::prelude::*;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use voxgate_protocol::path::ClientAddress;

use super::rate::bucket;
use super::table::LIVELY;
use super::*;

const LIMITS: FlowLimits = FlowLimits {
    half_open_per_session: 2,
    half_open_per_host: 3,
    requests_per_host: 4,
    requests_burst: 6,
    assured_per_session: 2,
    half_open: 5,
    assured: 4,
    half_open_age: Duration::from_millis(500),
    assured_idle: Duration::from_secs(9),
    takeover_quiet: Duration::from_millis(600),
};

#[derive(Clone, Copy, Debug)]
enum Step {
    Request(u8, SessionTag, usize),
    Uplink(u8),
    Confirm(u8, SessionTag),
    Reply(u8, SessionTag, usize),
    Release(u8, SessionTag),
    Expire,
}

#[derive(Debug)]
struct ModelHalf {
    client: ClientAddress,
    tag: SessionTag,
    bytes_in: usize,
    bytes_out: usize,
    made: Instant,
}

#[derive(Debug)]
struct ModelFlow {
    client: ClientAddress,
    tag: SessionTag,
    from_client: Instant,
    from_node: Instant,
}

/// Entries in the order they were made; every rule is a search through all of them.
#[derive(Default)]
struct Model {
    half: Vec<ModelHalf>,
    flows: Vec<ModelFlow>,
    /// What each host may still send, in time, and when that was true; hosts by their bucket.
    credit: BTreeMap<usize, (Duration, Instant)>,
    keyed: Option<Keyed>,
}

impl Model {
    fn flow(&mut self, client: ClientAddress) -> Option<&mut ModelFlow> {
        self.flows.iter_mut().find(|flow| flow.client == client)
    }

    fn pays(&mut self, now: Instant, client: ClientAddress) -> bool {
        let one = Duration::from_secs(1) / LIMITS.requests_per_host;
        let most = one * LIMITS.requests_burst;
        let host = bucket(&self.keyed.unwrap(), Key::new(client).source());
        let (credit, then) = self.credit.entry(host).or_insert((most, now));
        *credit = (*credit + (now - *then)).min(most);
        *then = now;
        let paid = credit.checked_sub(one);
        *credit = paid.unwrap_or(*credit);
        paid.is_some()
    }

    /// Removes the oldest half-open entry of those that match when there are as many as allowed.
    fn make_room(&mut self, allowed: usize, matches: impl Fn(&ModelHalf) -> bool) -> bool {
        let full = self.half.iter().filter(|half| matches(half)).count() == allowed;
        if full {
            let oldest = self.half.iter().position(matches).unwrap();
            self.half.remove(oldest);
        }
        full
    }

    fn request(
        &mut self,
        now: Instant,
        client: ClientAddress,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<Admission, FlowRefusal> {
        if let Some(flow) = self.flow(client).filter(|flow| flow.tag.node == tag.node) {
            flow.from_client = now;
            return Ok(Admission::Known);
        }
        if !self.pays(now, client) {
            return Err(FlowRefusal::Rate);
        }
        if let Some(half) = self.half.iter_mut().find(|half| half.client == client && half.tag == tag) {
            half.bytes_in += bytes;
            return Ok(Admission::Known);
        }
        let mut admission = Admission::Opened;
        let host = client.socket.ip();
        if self.make_room(LIMITS.half_open_per_host, |half| half.client.socket.ip() == host) {
            admission = Admission::ReplacedOfHost;
        }
        if self.make_room(LIMITS.half_open_per_session, |half| half.tag == tag) {
            admission = Admission::ReplacedOfSession;
        }
        if self.half.len() == LIMITS.half_open {
            return Err(FlowRefusal::Full);
        }
        self.half.push(ModelHalf { client, tag, bytes_in: bytes, bytes_out: 0, made: now });
        Ok(admission)
    }

    fn confirm(
        &mut self,
        now: Instant,
        client: ClientAddress,
        tag: SessionTag,
    ) -> Result<Confirmation, FlowRefusal> {
        let known = self.flow(client).map(|flow| (flow.tag, flow.from_node));
        let confirmation = match known {
            Some((owner, _)) if owner == tag => {
                self.flow(client).unwrap().from_node = now;
                return Ok(Confirmation::Kept);
            }
            Some((owner, heard)) if owner.node != tag.node && heard + LIMITS.takeover_quiet > now => {
                return Err(FlowRefusal::Owned);
            }
            Some(_) => Confirmation::Moved,
            None if self.flows.len() == LIMITS.assured => return Err(FlowRefusal::Full),
            None => Confirmation::Created,
        };
        self.flows.retain(|flow| flow.client != client);
        self.half.retain(|half| (half.client, half.tag) != (client, tag));
        let of_session = self.flows.iter().filter(|flow| flow.tag == tag);
        if of_session.clone().count() == LIMITS.assured_per_session {
            let last = |flow: &ModelFlow| flow.from_client.max(flow.from_node);
            let silent = of_session.clone().min_by_key(|flow| last(flow)).unwrap();
            let youngest = of_session.clone().next_back().unwrap();
            let replaced = if now - last(silent) >= LIVELY { silent } else { youngest }.client;
            self.flows.retain(|flow| flow.client != replaced);
        }
        self.flows.push(ModelFlow { client, tag, from_client: now, from_node: now });
        Ok(confirmation)
    }

    fn reply(
        &mut self,
        now: Instant,
        client: ClientAddress,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<(), FlowRefusal> {
        if let Some(flow) = self.flow(client).filter(|flow| flow.tag.node == tag.node) {
            flow.from_node = now;
            return Ok(());
        }
        match self.half.iter_mut().find(|half| half.client == client && half.tag == tag) {
            Some(half) if half.bytes_out + bytes <= half.bytes_in => {
                half.bytes_out += bytes;
                Ok(())
            }
            _ => Err(FlowRefusal::Budget),
        }
    }

    fn release(&mut self, client: ClientAddress, tag: SessionTag) -> bool {
        let before = self.half.len() + self.flows.len();
        self.half.retain(|half| (half.client, half.tag) != (client, tag));
        self.flows.retain(|flow| (flow.client, flow.tag) != (client, tag));
        self.half.len() + self.flows.len() < before
    }

    fn expire(&mut self, now: Instant) -> Expired {
        let (half, flows) = (self.half.len(), self.flows.len());
        self.half.retain(|half| half.made + LIMITS.half_open_age > now);
        self.flows.retain(|flow| flow.from_client.max(flow.from_node) + LIMITS.assured_idle > now);
        Expired { half_open: (half - self.half.len()) as u64, assured: (flows - self.flows.len()) as u64 }
    }
}

fn address(number: u8) -> ClientAddress {
    ClientAddress::udp(SocketAddr::from(([192, 0, 2, number % 3], 4000 + u16::from(number))))
}

fn steps() -> impl Strategy<Value = Step> {
    let client = 0_u8..9;
    let tag = (0_u32..3, 0_u32..2).prop_map(|(node, session)| SessionTag { node: NodeIndex(node), session });
    prop_oneof![
        4 => (client.clone(), tag.clone(), 1_usize..200).prop_map(|(c, t, n)| Step::Request(c, t, n)),
        2 => client.clone().prop_map(Step::Uplink),
        3 => (client.clone(), tag.clone()).prop_map(|(c, t)| Step::Confirm(c, t)),
        3 => (client.clone(), tag.clone(), 1_usize..200).prop_map(|(c, t, n)| Step::Reply(c, t, n)),
        1 => (client, tag).prop_map(|(c, t)| Step::Release(c, t)),
        1 => Just(Step::Expire),
    ]
}

/// Both sides of a step, as text, so that one comparison serves every kind of result.
fn apply(table: &mut FlowTable, model: &mut Model, now: Instant, step: Step) -> (String, String) {
    match step {
        Step::Request(c, tag, n) => {
            let (real, ideal) =
                (table.request(now, address(c), tag, n), model.request(now, address(c), tag, n));
            (format!("{real:?}"), format!("{ideal:?}"))
        }
        Step::Uplink(c) => {
            let ideal = model.flow(address(c)).map(|flow| {
                flow.from_client = now;
                flow.tag
            });
            (format!("{:?}", table.uplink(now, address(c))), format!("{ideal:?}"))
        }
        Step::Confirm(c, tag) => {
            let (real, ideal) = (table.confirm(now, address(c), tag), model.confirm(now, address(c), tag));
            (format!("{real:?}"), format!("{ideal:?}"))
        }
        Step::Reply(c, tag, n) => {
            let (real, ideal) = (table.reply(now, address(c), tag, n), model.reply(now, address(c), tag, n));
            (format!("{real:?}"), format!("{ideal:?}"))
        }
        Step::Release(c, tag) => {
            (table.release(address(c), tag).to_string(), model.release(address(c), tag).to_string())
        }
        Step::Expire => (format!("{:?}", table.expire(now)), format!("{:?}", model.expire(now))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn the_table_does_what_the_model_does(
        script in proptest::collection::vec((steps(), prop_oneof![0_u64..400, 0_u64..4000]), 1..120), seed: u128,
    ) {
        let mut now = Instant::now();
        let mut table = FlowTable::new(LIMITS, seed, now);
        let mut model = Model { keyed: Some(table.keyed()), ..Model::default() };
        let mut remembered = BTreeMap::new();
        for (step, millis) in script {
            now += Duration::from_millis(millis);
            let (real, ideal) = apply(&mut table, &mut model, now, step);
            prop_assert_eq!(real, ideal, "{:?}", step);
            prop_assert_eq!(table.counts(), FlowCounts { half_open: model.half.len(), assured: model.flows.len() });
            table.audit();
            for number in 0..9 {
                // What a lane remembers of an address is true for as long as its generation stands.
                let hash = table.keyed().of(&Key::new(address(number)));
                let generation = table.generations().of(hash);
                let tag = model.flow(address(number)).map(|flow| flow.tag);
                let known = remembered.insert((number, generation), tag);
                prop_assert!(known.is_none_or(|known| known == tag), "{:?}", step);
            }
        }
    }

    #[test]
    fn a_snapshot_gives_back_the_flows_it_was_made_of(script in proptest::collection::vec((steps(), prop_oneof![0_u64..400, 0_u64..4000]), 1..120)) {
        let mut now = Instant::now();
        let mut table = FlowTable::new(LIMITS, 1, now);
        let mut model = Model { keyed: Some(table.keyed()), ..Model::default() };
        for (step, millis) in script {
            now += Duration::from_millis(millis);
            apply(&mut table, &mut model, now, step);
        }
        let mut other = FlowTable::new(LIMITS, 2, now);
        prop_assert_eq!(other.restore(now, &table.snapshot(now)), Ok(model.flows.len()));
        other.audit();
        prop_assert_eq!(other.snapshot(now), table.snapshot(now));
        while let Some(flow) = model.flows.pop() {
            prop_assert_eq!(other.uplink(now, flow.client), Some(flow.tag));
        }
    }
}
