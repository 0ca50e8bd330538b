//! A day of ten thousand sessions, in virtual time, with crashes.
//!
//! Sessions of fifty tenants talk to three models through one node. The node is killed again and again, at any point
//! between meter, outbox and store, and starts again with what was on its disk. A provider on the other side keeps its own
//! count of what it will bill. Three things must hold: what was confirmed equals an independent recount to the
//! nano-dollar; whatever a crash cut off is covered by an estimate; and once invoices have settled the estimates, the
//! ledger equals the provider's bill to the nano-dollar.
//!
//! `VOXGATE_MONEY_SEED=n` plays the day of one seed again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::id::{IdSource, ItemId, ResponseId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::usage::TokenUsage;

use super::day::UtcDay;
use super::ledger::{
    Certainty, Entry, EntryId, MemoryLedger, Quantities, Source, Subject, confirmed_by_invoice, totals_by,
};
use super::meter::{Meter, MeterConfig, Recogniser};
use super::outbox::Outbox;
use super::price::PriceBook;

const SESSIONS: usize = 10_000;
const MIDNIGHT: Duration = Duration::from_secs(20_778 * 86_400);
const CRASHES: u64 = 60;
const MODELS: [&str; 3] = ["gpt-realtime-2.1", "gpt-realtime-2.1-mini", "gpt-live-1"];
/// Entries are sent to the store in batches of this many.
const BATCH: usize = 16;

/// The process was killed.
struct Killed;

/// What a provider will bill, and what this test knows of it.
#[derive(Clone)]
struct Bill {
    tenant: TenantPath,
    model: usize,
    /// By this test's own reckoning from the price list.
    nano: u128,
    /// The node had finished with it before it was killed, if ever it was.
    is_finished: bool,
}

/// What survives a kill.
#[derive(Default)]
struct Disk {
    outbox: Vec<Entry>,
    ledger: MemoryLedger,
}

/// One session of the running process.
struct Live {
    meter: Meter,
    model: usize,
    tenant: TenantPath,
    began: Duration,
    turns_left: u64,
    answer: Option<Talk>,
    answers: u64,
    is_over: bool,
    /// Tokens the next answer reads again, from the cache.
    context: u64,
}

/// An answer being spoken.
struct Talk {
    response: ResponseId,
    item: ItemId,
    read: u64,
    seconds_left: u64,
    spoken: u64,
}

struct World {
    random: IdSource,
    book: PriceBook,
    disk: Disk,
    outbox: Outbox,
    live: BTreeMap<usize, Live>,
    /// What happens next, and to whom.
    agenda: BTreeSet<(Duration, usize)>,
    bills: BTreeMap<(usize, Subject), Bill>,
    /// Steps between meter, outbox and store so far, and the one at which the process is killed.
    steps: u64,
    /// Whose entries the last act put on the disk.
    kept: Option<usize>,
    killed_at: u64,
    kills: BTreeMap<&'static str, u32>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = IdSource::new(seed);
        let second = |random: &mut IdSource| Duration::from_secs(random.next_seed() % 86_000);
        let agenda = (0..SESSIONS).map(|number| (MIDNIGHT + second(&mut random), number)).collect();
        let killed_at = random.next_seed() % 4_000;
        Self {
            random,
            book: PriceBook::built_in().unwrap(),
            disk: Disk::default(),
            outbox: Outbox::new(1_000_000),
            live: BTreeMap::new(),
            agenda,
            bills: BTreeMap::new(),
            steps: 0,
            kept: None,
            killed_at,
            kills: BTreeMap::new(),
        }
    }

    fn draw(&mut self, low: u64, high: u64) -> u64 {
        low + self.random.next_seed() % (high - low)
    }

    /// A point at which the process can die.
    fn step(&mut self, place: &'static str) -> Result<(), Killed> {
        self.steps += 1;
        if self.steps != self.killed_at {
            return Ok(());
        }
        *self.kills.entry(place).or_default() += 1;
        Err(Killed)
    }

    /// Lives through the day.
    fn run(&mut self) {
        while let Some((now, number)) = self.agenda.pop_first() {
            if self.act(now, number).is_err() {
                self.restart(now);
            }
        }
        while !self.outbox.is_empty() {
            if self.deliver().is_err() {
                self.restart(MIDNIGHT + Duration::from_secs(86_400));
            }
        }
    }

    /// Whatever was in memory is gone; the disk is as it was. Callers hang up and do not come back; their connections end
    /// with the process.
    fn restart(&mut self, now: Duration) {
        for (number, session) in std::mem::take(&mut self.live) {
            let is_kept = self.kept == Some(number);
            if MODELS[session.model] == "gpt-live-1" {
                self.bill_time(number, &session, now, is_kept && session.is_over);
            }
            if let Some(talk) = &session.answer {
                self.bill_answer(number, &session, talk, is_kept && talk.seconds_left == 0);
            }
            self.agenda.retain(|(_, other)| *other != number);
        }
        self.outbox = Outbox::recovered(self.disk.outbox.clone(), 1_000_000);
        self.killed_at = if self.kills.values().sum::<u32>() < CRASHES as u32 {
            self.steps + self.draw(1, 20_000)
        } else {
            0
        };
    }

    fn act(&mut self, now: Duration, number: usize) -> Result<(), Killed> {
        self.kept = None;
        let Some(mut session) = self.live.remove(&number) else {
            return self.begin(now, number);
        };
        let next = self.talk(now, number, &mut session);
        if next.is_none() {
            session.meter.end(now);
            session.is_over = true;
        }
        let entries: Vec<Entry> = std::iter::from_fn(|| session.meter.poll_entry()).collect();
        self.live.insert(number, session);
        self.keep(number, entries)?;
        let Some(mut session) = self.live.remove(&number) else { return Ok(()) };
        if let Some(talk) = session.answer.take_if(|talk| talk.seconds_left == 0 || next.is_none()) {
            self.bill_answer(number, &session, &talk, talk.seconds_left == 0);
            session.context += talk.read + talk.spoken * 20;
        }
        match next {
            Some(at) => {
                self.agenda.insert((at, number));
                self.live.insert(number, session);
            }
            None if MODELS[session.model] == "gpt-live-1" => self.bill_time(number, &session, now, true),
            None => {}
        }
        self.deliver()
    }

    fn begin(&mut self, now: Duration, number: usize) -> Result<(), Killed> {
        let model = self.draw(0, 3) as usize;
        let tenant = TenantPath {
            organisation: OrganisationId::new(&format!("org-{}", self.draw(0, 10))).unwrap(),
            team: TeamId::new(&format!("team-{}", self.draw(0, 5))).unwrap(),
            key: KeyId::default(),
            agent: None,
        };
        let prices = self.book.find("openai", MODELS[model], UtcDay::of(now)).unwrap();
        let config = MeterConfig {
            session: format!("sess_{number}").into(),
            tenant: tenant.clone(),
            provider: "openai".into(),
            model: MODELS[model].into(),
            prices: Some(*prices),
            version: Arc::clone(self.book.version()),
            recogniser: Recogniser { model: "".into(), prices: None },
        };
        let mut meter = Meter::new(now, config);
        let entries: Vec<Entry> = std::iter::from_fn(|| meter.poll_entry()).collect();
        let turns_left = self.draw(1, 7);
        let live = Live {
            meter,
            model,
            tenant,
            began: now,
            turns_left,
            answer: None,
            answers: 0,
            is_over: false,
            context: 0,
        };
        self.live.insert(number, live);
        self.keep(number, entries)?;
        let first = now + Duration::from_secs(self.draw(1, 10));
        self.agenda.insert((first, number));
        self.deliver()
    }

    /// One step of a conversation. The time of the next one; none if the session is over.
    fn talk(&mut self, now: Duration, number: usize, session: &mut Live) -> Option<Duration> {
        session.meter.tick(now);
        let is_impatient = self.draw(0, 40) == 0;
        let Some(talk) = &mut session.answer else {
            if session.turns_left == 0 {
                return None;
            }
            session.turns_left -= 1;
            session.answers += 1;
            let heard = self.draw(1, 8);
            session.meter.listened(now, Duration::from_secs(heard));
            let response = ResponseId::from(format!("resp_{number}_{}", session.answers));
            session.meter.answer_started(now, &response);
            let item = ItemId::from(format!("item_{number}_{}", session.answers));
            let seconds_left = self.draw(1, 15);
            session.answer = Some(Talk { response, item, read: heard * 10, seconds_left, spoken: 0 });
            return Some(now + Duration::from_secs(1));
        };
        // A caller who leaves in the middle of an answer: nobody ever counts it.
        if is_impatient && talk.seconds_left > 1 {
            return None;
        }
        talk.seconds_left -= 1;
        talk.spoken += 1;
        session.meter.spoke(now, &talk.response, &talk.item, Duration::from_secs(1), 15);
        if talk.seconds_left > 0 {
            return Some(now + Duration::from_secs(1));
        }
        let usage = TokenUsage {
            input_audio: talk.read + session.context,
            cached_audio: session.context,
            output_text: talk.spoken * 3,
            output_audio: talk.spoken * 20,
            ..TokenUsage::default()
        };
        session.meter.answer_done(now, &talk.response, Some(usage));
        Some(now + Duration::from_secs(self.draw(1, 20)))
    }

    /// Entries go to the disk, and are then in the outbox.
    fn keep(&mut self, number: usize, entries: Vec<Entry>) -> Result<(), Killed> {
        // What is said together is written together: the end of an estimate and what it came to are one record.
        if entries.is_empty() {
            return Ok(());
        }
        self.step("between meter and outbox")?;
        self.disk.outbox.extend(entries.iter().cloned());
        self.kept = Some(number);
        for entry in entries {
            assert!(self.outbox.push(entry));
        }
        self.step("after the outbox")
    }

    /// A batch goes to the store, and leaves the outbox when the store has it.
    fn deliver(&mut self) -> Result<(), Killed> {
        let batch = self.outbox.batch(BATCH);
        if batch.is_empty() {
            return Ok(());
        }
        self.step("before the store")?;
        for entry in &batch {
            self.disk.ledger.append(entry).unwrap_or_else(|error| panic!("{error}"));
            self.step("inside the store")?;
        }
        self.step("before the acknowledgement")?;
        let ids: BTreeSet<EntryId> = batch.into_iter().map(|entry| entry.id).collect();
        self.outbox.acknowledge(&ids);
        self.disk.outbox.retain(|entry| !ids.contains(&entry.id));
        Ok(())
    }

    fn bill_answer(&mut self, number: usize, session: &Live, talk: &Talk, is_finished: bool) {
        let (audio, cached, written, spoken) = match session.model {
            0 => (32_000, 400, 24_000, 64_000),
            1 => (10_000, 300, 2_400, 20_000),
            // Billed by time: the answer itself is free.
            _ => return,
        };
        let nano = talk.read * audio
            + session.context * cached
            + talk.spoken * 3 * written
            + talk.spoken * 20 * spoken;
        let bill = Bill {
            tenant: session.tenant.clone(),
            model: session.model,
            nano: u128::from(nano),
            is_finished,
        };
        let subject = Subject::Response(talk.response.clone());
        assert!(self.bills.insert((number, subject), bill).is_none(), "billed twice");
    }

    fn bill_time(&mut self, number: usize, session: &Live, now: Duration, is_finished: bool) {
        let length = (now - session.began).as_nanos().max(15_000_000_000);
        let nano = (50_000_000 * length).div_ceil(60_000_000_000);
        let bill = Bill { tenant: session.tenant.clone(), model: session.model, nano, is_finished };
        assert!(self.bills.insert((number, Subject::Connection), bill).is_none(), "billed twice");
    }
}

/// What the ledger holds, by tenant and model.
fn ledger_of(world: &World) -> BTreeMap<(TenantPath, String), (u128, u128)> {
    let key = |entry: &Entry| (entry.tenant.clone(), entry.model.to_string());
    let totals = totals_by(world.disk.ledger.entries(), key).unwrap();
    let whole = |amount: NanoDollars| u128::try_from(amount.get()).unwrap();
    let totals =
        totals.into_iter().map(|(key, totals)| (key, (whole(totals.confirmed), whole(totals.estimated))));
    totals.filter(|(_, sums)| *sums != (0, 0)).collect()
}

/// What bills add up to, by tenant and model.
fn recount(world: &World, takes: impl Fn(&Bill) -> bool) -> BTreeMap<(TenantPath, String), u128> {
    let mut sums = BTreeMap::new();
    for bill in world.bills.values().filter(|bill| takes(bill)) {
        *sums.entry((bill.tenant.clone(), MODELS[bill.model].to_owned())).or_default() += bill.nano;
    }
    sums.retain(|_, sum| *sum != 0);
    sums
}

/// Settles every bill the node had not finished with. Gives how many the ledger had estimated, and how many it did not
/// know at all, because the process was killed before the first estimate reached the disk.
fn settle_invoices(world: &mut World, seed: u64) -> (u32, u32) {
    let (mut estimated, mut unknown) = (0, 0);
    let day = UtcDay::of(MIDNIGHT + Duration::from_secs(86_400));
    let open: BTreeMap<(String, Subject), (Entry, NanoDollars)> = world
        .disk
        .ledger
        .open_estimates()
        .into_iter()
        .map(|(entry, sum)| ((entry.id.session.to_string(), entry.id.subject.clone()), (entry.clone(), sum)))
        .collect();
    for ((number, subject), bill) in world.bills.clone() {
        if bill.is_finished {
            continue;
        }
        let billed = NanoDollars::new(i64::try_from(bill.nano).unwrap());
        if let Some((entry, sum)) = open.get(&(format!("sess_{number}"), subject.clone())) {
            estimated += 1;
            let is_covered = *sum >= billed || subject == Subject::Connection;
            assert!(is_covered, "seed {seed}: {} was estimated at {sum} and costs {billed}", entry.id);
            for entry in confirmed_by_invoice(entry, *sum, billed, day).unwrap() {
                world.disk.ledger.append(&entry).unwrap();
            }
        } else {
            unknown += 1;
            let id = EntryId {
                session: format!("sess_{number}").into(),
                subject,
                source: Source::Invoice,
                sequence: 1,
            };
            let entry = Entry {
                id,
                tenant: bill.tenant,
                provider: "openai".into(),
                model: MODELS[bill.model].into(),
                hop: Hop::Model,
                day,
                prices: Arc::clone(world.book.version()),
                certainty: Certainty::Confirmed,
                amount: billed,
                unheard: NanoDollars::ZERO,
                used: Quantities::default(),
            };
            world.disk.ledger.append(&entry).unwrap();
        }
    }
    (estimated, unknown)
}

#[test]
fn the_ledger_of_a_day_of_ten_thousand_sessions_with_crashes_equals_a_recount_to_the_nano_dollar() {
    let seed =
        std::env::var("VOXGATE_MONEY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    let mut world = World::new(seed);
    world.run();

    let confirmed: BTreeMap<_, _> = ledger_of(&world)
        .into_iter()
        .filter_map(|(key, (confirmed, _))| (confirmed != 0).then_some((key, confirmed)))
        .collect();
    assert!(confirmed == recount(&world, |bill| bill.is_finished), "seed {seed}: what was confirmed differs");

    let (estimated, unknown) = settle_invoices(&mut world, seed);
    let settled = ledger_of(&world);
    assert!(settled.values().all(|(_, estimated)| *estimated == 0), "seed {seed}: an estimate is still open");
    let settled: BTreeMap<_, _> = settled.into_iter().map(|(key, (confirmed, _))| (key, confirmed)).collect();
    assert!(
        settled == recount(&world, |_| true),
        "seed {seed}: the ledger differs from the provider's bills"
    );

    let entries = world.disk.ledger.entries().count();
    let total: u128 = settled.values().sum();
    println!(
        "seed {seed}: {entries} entries, {} bills, {total} nano-dollars, {estimated} settled from estimates, \
         {unknown} from the invoice alone; killed {:?}",
        world.bills.len(),
        world.kills
    );
    assert!(world.kills.len() == 5, "seed {seed}: some place was never struck: {:?}", world.kills);
    assert!(estimated > 100, "seed {seed}: hardly anything was cut off");
}
