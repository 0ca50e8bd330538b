//! The metrics of the process, as OTLP has them.

use std::time::Duration;

use prometheus::proto::{LabelPair, Metric as Series, MetricFamily, MetricType};
use prost::Message as _;
use voxgate_telemetry::gen_ai;
use voxgate_telemetry::spans::conventions::Conventions;

use super::wire::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramPoint, KeyValue, Metric, MetricsRequest, NumberPoint,
    Resource, ResourceMetrics, Scope, ScopeMetrics, Sum,
};

/// `ExportMetricsServiceRequest` with these metrics.
pub(super) fn request(resource: &Resource, metrics: Vec<Metric>) -> Vec<u8> {
    let scope_metrics = vec![ScopeMetrics { scope: Some(Scope::voxgate()), metrics }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics }];
    MetricsRequest { resource_metrics }.encode_to_vec()
}

/// The same names, labels and bounds as on `/metrics`. Totals count since `began`, both times since 1970.
pub(super) fn metrics(families: &[MetricFamily], began: Duration, now: Duration) -> Vec<Metric> {
    let span = Span { from: nanoseconds(began), to: nanoseconds(now) };
    families.iter().filter_map(|family| metric(family, span)).collect()
}

/// What answers took and used, under the names of the conventions for generative AI.
pub(super) fn gen_ai(
    families: &[MetricFamily],
    conventions: Conventions,
    began: Duration,
    now: Duration,
) -> Vec<Metric> {
    let span = Span { from: nanoseconds(began), to: nanoseconds(now) };
    let renamed = |family: &MetricFamily| {
        let (name, unit) = gen_ai::named(family.name(), conventions)?;
        let mut metric = metric(family, span)?;
        (metric.name, metric.unit) = (name.to_owned(), unit.to_owned());
        if let Some(Data::Histogram(histogram)) = &mut metric.data {
            for point in &mut histogram.data_points {
                let labels = std::mem::take(&mut point.attributes).into_iter();
                point.attributes = labels.filter_map(|label| of_conventions(label, conventions)).collect();
            }
        }
        Some(metric)
    };
    families.iter().filter_map(renamed).collect()
}

/// A label without a value is one the point does not have.
fn of_conventions(label: KeyValue, conventions: Conventions) -> Option<KeyValue> {
    let key = gen_ai::attribute(&label.key, conventions)?;
    let is_empty = label == KeyValue::text(label.key.as_str(), "");
    (!is_empty).then(|| KeyValue { key: key.to_owned(), ..label })
}

/// Since 1970, as OTLP counts.
pub(super) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

fn metric(family: &MetricFamily, span: Span) -> Option<Metric> {
    let series = family.get_metric();
    let numbers = |read: fn(&Series) -> f64| series.iter().map(|one| number(one, read(one), span)).collect();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|one| one.get_counter().get_value()),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge { data_points: numbers(|one| one.get_gauge().get_value()) }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: series.iter().map(|one| histogram(one, span)).collect(),
            aggregation_temporality: CUMULATIVE,
        }),
        // The catalogue has none of the others.
        _ => return None,
    };
    let unit = unit(family.name()).to_owned();
    Some(Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit,
        data: Some(data),
    })
}

/// As UCUM writes the base units of the catalogue.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    if name.ends_with("_seconds") {
        "s"
    } else if name.ends_with("_bytes") {
        "By"
    } else {
        "1"
    }
}

fn number(series: &Series, value: f64, span: Span) -> NumberPoint {
    NumberPoint {
        start_time_unix_nano: span.from,
        time_unix_nano: span.to,
        as_double: Some(value),
        attributes: attributes(series.get_label()),
    }
}

fn histogram(series: &Series, span: Span) -> HistogramPoint {
    let histogram = series.get_histogram();
    let (count, buckets) = (histogram.get_sample_count(), histogram.get_bucket());
    let finite: Vec<_> = buckets.iter().filter(|bucket| bucket.upper_bound().is_finite()).collect();
    // Prometheus counts everything up to a bound, OTLP what is between two.
    let upto = finite.iter().map(|bucket| bucket.cumulative_count()).chain([count]);
    let below = std::iter::once(0).chain(finite.iter().map(|bucket| bucket.cumulative_count()));
    HistogramPoint {
        start_time_unix_nano: span.from,
        time_unix_nano: span.to,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: upto.zip(below).map(|(upto, below)| upto.saturating_sub(below)).collect(),
        explicit_bounds: finite.iter().map(|bucket| bucket.upper_bound()).collect(),
        attributes: attributes(series.get_label()),
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| KeyValue::text(label.name(), label.value())).collect()
}
