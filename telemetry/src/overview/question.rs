//! What can be asked of the turns.

use std::sync::Arc;
use std::time::Duration;

use super::turn::TurnOrigin;
use crate::latency::budget::Subject;

/// How far back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// What goes on now.
    FiveMinutes,
    /// What just went on.
    QuarterHour,
    /// What is no accident.
    Hour,
    /// All that is kept.
    SixHours,
}

impl Span {
    /// Every span, the shortest first.
    pub const ALL: [Self; 4] = [Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::SixHours];

    /// The name in queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
        }
    }

    /// How long it is.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::FiveMinutes => 300,
            Self::QuarterHour => 900,
            Self::Hour => 3_600,
            Self::SixHours => 21_600,
        })
    }

    /// How long one column of its heat map is: 30 to 72 of them fill the span.
    #[must_use]
    pub const fn column(self) -> Duration {
        Duration::from_secs(match self {
            Self::FiveMinutes => 10,
            Self::QuarterHour => 30,
            Self::Hour => 60,
            Self::SixHours => 300,
        })
    }
}

/// What is put beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// Nothing: one group of all.
    Nothing,
    /// Who served.
    Provider,
    /// Where they work.
    Region,
    /// Which configuration was in force.
    Revision,
    /// Which route.
    Route,
    /// Which model, as clients name it.
    Model,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 6] =
        [Self::Nothing, Self::Provider, Self::Region, Self::Revision, Self::Route, Self::Model];

    /// The name in queries.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Provider => "provider",
            Self::Region => "region",
            Self::Revision => "revision",
            Self::Route => "route",
            Self::Model => "model",
        }
    }

    /// The group of a turn; `None` if it is not known, and for all of them if nothing is put beside each other.
    #[must_use]
    pub fn group(self, origin: &TurnOrigin) -> Option<Arc<str>> {
        match self {
            Self::Nothing => None,
            Self::Provider => origin.provider.clone(),
            Self::Region => origin.region.clone(),
            Self::Revision => Some(origin.revision.to_string().into()),
            Self::Route => Some(Arc::clone(&origin.route)),
            Self::Model => Some(Arc::clone(&origin.model)),
        }
    }
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// When it is asked.
    pub now: Duration,
    /// How far back: turns heard later than that before `now`.
    pub span: Span,
    /// What is put beside each other.
    pub by: Dimension,
    /// What the heat map shows.
    pub heat: Subject,
}
