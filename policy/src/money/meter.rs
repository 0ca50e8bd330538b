//! One session's usage, from the wire and from its provider, made into entries.
//!
//! While something is going on, the meter writes *marks*: estimates that are always a little ahead of what was used, so
//! that whatever a crash leaves in the ledger covers what the vendor will bill. When it ends, the marks are taken back and
//! what the provider counted is confirmed. A session that ends in the middle of an answer leaves its marks behind, to
//! be confirmed by an invoice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use voxgate_protocol::id::{ItemId, ResponseId, SessionId};
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::tenant::TenantPath;
use voxgate_protocol::timeline::Hop;
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};

use super::day::UtcDay;
use super::ledger::{Certainty, Entry, EntryId, Quantities, Source, Subject};
use super::price::{PriceError, PriceVersion, Prices};

/// How far marks are ahead of what was used: the audio a crash can make the ledger overestimate.
pub const MARK: Duration = Duration::from_secs(2);

/// Answers of which it is remembered how much was heard; older ones are certainly no longer cut.
const REMEMBERED: usize = 16;

/// What a meter is made of.
#[derive(Clone, Debug)]
pub struct MeterConfig {
    /// The session.
    pub session: SessionId,
    /// Who pays.
    pub tenant: TenantPath,
    /// Who is paid.
    pub provider: Arc<str>,
    /// For which model.
    pub model: Arc<str>,
    /// At which prices; none if the book has none and the configuration lets the session run all the same.
    pub prices: Option<Prices>,
    /// From which book.
    pub version: PriceVersion,
    /// Who turns the caller's words into text.
    pub recogniser: Recogniser,
}

/// Who serves a session, and at which prices.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who is paid.
    pub provider: Arc<str>,
    /// For which model.
    pub model: Arc<str>,
    /// At which prices; none if the book has none.
    pub prices: Option<Prices>,
    /// Who turns the caller's words into text.
    pub recogniser: Recogniser,
}

/// The model that turns the caller's words into text, where the vendor bills it apart.
#[derive(Clone, Debug)]
pub struct Recogniser {
    /// Its name.
    pub model: Arc<str>,
    /// Its prices, if the book has them.
    pub prices: Option<Prices>,
}

/// Something that is still being used.
#[derive(Clone, Copy, Debug)]
struct Running {
    /// When it began. All of it counts there: an estimate and what takes it back are of one day.
    began: Duration,
    /// Estimated so far, with marks.
    marked: NanoDollars,
    sequence: u32,
    /// The estimate for reading, of an answer.
    input: NanoDollars,
    audio: Duration,
    characters: u64,
}

impl Running {
    const fn since(began: Duration) -> Self {
        let (marked, input) = (NanoDollars::ZERO, NanoDollars::ZERO);
        Self { began, marked, sequence: 0, input, audio: Duration::ZERO, characters: 0 }
    }
}

/// An answer that is over.
#[derive(Clone, Debug)]
struct Past {
    response: ResponseId,
    began: Duration,
    item: Option<ItemId>,
    audio: Duration,
    /// What its speech cost.
    spoken: NanoDollars,
    /// How much of it is booked as unheard.
    unheard: Duration,
    booked: NanoDollars,
    corrections: u32,
}

/// One session's meter.
#[derive(Debug)]
pub struct Meter {
    config: MeterConfig,
    began: Duration,
    ticked: Duration,
    answers: BTreeMap<ResponseId, Running>,
    items: BTreeMap<ResponseId, ItemId>,
    past: VecDeque<Past>,
    recognised: VecDeque<ItemId>,
    connection: Option<Running>,
    /// The number of the next entry about a connection, if another one follows.
    sequence: u32,
    audio_in: Duration,
    /// Audio of the caller no answer has read yet.
    unread: Duration,
    /// What the last answer's reading and its own speech cost: the least the next one reads again.
    context: NanoDollars,
    cost: NanoDollars,
    entries: VecDeque<Entry>,
    has_ended: bool,
}

impl Meter {
    /// A session begins. All times are since the Unix epoch.
    #[must_use]
    pub fn new(now: Duration, config: MeterConfig) -> Self {
        let mut meter = Self {
            config,
            began: now,
            ticked: now,
            answers: BTreeMap::new(),
            items: BTreeMap::new(),
            past: VecDeque::new(),
            recognised: VecDeque::new(),
            connection: None,
            sequence: 0,
            audio_in: Duration::ZERO,
            unread: Duration::ZERO,
            context: NanoDollars::ZERO,
            cost: NanoDollars::ZERO,
            entries: VecDeque::new(),
            has_ended: false,
        };
        if meter.is_by_time() {
            meter.connection = Some(Running::since(now));
            meter.tick(now);
        }
        meter
    }

    /// What the session costs so far: the sum of its entries.
    #[must_use]
    pub const fn cost(&self) -> NanoDollars {
        self.cost
    }

    /// Whether an answer is being made.
    #[must_use]
    pub fn is_answering(&self) -> bool {
        !self.answers.is_empty()
    }

    /// The next entry for the ledger.
    pub fn poll_entry(&mut self) -> Option<Entry> {
        self.entries.pop_front()
    }

    /// When [`Meter::tick`] has something to do although nothing happens: only for models that cost by time.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let is_running = self.connection.is_some() && !self.has_ended;
        let has_clock = self.config.prices.is_some_and(|prices| prices.wire.connected_minute.is_some());
        // Twice within the half that is still covered when the next mark is due, so that the disk has time to take it.
        (is_running && has_clock).then(|| self.ticked + MARK / 4)
    }

    /// Time passed.
    pub fn tick(&mut self, now: Duration) {
        self.ticked = now;
        let (Some(prices), Some(mut running)) = (self.config.prices, self.connection) else { return };
        let connected = now.saturating_sub(self.began);
        let at = |more: Duration| self.by_time(&prices, connected + more, self.audio_in + more);
        let (soon, ahead) = (at(MARK / 2), at(MARK));
        self.mark(&Subject::Connection, &mut running, soon, ahead);
        self.connection = Some(running);
    }

    /// Audio was sent to the provider.
    pub fn listened(&mut self, now: Duration, audio: Duration) {
        self.audio_in = self.audio_in.saturating_add(audio);
        self.unread = self.unread.saturating_add(audio);
        if self.connection.is_some() {
            self.tick(now);
        }
    }

    /// An answer begins.
    pub fn answer_started(&mut self, now: Duration, response: &ResponseId) {
        if self.has_ended || self.answers.contains_key(response) || self.is_past(response) {
            return;
        }
        let mut running = Running::since(now);
        if let Some(prices) = self.config.prices {
            let heard = prices.listened_tokens(self.unread).unwrap_or_default();
            running.input = self.context.saturating_add(heard);
            let ahead = self.so_far(&prices, &running, MARK);
            self.mark(&Subject::Response(response.clone()), &mut running, ahead, ahead);
        }
        self.unread = Duration::ZERO;
        self.answers.insert(response.clone(), running);
    }

    /// A piece of an answer was generated.
    pub fn spoke(&mut self, response: &ResponseId, item: &ItemId, audio: Duration, characters: u64) {
        let Some(mut running) = self.answers.get(response).copied() else { return };
        running.audio = running.audio.saturating_add(audio);
        running.characters = running.characters.saturating_add(characters);
        if !audio.is_zero() && !self.items.contains_key(response) {
            self.items.insert(response.clone(), item.clone());
        }
        if let Some(prices) = self.config.prices {
            let [soon, ahead] = [MARK / 2, MARK].map(|more| self.so_far(&prices, &running, more));
            self.mark(&Subject::Response(response.clone()), &mut running, soon, ahead);
        }
        self.answers.insert(response.clone(), running);
    }

    /// An answer ended, and the provider says what it used, or nothing.
    pub fn answer_done(&mut self, response: &ResponseId, usage: Option<TokenUsage>) {
        let Some(running) = self.answers.remove(response) else {
            return;
        };
        let used = Quantities {
            tokens: usage.unwrap_or_default(),
            audio_out: running.audio,
            characters: running.characters,
            ..Quantities::default()
        };
        let subject = Subject::Response(response.clone());
        let Some(prices) = self.config.prices else {
            self.unpriced(running.began, subject, Hop::Model, used);
            return;
        };
        let by_wire = self.so_far(&prices, &running, Duration::ZERO);
        let counted = usage.filter(|_| prices.is_by_token() || prices.is_free);
        let (certainty, source, reckoned) = match counted {
            Some(usage) => (
                Certainty::Confirmed,
                Source::Provider,
                prices.answer(&usage).and_then(|tokens| add_wire(&prices, tokens, &running)),
            ),
            // A vendor who bills tokens and did not count them: what the wire showed has to do until the invoice.
            None if prices.is_by_token() => (Certainty::Estimated, Source::Wire, Ok(by_wire)),
            None => (Certainty::Confirmed, Source::Wire, Ok(by_wire)),
        };
        self.close(subject, Hop::Model, running, (certainty, source, reckoned), used);
        let spoken = self.spoken(&prices, usage, &running);
        if let Some(usage) = usage {
            self.context = prices.input(&usage).unwrap_or_default().saturating_add(spoken);
        }
        self.remember(response.clone(), &running, spoken);
    }

    /// From now on this model turns the caller's words into text.
    pub fn recognise_with(&mut self, recogniser: Recogniser) {
        self.config.recogniser = recogniser;
    }

    /// The caller's words were recognised, and the provider says what that used, or nothing.
    pub fn recognised(&mut self, now: Duration, item: &ItemId, usage: Option<TranscriptionUsage>) {
        let Some(usage) = usage.filter(|_| !self.recognised.contains(item)) else { return };
        self.recognised.push_back(item.clone());
        if self.recognised.len() > REMEMBERED {
            self.recognised.pop_front();
        }
        let subject = Subject::Recognition(item.clone());
        let mut used = Quantities::default();
        match usage {
            TranscriptionUsage::Tokens { input_text, input_audio, output } => {
                used.tokens =
                    TokenUsage { input_text, input_audio, output_text: output, ..TokenUsage::default() };
            }
            TranscriptionUsage::Audio(length) => used.audio_in = length,
        }
        match self.config.recogniser.prices.map(|prices| prices.recognition(&usage)) {
            Some(reckoned) => {
                let closing = (Certainty::Confirmed, Source::Provider, reckoned);
                self.close(subject, Hop::Stt, Running::since(now), closing, used);
            }
            None => self.unpriced(now, subject, Hop::Stt, used),
        }
    }

    /// Only this much of an answer was heard.
    pub fn heard(&mut self, item: &ItemId, heard: Duration) {
        let found = self.past.iter().position(|past| past.item.as_ref() == Some(item));
        let Some(index) = found else { return };
        let past = &mut self.past[index];
        let unheard = past.audio.saturating_sub(heard);
        if past.audio.is_zero() || unheard == past.unheard {
            return;
        }
        // Floor: no more is called unheard than was.
        let share =
            u128::try_from(past.spoken.get()).unwrap_or(0) * unheard.as_nanos() / past.audio.as_nanos();
        let total = NanoDollars::new(i64::try_from(share).unwrap_or(i64::MAX));
        let news = total.saturating_sub(past.booked);
        (past.unheard, past.booked) = (unheard, total);
        // Behind the entry that closed the answer, whose sequence is 0.
        past.corrections += 1;
        let (subject, sequence) = (Subject::Response(past.response.clone()), past.corrections);
        let began = past.began;
        if news != NanoDollars::ZERO {
            let entry = self.entry(
                began,
                subject,
                Hop::Model,
                (Source::Provider, sequence),
                Certainty::Confirmed,
                NanoDollars::ZERO,
            );
            self.entries.push_back(Entry { unheard: news, ..entry });
        }
    }

    /// The session is over. What was billed by time is confirmed; answers in progress stay estimated.
    pub fn end(&mut self, now: Duration) {
        if self.has_ended {
            return;
        }
        self.has_ended = true;
        self.close_connection(now);
    }

    fn close_connection(&mut self, now: Duration) {
        if let (Some(prices), Some(running)) = (self.config.prices, self.connection) {
            let connected = now.saturating_sub(self.began);
            let used = Quantities { connected, audio_in: self.audio_in, ..Quantities::default() };
            let cost = self.by_time(&prices, connected, self.audio_in);
            let closing = (Certainty::Confirmed, Source::Wire, Ok(cost));
            self.close(Subject::Connection, Hop::Model, running, closing, used);
            // The marks taken back and the closing entry have numbers of their own.
            self.sequence = running.sequence + 2;
        }
    }

    /// From now on another provider serves the session. What the one before is owed by time is confirmed.
    pub fn serve_by(&mut self, now: Duration, service: Service) {
        if self.has_ended {
            return;
        }
        self.close_connection(now);
        let Service { provider, model, prices, recogniser } = service;
        self.config = MeterConfig { provider, model, prices, recogniser, ..self.config.clone() };
        (self.began, self.audio_in) = (now, Duration::ZERO);
        let sequence = self.sequence;
        self.connection = self.is_by_time().then(|| Running { sequence, ..Running::since(now) });
        self.tick(now);
    }

    fn is_by_time(&self) -> bool {
        let wire = self.config.prices.map(|prices| prices.wire).unwrap_or_default();
        wire.connected_minute.is_some() || wire.input_audio_minute.is_some()
    }

    fn is_past(&self, response: &ResponseId) -> bool {
        self.past.iter().any(|past| past.response == *response)
    }

    fn by_time(&self, prices: &Prices, connected: Duration, audio: Duration) -> NanoDollars {
        let connected = prices.connected(connected).unwrap_or_default();
        connected.saturating_add(prices.listened(audio).unwrap_or_default())
    }

    /// What an answer seems to cost once this much more of it is spoken.
    fn so_far(&self, prices: &Prices, running: &Running, more: Duration) -> NanoDollars {
        let spoken = prices.spoken(running.audio.saturating_add(more), running.characters);
        running.input.saturating_add(spoken.unwrap_or_default())
    }

    fn spoken(&self, prices: &Prices, usage: Option<TokenUsage>, running: &Running) -> NanoDollars {
        match usage.filter(|_| prices.is_by_token()) {
            Some(usage) => prices.spoken_tokens(usage.output_audio).unwrap_or_default(),
            None => prices.spoken(running.audio, running.characters).unwrap_or_default(),
        }
    }

    fn remember(&mut self, response: ResponseId, running: &Running, spoken: NanoDollars) {
        let item = self.items.remove(&response);
        let (unheard, booked) = (Duration::ZERO, NanoDollars::ZERO);
        let Running { began, audio, .. } = *running;
        self.past.push_back(Past { response, began, item, audio, spoken, unheard, booked, corrections: 0 });
        if self.past.len() > REMEMBERED {
            self.past.pop_front();
        }
    }

    /// Estimates up to `ahead`, once what will `soon` be used reaches the last mark: a mark that a crash keeps from the disk
    /// is then still covered by the one before it. Both are reckoned alike, so that no rounding puts a mark off.
    fn mark(&mut self, subject: &Subject, running: &mut Running, soon: NanoDollars, ahead: NanoDollars) {
        if soon < running.marked || ahead <= running.marked {
            return;
        }
        let amount = ahead.saturating_sub(running.marked);
        let name = (Source::Wire, running.sequence);
        let entry =
            self.entry(running.began, subject.clone(), Hop::Model, name, Certainty::Estimated, amount);
        self.post(entry);
        running.marked = ahead;
        running.sequence += 1;
    }

    /// Takes the marks back and writes down what it came to.
    fn close(
        &mut self,
        subject: Subject,
        hop: Hop,
        running: Running,
        (certainty, source, reckoned): (Certainty, Source, Result<NanoDollars, PriceError>),
        used: Quantities,
    ) {
        let Ok(amount) = reckoned else {
            // The marks stay: what has no price is not free.
            self.unpriced(running.began, subject, hop, used);
            return;
        };
        let mut sequence = running.sequence;
        if running.marked != NanoDollars::ZERO {
            let back = NanoDollars::ZERO.saturating_sub(running.marked);
            let name = (Source::Wire, sequence);
            let entry = self.entry(running.began, subject.clone(), hop, name, Certainty::Estimated, back);
            self.post(entry);
            sequence += 1;
        }
        let sequence = if source == Source::Wire { sequence } else { 0 };
        let entry = self.entry(running.began, subject, hop, (source, sequence), certainty, amount);
        self.post(Entry { used, ..entry });
    }

    fn unpriced(&mut self, now: Duration, subject: Subject, hop: Hop, used: Quantities) {
        let name = (Source::Provider, 0);
        let entry = self.entry(now, subject, hop, name, Certainty::Unpriced, NanoDollars::ZERO);
        self.entries.push_back(Entry { used, ..entry });
    }

    fn post(&mut self, entry: Entry) {
        self.cost = self.cost.saturating_add(entry.amount);
        self.entries.push_back(entry);
    }

    fn entry(
        &self,
        now: Duration,
        subject: Subject,
        hop: Hop,
        (source, sequence): (Source, u32),
        certainty: Certainty,
        amount: NanoDollars,
    ) -> Entry {
        let config = &self.config;
        let model = if hop == Hop::Stt { &config.recogniser.model } else { &config.model };
        Entry {
            id: EntryId { session: config.session.clone(), subject, source, sequence },
            tenant: config.tenant.clone(),
            provider: Arc::clone(&config.provider),
            model: Arc::clone(model),
            hop,
            day: UtcDay::of(now),
            at: now,
            prices: Arc::clone(&config.version),
            certainty,
            amount,
            unheard: NanoDollars::ZERO,
            used: Quantities::default(),
        }
    }
}

/// A vendor may bill the length of the speech or its characters beside its tokens.
fn add_wire(prices: &Prices, tokens: NanoDollars, running: &Running) -> Result<NanoDollars, PriceError> {
    let wire = Prices { tokens: super::price::TokenPrices::default(), ..*prices };
    let by_wire = wire.spoken(running.audio, running.characters)?;
    tokens.checked_add(by_wire).ok_or(PriceError::Overflow)
}

#[cfg(test)]
mod tests;
