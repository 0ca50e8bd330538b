//! What a model costs, and the dated book of such prices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::usage::{TokenUsage, TranscriptionUsage};

use crate::money::day::UtcDay;
use crate::routing::ModelPattern;

const TOKENS: u128 = 1_000_000;
/// Of text, for estimates: a token of English is about four characters.
const CHARACTERS_PER_TOKEN: u64 = 4;
const NANOSECONDS_PER_MINUTE: u128 = 60_000_000_000;

/// The prices that come with voxgate.
const BUILT_IN: &str = include_str!("../../prices.yaml");

/// Why something has no price.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PriceError {
    /// No entry of the book is valid for the model on this day.
    #[error("the price book has no price for the model {model:?} of {vendor:?} on {day}")]
    Unknown {
        /// Whose model.
        vendor: String,
        /// Which.
        model: String,
        /// When.
        day: UtcDay,
    },
    /// The model's entry says nothing about this kind of usage.
    #[error("the price book does not say what {0} costs")]
    Unpriced(&'static str),
    /// More than an amount can hold.
    #[error("the cost is beyond nine billion dollars")]
    Overflow,
    /// A book that cannot be understood.
    #[error("the price book cannot be understood: {0}")]
    Malformed(String),
}

/// Prices of tokens, each of a million. Cached tokens without a price of their own cost what uncached ones do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenPrices {
    /// Text read.
    #[serde(deserialize_with = "dollars")]
    pub input_text: Option<NanoDollars>,
    /// Audio read.
    #[serde(deserialize_with = "dollars")]
    pub input_audio: Option<NanoDollars>,
    /// Images read.
    #[serde(deserialize_with = "dollars")]
    pub input_image: Option<NanoDollars>,
    /// Text read from the cache.
    #[serde(deserialize_with = "dollars")]
    pub cached_text: Option<NanoDollars>,
    /// Audio read from the cache.
    #[serde(deserialize_with = "dollars")]
    pub cached_audio: Option<NanoDollars>,
    /// Images read from the cache.
    #[serde(deserialize_with = "dollars")]
    pub cached_image: Option<NanoDollars>,
    /// Text written.
    #[serde(deserialize_with = "dollars")]
    pub output_text: Option<NanoDollars>,
    /// Audio spoken.
    #[serde(deserialize_with = "dollars")]
    pub output_audio: Option<NanoDollars>,
}

/// Prices of what the wire itself shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WirePrices {
    /// A minute of the connection, whether anybody speaks or not.
    #[serde(deserialize_with = "dollars")]
    pub connected_minute: Option<NanoDollars>,
    /// A connection costs no less than this long a one, in seconds.
    pub connected_minimum_seconds: u64,
    /// A minute of audio sent to the vendor.
    #[serde(deserialize_with = "dollars")]
    pub input_audio_minute: Option<NanoDollars>,
    /// A minute of audio the vendor generated.
    #[serde(deserialize_with = "dollars")]
    pub output_audio_minute: Option<NanoDollars>,
    /// A million characters spoken.
    #[serde(deserialize_with = "dollars")]
    pub million_characters: Option<NanoDollars>,
}

/// How many tokens a second of audio is, for estimates until the vendor has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokensPerSecond {
    /// Of the caller's audio.
    pub input_audio: u32,
    /// Of the answer's audio.
    pub output_audio: u32,
}

/// What one model costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// By tokens, as the vendor counts them.
    pub tokens: TokenPrices,
    /// By what the wire shows.
    pub wire: WirePrices,
    /// For estimates.
    pub tokens_per_second: TokensPerSecond,
    /// Whatever is used costs nothing.
    pub is_free: bool,
}

/// `amount × quantity ÷ per`, rounded up: a fraction of a nano-dollar is owed as a whole one.
fn share(amount: NanoDollars, quantity: u128, per: u128) -> Result<NanoDollars, PriceError> {
    let amount = u128::try_from(amount.get()).map_err(|_| PriceError::Overflow)?;
    let product = amount.checked_mul(quantity).ok_or(PriceError::Overflow)?;
    i64::try_from(product.div_ceil(per)).map(NanoDollars::new).map_err(|_| PriceError::Overflow)
}

fn sum(parts: impl IntoIterator<Item = Result<NanoDollars, PriceError>>) -> Result<NanoDollars, PriceError> {
    parts
        .into_iter()
        .try_fold(NanoDollars::ZERO, |total, part| total.checked_add(part?).ok_or(PriceError::Overflow))
}

fn of_tokens(count: u64, price: Option<NanoDollars>, what: &'static str) -> Result<NanoDollars, PriceError> {
    if count == 0 {
        return Ok(NanoDollars::ZERO);
    }
    share(price.ok_or(PriceError::Unpriced(what))?, u128::from(count), TOKENS)
}

impl Prices {
    /// Whether the vendor counts tokens for this model.
    #[must_use]
    pub fn is_by_token(&self) -> bool {
        self.tokens != TokenPrices::default()
    }

    /// What reading costs.
    ///
    /// # Errors
    /// [`PriceError`] if a kind of token has no price, or for an absurd count.
    pub fn input(&self, usage: &TokenUsage) -> Result<NanoDollars, PriceError> {
        let prices = &self.tokens;
        let kinds = [
            (usage.input_text, usage.cached_text, prices.input_text, prices.cached_text, "text read"),
            (usage.input_audio, usage.cached_audio, prices.input_audio, prices.cached_audio, "audio read"),
            (usage.input_image, usage.cached_image, prices.input_image, prices.cached_image, "images read"),
        ];
        sum(kinds.into_iter().flat_map(|(all, cached, price, cached_price, what)| {
            let cached = cached.min(all);
            [of_tokens(all - cached, price, what), of_tokens(cached, cached_price.or(price), what)]
        }))
    }

    /// What an answer costs by the vendor's count.
    ///
    /// # Errors
    /// As [`Prices::input`].
    pub fn answer(&self, usage: &TokenUsage) -> Result<NanoDollars, PriceError> {
        if self.is_free {
            return Ok(NanoDollars::ZERO);
        }
        let prices = &self.tokens;
        sum([
            self.input(usage),
            of_tokens(usage.output_text, prices.output_text, "text written"),
            self.spoken_tokens(usage.output_audio),
        ])
    }

    /// What audio costs that a vendor of tokens generated.
    ///
    /// # Errors
    /// As [`Prices::input`].
    pub fn spoken_tokens(&self, tokens: u64) -> Result<NanoDollars, PriceError> {
        of_tokens(tokens, self.tokens.output_audio, "audio spoken")
    }

    /// What generating an answer seems to cost so far, from its audio and characters alone.
    ///
    /// # Errors
    /// As [`Prices::input`].
    pub fn spoken(&self, audio: Duration, characters: u64) -> Result<NanoDollars, PriceError> {
        let tokens = tokens_in(audio, self.tokens_per_second.output_audio);
        let by_token = if self.is_by_token() {
            let written =
                of_tokens(characters.div_ceil(CHARACTERS_PER_TOKEN), self.tokens.output_text, "text written");
            sum([self.spoken_tokens(tokens), written])
        } else {
            Ok(NanoDollars::ZERO)
        };
        let wire = &self.wire;
        sum([
            by_token,
            of_time(wire.output_audio_minute, audio),
            wire.million_characters
                .map_or(Ok(NanoDollars::ZERO), |price| share(price, u128::from(characters), TOKENS)),
        ])
    }

    /// What reading this much new audio of the caller seems to cost.
    ///
    /// # Errors
    /// As [`Prices::input`].
    pub fn listened_tokens(&self, audio: Duration) -> Result<NanoDollars, PriceError> {
        if !self.is_by_token() {
            return Ok(NanoDollars::ZERO);
        }
        let input_audio = tokens_in(audio, self.tokens_per_second.input_audio);
        self.input(&TokenUsage { input_audio, ..TokenUsage::default() })
    }

    /// What audio sent to the vendor costs by its length.
    ///
    /// # Errors
    /// [`PriceError::Overflow`].
    pub fn listened(&self, audio: Duration) -> Result<NanoDollars, PriceError> {
        of_time(self.wire.input_audio_minute, audio)
    }

    /// What a connection of this length costs.
    ///
    /// # Errors
    /// [`PriceError::Overflow`].
    pub fn connected(&self, length: Duration) -> Result<NanoDollars, PriceError> {
        let minimum = Duration::from_secs(self.wire.connected_minimum_seconds);
        of_time(self.wire.connected_minute, length.max(minimum))
    }

    /// What a recognition cost by the vendor's count.
    ///
    /// # Errors
    /// As [`Prices::input`].
    pub fn recognition(&self, usage: &TranscriptionUsage) -> Result<NanoDollars, PriceError> {
        match *usage {
            TranscriptionUsage::Tokens { input_text, input_audio, output } => {
                let output_text = output;
                self.answer(&TokenUsage { input_text, input_audio, output_text, ..TokenUsage::default() })
            }
            TranscriptionUsage::Audio(_) if self.is_free => Ok(NanoDollars::ZERO),
            TranscriptionUsage::Audio(length) => {
                let price = self.wire.input_audio_minute.ok_or(PriceError::Unpriced("audio recognised"))?;
                of_time(Some(price), length)
            }
        }
    }
}

fn of_time(per_minute: Option<NanoDollars>, length: Duration) -> Result<NanoDollars, PriceError> {
    per_minute.map_or(Ok(NanoDollars::ZERO), |price| share(price, length.as_nanos(), NANOSECONDS_PER_MINUTE))
}

fn tokens_in(audio: Duration, per_second: u32) -> u64 {
    let tokens = (audio.as_nanos() * u128::from(per_second)).div_ceil(1_000_000_000);
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// The name of a book: the beginning of its SHA-256. An entry of the ledger says which book it was reckoned with.
pub type PriceVersion = Arc<str>;

/// Prices by vendor and model, each from a day on.
#[derive(Clone, Debug)]
pub struct PriceBook {
    version: PriceVersion,
    /// Latest first.
    entries: BTreeMap<String, Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    pattern: ModelPattern,
    valid_from: UtcDay,
    source: Arc<str>,
    prices: Prices,
}

/// One entry of a book: what the models of a pattern cost from a day on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceLine {
    /// Whose models.
    pub vendor: String,
    /// A name, or a beginning followed by `*`.
    pub model: String,
    /// The first day.
    pub valid_from: UtcDay,
    /// Where the price was read, and when.
    pub source: Arc<str>,
    /// The prices.
    pub prices: Prices,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    vendor: String,
    models: Vec<String>,
    valid_from: UtcDay,
    /// Where the price was read, and when. For people.
    source: String,
    #[serde(default)]
    per_million_tokens: TokenPrices,
    #[serde(default)]
    by_wire: WirePrices,
    #[serde(default)]
    tokens_per_second: TokensPerSecond,
    /// Says that the model costs nothing. An entry without prices would otherwise be a mistake.
    #[serde(default)]
    is_free: bool,
}

impl WrittenEntry {
    fn check(&self) -> Result<(), String> {
        let has_price =
            self.per_million_tokens != TokenPrices::default() || self.by_wire != WirePrices::default();
        if has_price == self.is_free {
            return Err(format!("{:?}: give prices or say is_free", self.models));
        }
        let audio =
            self.per_million_tokens.output_audio.is_some() || self.per_million_tokens.input_audio.is_some();
        if audio && self.tokens_per_second == TokensPerSecond::default() {
            return Err(format!("{:?}: audio tokens need tokens_per_second", self.models));
        }
        if self.source.is_empty() || self.models.is_empty() {
            return Err(format!("an entry of {} lacks its source or its models", self.vendor));
        }
        Ok(())
    }
}

impl PriceBook {
    /// The prices that come with voxgate.
    ///
    /// # Errors
    /// [`PriceError::Malformed`]; a test keeps it from happening.
    pub fn built_in() -> Result<Self, PriceError> {
        Self::from_yaml(&[BUILT_IN])
    }

    /// The prices that come with voxgate and, before them, those of a text of the same form.
    ///
    /// # Errors
    /// [`PriceError::Malformed`].
    pub fn overridden(text: &str) -> Result<Self, PriceError> {
        Self::from_yaml(&[text, BUILT_IN])
    }

    /// Reads books in YAML. Of two entries for a model that are valid from the same day the first counts.
    fn from_yaml(texts: &[&str]) -> Result<Self, PriceError> {
        let mut entries: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        let mut hash = Sha256::new();
        for text in texts {
            hash.update(text.as_bytes());
            let written: Vec<WrittenEntry> =
                serde_saphyr::from_str(text).map_err(|error| PriceError::Malformed(error.to_string()))?;
            for entry in &written {
                entry.check().map_err(PriceError::Malformed)?;
                let prices = Prices {
                    tokens: entry.per_million_tokens,
                    wire: entry.by_wire,
                    tokens_per_second: entry.tokens_per_second,
                    is_free: entry.is_free,
                };
                let source: Arc<str> = entry.source.as_str().into();
                for model in &entry.models {
                    let pattern = ModelPattern::parse(model)
                        .map_err(|error| PriceError::Malformed(error.to_string()))?;
                    let of_vendor = entries.entry(entry.vendor.clone()).or_default();
                    let source = Arc::clone(&source);
                    of_vendor.push(Entry { pattern, valid_from: entry.valid_from, source, prices });
                }
            }
        }
        for of_vendor in entries.values_mut() {
            of_vendor.sort_by_key(|entry| std::cmp::Reverse((entry.pattern.rank(), entry.valid_from)));
        }
        let version: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { version: version.into(), entries })
    }

    /// The name of the book.
    #[must_use]
    pub const fn version(&self) -> &PriceVersion {
        &self.version
    }

    /// Every entry, by vendor; of each the narrowest pattern first, and of each pattern the latest day.
    #[must_use]
    pub fn lines(&self) -> Vec<PriceLine> {
        let entries =
            self.entries.iter().flat_map(|(vendor, entries)| entries.iter().map(move |e| (vendor, e)));
        let lines = entries.map(|(vendor, entry)| PriceLine {
            vendor: vendor.clone(),
            model: entry.pattern.to_string(),
            valid_from: entry.valid_from,
            source: Arc::clone(&entry.source),
            prices: entry.prices,
        });
        lines.collect()
    }

    /// The prices of a model on a day: those of the narrowest pattern, the latest that were valid by then.
    ///
    /// # Errors
    /// [`PriceError::Unknown`].
    pub fn find(&self, vendor: &str, model: &str, day: UtcDay) -> Result<&Prices, PriceError> {
        let of_vendor = self.entries.get(vendor).into_iter().flatten();
        let mut valid = of_vendor.filter(|entry| entry.valid_from <= day && entry.pattern.matches(model));
        let unknown = || PriceError::Unknown { vendor: vendor.to_owned(), model: model.to_owned(), day };
        valid.next().map(|entry| &entry.prices).ok_or_else(unknown)
    }
}

/// Dollars as text. A number would have been through a binary fraction.
fn dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NanoDollars>, D::Error> {
    use serde::de::Error as _;
    let text = String::deserialize(deserializer)?;
    match NanoDollars::from_dollars(&text) {
        Ok(amount) if amount >= NanoDollars::ZERO => Ok(Some(amount)),
        Ok(_) => Err(D::Error::custom("a price cannot be negative")),
        Err(error) => Err(D::Error::custom(error)),
    }
}

#[cfg(test)]
mod tests;
