//! The flow table against a model that is too slow to be wrong.

use proptest::prelude::*;

use super::*;

const LIMITS: FlowLimits = FlowLimits {
    half_open_per_session: 2,
    assured_per_session: 2,
    half_open: 5,
    assured: 4,
    half_open_age: Duration::from_millis(50),
    assured_idle: Duration::from_millis(300),
    takeover_quiet: Duration::from_millis(60),
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
    client: SocketAddr,
    tag: SessionTag,
    bytes_in: usize,
    bytes_out: usize,
    made: Instant,
}

#[derive(Debug)]
struct ModelFlow {
    client: SocketAddr,
    tag: SessionTag,
    from_client: Instant,
    from_node: Instant,
}

/// Entries in the order they were made; every rule is a search through all of them.
#[derive(Debug, Default)]
struct Model {
    half: Vec<ModelHalf>,
    flows: Vec<ModelFlow>,
}

impl Model {
    fn flow(&mut self, client: SocketAddr) -> Option<&mut ModelFlow> {
        self.flows.iter_mut().find(|flow| flow.client == client)
    }

    fn request(
        &mut self,
        now: Instant,
        client: SocketAddr,
        tag: SessionTag,
        bytes: usize,
    ) -> Result<(), FlowRefusal> {
        if let Some(flow) = self.flow(client).filter(|flow| flow.tag.node == tag.node) {
            flow.from_client = now;
            return Ok(());
        }
        if let Some(half) = self.half.iter_mut().find(|half| half.client == client && half.tag == tag) {
            half.bytes_in += bytes;
            return Ok(());
        }
        if self.half.iter().filter(|half| half.tag == tag).count() == LIMITS.half_open_per_session {
            let oldest = self.half.iter().position(|half| half.tag == tag).unwrap();
            self.half.remove(oldest);
        }
        if self.half.len() == LIMITS.half_open {
            return Err(FlowRefusal::Full);
        }
        self.half.push(ModelHalf { client, tag, bytes_in: bytes, bytes_out: 0, made: now });
        Ok(())
    }

    fn confirm(
        &mut self,
        now: Instant,
        client: SocketAddr,
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
            let silent = of_session.min_by_key(|flow| flow.from_client.max(flow.from_node)).unwrap().client;
            self.flows.retain(|flow| flow.client != silent);
        }
        self.flows.push(ModelFlow { client, tag, from_client: now, from_node: now });
        Ok(confirmation)
    }

    fn reply(
        &mut self,
        now: Instant,
        client: SocketAddr,
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

    fn release(&mut self, client: SocketAddr, tag: SessionTag) -> bool {
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

fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 4000))
}

fn steps() -> impl Strategy<Value = Step> {
    let client = 0_u8..7;
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
        script in proptest::collection::vec((steps(), 1_u64..40), 1..120), seed: u128,
    ) {
        let mut table = FlowTable::new(LIMITS, seed);
        let mut model = Model::default();
        let mut now = Instant::now();
        for (step, millis) in script {
            now += Duration::from_millis(millis);
            let (real, ideal) = apply(&mut table, &mut model, now, step);
            prop_assert_eq!(real, ideal, "{:?}", step);
            prop_assert_eq!(table.half_open_count(), model.half.len());
            prop_assert_eq!(table.assured_count(), model.flows.len());
            prop_assert_eq!(table.expiry.len(), model.half.len() + model.flows.len());
            let listed: usize = {
                let tags: std::collections::BTreeSet<_> =
                    model.half.iter().map(|half| half.tag).chain(model.flows.iter().map(|flow| flow.tag)).collect();
                prop_assert_eq!(table.sessions.len(), tags.len());
                tags.iter().map(|tag| &table.sessions[tag]).map(|s| s.half_open.len() + s.assured.len()).sum()
            };
            prop_assert_eq!(listed, model.half.len() + model.flows.len());
        }
    }
}
