//! A place a session can be served at, and what it can do there.

use std::collections::BTreeSet;

use voxgate_protocol::money::NanoDollars;
use voxgate_protocol::settings::{OutputModality, Purpose, SessionSettings};

use super::RoutingError;

/// A configured provider, for one model of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The configured provider.
    pub provider: String,
    /// The name the provider knows the model by; `None` hands the client's name on.
    pub provider_model: Option<String>,
    /// Targets with a smaller number go first; the next ones serve when none of these can.
    pub priority: u32,
    /// Its share of the sessions among targets of the same priority. With 0 it gets none.
    pub weight: u32,
    /// What a minute of conversation costs there, by the operator's estimate; for [`super::Preference::Cost`] only. `None`
    /// is dearer than any.
    pub cost: Option<NanoDollars>,
    /// Where it works, as policies name it.
    pub region: Option<String>,
    /// What it can do.
    pub offers: Offers,
}

impl Target {
    /// A target that can do everything and goes first.
    #[must_use]
    pub fn new(provider: &str, provider_model: Option<&str>) -> Self {
        Self {
            provider: provider.to_owned(),
            provider_model: provider_model.map(str::to_owned),
            priority: 0,
            weight: 1,
            cost: None,
            region: None,
            offers: Offers::default(),
        }
    }

    /// Its name in logs, metrics and the book of health: the provider, or provider and model.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.provider_model {
            Some(model) => format!("{}/{model}", self.provider),
            None => self.provider.clone(),
        }
    }

    /// The name the provider knows a model by that the client calls so.
    #[must_use]
    pub fn model<'a>(&'a self, asked: &'a str) -> &'a str {
        self.provider_model.as_deref().unwrap_or(asked)
    }
}

/// What a target can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    /// It speaks.
    pub speech: bool,
    /// It calls tools.
    pub tools: bool,
    /// It writes down what callers say, for sessions that want nothing else.
    pub transcription: bool,
    /// The languages it knows, as clients name them (ISO 639-1); `None` is every one.
    pub languages: Option<BTreeSet<String>>,
}

impl Default for Offers {
    fn default() -> Self {
        Self { speech: true, tools: true, transcription: true, languages: None }
    }
}

/// What a session needs of its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Spoken answers.
    pub speech: bool,
    /// Tools.
    pub tools: bool,
    /// Only to write down what is said.
    pub transcription: bool,
    /// The caller's language, if the client says which.
    pub language: Option<String>,
}

impl Needs {
    /// What these settings need.
    #[must_use]
    pub fn of(settings: &SessionSettings) -> Self {
        let transcription = settings.purpose == Purpose::Transcription;
        let language = settings.input.transcription.as_ref().and_then(|input| input.language.as_deref());
        Self {
            speech: !transcription && settings.modality == OutputModality::Audio,
            tools: !settings.tools.is_empty(),
            transcription,
            // `en-US` is English.
            language: language.map(|name| primary(name).to_ascii_lowercase()).filter(|name| !name.is_empty()),
        }
    }

    /// # Errors
    /// [`RoutingError::NothingFits`] with what the target lacks.
    pub fn met_by(&self, target: &Target) -> Result<(), RoutingError> {
        let Offers { speech, tools, transcription, languages } = &target.offers;
        let speaks = |language: &String| languages.as_ref().is_none_or(|known| known.contains(language));
        let lacks = [
            (self.speech && !speech, "spoken answers"),
            (self.tools && !tools, "tools"),
            (self.transcription && !transcription, "transcription"),
            (!self.language.as_ref().is_none_or(speaks), "the language"),
        ];
        match lacks.into_iter().find(|(lacks, _)| *lacks) {
            Some((_, need)) => Err(RoutingError::NothingFits { need }),
            None => Ok(()),
        }
    }
}

fn primary(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or_default()
}
