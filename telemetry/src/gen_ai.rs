//! What answers take and use, under the names of OpenTelemetry's conventions for generative AI
//! (`docs/gen-ai/gen-ai-metrics.md` of <https://github.com/open-telemetry/semantic-conventions-genai>, read in November 2026).
//!
//! They are for backends that know those names, so they leave by OTLP only. `/metrics` shows what an operator of a voice
//! gateway looks at, in the gateway's own words: turns, hops, providers, tokens' cost.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, Registry};

use crate::spans::conventions::{Conventions, GenAi};

/// Bounds of durations, as the conventions recommend them.
const SECONDS: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];

/// Bounds of tokens, as the conventions recommend them.
const TOKENS: &[f64] = &[
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// Models that are told apart, over all providers: a client may name any, where a route takes every name.
const MOST_MODELS: usize = 64;

/// What stands for a value that is not one of few.
const OTHER: &str = "_OTHER";

/// Why answers fail, as far as it is told apart: what the gateway says itself, and the commonest words of providers. Others
/// could be anything.
const ERRORS: &[&str] = &[
    "content_filter",
    "insufficient_quota",
    "provider_closed",
    "provider_congested",
    "provider_disconnected",
    "provider_silent",
    "provider_stalled",
    "provider_unreachable",
    "rate_limit_exceeded",
    "server_error",
    "session_expired",
];

/// An answer that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTimes<'a> {
    /// From the question to its end, or to where it was cut off.
    pub took: Duration,
    /// From the question to the first piece of it; `None` if none came.
    pub first_piece: Option<Duration>,
    /// The code of what it failed with; `None` if it did not fail.
    pub failure: Option<&'static str>,
    /// Tokens read and written; `None` if the provider does not say.
    pub tokens: Option<(u64, u64)>,
    /// The configured provider.
    pub provider: &'a str,
    /// The model, as the provider knows it.
    pub model: &'a str,
}

/// One of few words for what an answer failed with.
#[must_use]
pub fn error_type(code: &str) -> &'static str {
    ERRORS.iter().find(|known| **known == code).copied().unwrap_or(OTHER)
}

/// The figures of a process. Clones count together.
#[derive(Clone, Debug)]
pub struct GenAiFigures {
    registry: Registry,
    duration: HistogramVec,
    first_chunk: HistogramVec,
    tokens: HistogramVec,
    models: Arc<Mutex<BTreeSet<String>>>,
}

impl GenAiFigures {
    /// None yet.
    ///
    /// # Errors
    /// If two of them carry one name, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let histogram = |name: &Name, bounds: &[f64], labels: &[&str]| {
            let options = HistogramOpts::new(name.counted, name.help).buckets(bounds.to_vec());
            let histogram = HistogramVec::new(options, labels)?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        Ok(Self {
            duration: histogram(&DURATION, SECONDS, &["operation", "provider", "model", "error"])?,
            first_chunk: histogram(&FIRST_CHUNK, SECONDS, &["operation", "provider", "model"])?,
            tokens: histogram(&TOKEN_USAGE, TOKENS, &["operation", "provider", "model", "token"])?,
            registry,
            models: Arc::default(),
        })
    }

    /// An answer is over.
    pub fn answered(&self, answer: &AnswerTimes<'_>) {
        let AnswerTimes { took, first_piece, failure, tokens, provider, model } = *answer;
        let model = if self.is_told_apart(provider, model) { model } else { OTHER };
        let labels = ["chat", provider, model];
        let with = |more| [labels[0], labels[1], labels[2], more];
        self.duration.with_label_values(&with(failure.unwrap_or_default())).observe(took.as_secs_f64());
        if let Some(first) = first_piece {
            self.first_chunk.with_label_values(&labels).observe(first.as_secs_f64());
        }
        if let Some((read, written)) = tokens {
            for (kind, count) in [("input", read), ("output", written)] {
                #[expect(clippy::cast_precision_loss, reason = "no answer has 2^52 tokens")]
                self.tokens.with_label_values(&with(kind)).observe(count as f64);
            }
        }
    }

    fn is_told_apart(&self, provider: &str, model: &str) -> bool {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{provider}/{model}");
        models.contains(&name) || (models.len() < MOST_MODELS && models.insert(name))
    }

    /// All of them, under the names they are counted by ([`named`]).
    #[must_use]
    pub fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

struct Name {
    counted: &'static str,
    exported: &'static str,
    unit: &'static str,
    help: &'static str,
    /// Whether 1.36 has it, too.
    is_old: bool,
}

const DURATION: Name = Name {
    counted: "gen_ai_client_operation_duration",
    exported: "gen_ai.client.operation.duration",
    unit: "s",
    help: "GenAI operation duration.",
    is_old: true,
};

const FIRST_CHUNK: Name = Name {
    counted: "gen_ai_client_operation_time_to_first_chunk",
    exported: "gen_ai.client.operation.time_to_first_chunk",
    unit: "s",
    help: "Time from the question to the first piece of its answer.",
    is_old: false,
};

const TOKEN_USAGE: Name = Name {
    counted: "gen_ai_client_token_usage",
    exported: "gen_ai.client.token.usage",
    unit: "{token}",
    help: "Number of input and output tokens used.",
    is_old: true,
};

/// Name and unit under which a figure leaves; `None` if those conventions have none for it.
#[must_use]
pub fn named(counted: &str, conventions: Conventions) -> Option<(&'static str, &'static str)> {
    let names = [DURATION, FIRST_CHUNK, TOKEN_USAGE];
    let name = names.into_iter().find(|name| name.counted == counted)?;
    (name.is_old || conventions.gen_ai == GenAi::Latest).then_some((name.exported, name.unit))
}

/// The attribute a label of a figure becomes. One without a value is left out.
#[must_use]
pub fn attribute(label: &str, conventions: Conventions) -> Option<&'static str> {
    match label {
        "operation" => Some("gen_ai.operation.name"),
        "provider" => Some(conventions.gen_ai.provider()),
        "model" => Some("gen_ai.request.model"),
        "token" => Some("gen_ai.token.type"),
        "error" => Some("error.type"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: AnswerTimes<'static> = AnswerTimes {
        took: Duration::from_millis(1_500),
        first_piece: Some(Duration::from_millis(300)),
        failure: None,
        tokens: Some((40, 60)),
        provider: "vendor",
        model: "voice-1",
    };

    fn family(figures: &GenAiFigures, name: &str) -> MetricFamily {
        figures.gather().into_iter().find(|family| family.name() == name).unwrap()
    }

    #[test]
    fn an_answer_is_timed_to_its_first_piece_and_its_end_and_its_tokens_are_counted_apart() {
        let figures = GenAiFigures::new().unwrap();
        figures.answered(&ANSWER);
        let sums = |name| -> Vec<f64> {
            let family = family(&figures, name);
            family.get_metric().iter().map(|series| series.get_histogram().get_sample_sum()).collect()
        };
        assert_eq!(sums(DURATION.counted), [1.5]);
        assert_eq!(sums(FIRST_CHUNK.counted), [0.3]);
        assert_eq!(sums(TOKEN_USAGE.counted), [40.0, 60.0]);
    }

    #[test]
    fn an_answer_that_failed_has_another_series_and_no_figure_it_does_not_have() {
        let figures = GenAiFigures::new().unwrap();
        let failure = Some(error_type("server_error"));
        figures.answered(&AnswerTimes { failure, first_piece: None, tokens: None, ..ANSWER });
        assert_eq!(figures.gather().len(), 1);
        let duration = family(&figures, DURATION.counted);
        assert!(duration.get_metric()[0].get_label().iter().any(|label| label.value() == "server_error"));
        assert_eq!(error_type("Account 4711 is empty"), OTHER);
    }

    #[test]
    fn models_that_clients_make_up_are_counted_together_after_so_many() {
        let figures = GenAiFigures::new().unwrap();
        for number in 0..1_000 {
            figures.answered(&AnswerTimes { model: &format!("model-{number}"), ..ANSWER });
        }
        assert_eq!(family(&figures, DURATION.counted).get_metric().len(), MOST_MODELS + 1);
    }

    #[test]
    fn names_are_those_of_the_conventions_that_are_asked_for() {
        let (latest, old) =
            (Conventions::default(), Conventions { gen_ai: GenAi::V1_36, ..Conventions::default() });
        assert_eq!(named(TOKEN_USAGE.counted, latest), Some(("gen_ai.client.token.usage", "{token}")));
        assert_eq!(named(DURATION.counted, old), Some(("gen_ai.client.operation.duration", "s")));
        assert_eq!(named(FIRST_CHUNK.counted, old), None, "1.36 has no word for it");
        assert_eq!(attribute("provider", latest), Some("gen_ai.provider.name"));
        assert_eq!(attribute("provider", old), Some("gen_ai.system"));
        assert_eq!(attribute("unknown", latest), None);
    }
}
