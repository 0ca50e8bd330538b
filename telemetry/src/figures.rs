//! Metrics that are read when they are scraped: a list of families, each with the way from what was counted to its samples.

use std::collections::HashMap;
use std::fmt;

use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use crate::catalogue::{Described, Kind};
use crate::relay::Residence;

/// One metric: what it is called, and how it is found in the figures.
pub(crate) struct Family<F> {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) kind: MetricType,
    pub(crate) labels: &'static [&'static str],
    pub(crate) samples: fn(&F) -> Vec<Sample>,
}

/// The values of a metric's labels, in their order, and the value.
pub(crate) type Sample = (Vec<String>, Value);

pub(crate) enum Value {
    Number(f64),
    Times(Residence),
}

/// Shows these families, read at every scrape.
pub(crate) fn register<F: 'static>(
    registry: &Registry,
    families: &'static [Family<F>],
    read: Box<dyn Fn() -> F + Send + Sync>,
) -> Result<(), prometheus::Error> {
    let descriptions = families
        .iter()
        .map(|family| {
            let labels = family.labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(family.name.to_owned(), family.help.to_owned(), labels, HashMap::new())
        })
        .collect::<Result<Vec<_>, _>>()?;
    registry.register(Box::new(FigureCollector { descriptions, families, read }))
}

/// What these families are.
pub(crate) fn describe<F>(families: &[Family<F>]) -> impl Iterator<Item = Described> {
    families.iter().map(|family| Described {
        name: family.name.to_owned(),
        kind: match family.kind {
            MetricType::COUNTER => Kind::Counter,
            MetricType::HISTOGRAM => Kind::Histogram,
            _ => Kind::Gauge,
        },
        labels: family.labels.iter().map(|label| (*label).to_owned()).collect(),
        help: family.help.to_owned(),
    })
}

struct FigureCollector<F: 'static> {
    descriptions: Vec<Desc>,
    families: &'static [Family<F>],
    read: Box<dyn Fn() -> F + Send + Sync>,
}

impl<F> fmt::Debug for FigureCollector<F> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("FigureCollector").finish_non_exhaustive()
    }
}

impl<F> Collector for FigureCollector<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let figures = (self.read)();
        self.families.iter().map(|family| family.read(&figures)).collect()
    }
}

pub(crate) fn by_label(counts: &[(&'static str, u64)]) -> Vec<Sample> {
    counts.iter().map(|(label, count)| (vec![(*label).to_owned()], number(*count))).collect()
}

/// Prometheus counts in floating point: exact up to 2^53.
pub(crate) fn number(count: u64) -> Value {
    Value::Number(count as f64)
}

impl<F> Family<F> {
    fn read(&self, figures: &F) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        let samples = (self.samples)(figures);
        family.set_metric(samples.into_iter().map(|sample| self.metric(sample)).collect());
        family
    }

    fn metric(&self, (labels, value): Sample) -> Metric {
        let mut metric = Metric::default();
        let pairs = self.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value(value);
            pair
        });
        metric.set_label(pairs.collect());
        match (value, self.kind) {
            (Value::Times(times), _) => metric.set_histogram(histogram(&times)),
            (Value::Number(number), MetricType::COUNTER) => {
                let mut counter = Counter::default();
                counter.set_value(number);
                metric.set_counter(counter);
            }
            (Value::Number(number), _) => {
                let mut gauge = Gauge::default();
                gauge.set_value(number);
                metric.set_gauge(gauge);
            }
        }
        metric
    }
}

fn histogram(times: &Residence) -> Histogram {
    let mut below = 0;
    let buckets = times.buckets.iter().map(|(bound, count)| {
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound.as_secs_f64());
        bucket.set_cumulative_count(below);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(times.count);
    histogram.set_sample_sum(times.sum.as_secs_f64());
    histogram
}
