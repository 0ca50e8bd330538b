//! How the catalogue declares a metric.

use std::cell::RefCell;
use std::sync::Arc;

use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::catalogue::{Described, Kind};

/// Declares metrics, and remembers what was declared.
pub(crate) struct Shelf<'a> {
    registry: &'a Registry,
    described: RefCell<Vec<Described>>,
}

impl<'a> Shelf<'a> {
    pub(crate) const fn new(registry: &'a Registry) -> Self {
        Self { registry, described: RefCell::new(Vec::new()) }
    }

    /// What was declared.
    pub(crate) fn described(&self) -> Arc<[Described]> {
        self.described.borrow().as_slice().into()
    }

    fn keep<T: prometheus::core::Collector + Clone + 'static>(
        &self,
        kind: Kind,
        metric: T,
    ) -> Result<T, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        let described = metric.desc().into_iter().map(|desc| Described {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
            help: desc.help.clone(),
        });
        self.described.borrow_mut().extend(described);
        Ok(metric)
    }

    pub(crate) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.keep(Kind::Gauge, IntGauge::new(name, help)?)
    }

    pub(crate) fn real_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.keep(Kind::Gauge, Gauge::new(name, help)?)
    }

    pub(crate) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.keep(Kind::Gauge, IntGaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn real_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        self.keep(Kind::Gauge, GaugeVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn real_counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<CounterVec, prometheus::Error> {
        self.keep(Kind::Counter, CounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.keep(Kind::Counter, IntCounter::new(name, help)?)
    }

    pub(crate) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.keep(Kind::Counter, IntCounterVec::new(Opts::new(name, help), labels)?)
    }

    pub(crate) fn histogram(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        self.keep(
            Kind::Histogram,
            Histogram::with_opts(HistogramOpts::new(name, help).buckets(bounds.to_vec()))?,
        )
    }

    pub(crate) fn histograms(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, prometheus::Error> {
        self.keep(
            Kind::Histogram,
            HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels)?,
        )
    }

    /// Requests to an OpenTelemetry collector: gateways and relays send them.
    pub(crate) fn otlp_requests(&self) -> Result<IntCounterVec, prometheus::Error> {
        self.counters(
            "voxgate_otlp_requests_total",
            "Requests to the OpenTelemetry collector, retries not counted, by signal and outcome.",
            &["signal", "outcome"],
        )
    }
}
