//! The figures of one measurement, and medians of them.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What one measurement found. Times are in microseconds; what is *per call* covers the client and the servers, if they
/// are in one process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// Calls that succeeded, or one-way messages that the slowest server has got.
    pub(crate) calls: u64,
    pub(crate) calls_per_s: f64,
    pub(crate) errors: u64,
    /// Calls at a rate that had not even started when the time was over.
    pub(crate) missed: u64,
    /// The first error, in words.
    pub(crate) error: Option<String>,
    pub(crate) latency: Latency,
    pub(crate) user_us_per_call: f64,
    pub(crate) system_us_per_call: f64,
    pub(crate) switches_per_call: f64,
    /// 0 unless allocations are counted.
    pub(crate) allocations_per_call: f64,
    /// 0 unless allocations are counted.
    pub(crate) allocated_bytes_per_call: f64,
    /// Resident memory at the end, in KiB.
    pub(crate) resident_kib: f64,
    /// Resident memory that each idle node takes, both ends together, in KiB; 0 in other scenarios.
    pub(crate) kib_per_node: f64,
    /// What happened in each second, where that is of interest.
    pub(crate) seconds: Vec<Second>,
    /// What servers in other processes used.
    pub(crate) servers: Option<ServerFigures>,
}

/// Latencies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// The distribution, as far as there were calls enough to tell.
    pub(crate) quantiles: Vec<Quantile>,
}

/// This part of the calls took at most so long.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantile {
    /// From 0 up to 1.
    pub(crate) part: f64,
    pub(crate) us: f64,
}

/// One second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    pub(crate) calls: u64,
    pub(crate) resident_kib: u64,
}

/// What servers used meanwhile, as they told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerFigures {
    pub(crate) processes: usize,
    /// CPU of all of them together.
    pub(crate) user_us_per_call: f64,
    pub(crate) system_us_per_call: f64,
    /// Resident memory of all of them together.
    pub(crate) resident_kib: f64,
    /// Requests and one-way messages that each has got, the fewest first.
    pub(crate) requests: Vec<u64>,
}

impl Sample {
    /// CPU time of a call, in microseconds: of the client and of all servers.
    pub(crate) fn cpu_us_per_call(&self) -> f64 {
        match &self.servers {
            Some(servers) => {
                self.own_cpu_us_per_call() + servers.user_us_per_call + servers.system_us_per_call
            }
            None => self.own_cpu_us_per_call(),
        }
    }

    /// CPU time of a call in this process, in microseconds.
    pub(crate) fn own_cpu_us_per_call(&self) -> f64 {
        self.user_us_per_call + self.system_us_per_call
    }
}

/// Quantiles that are drawn: each is half as far from 1 as the one before, with steps between.
const STEPS_PER_HALVING: u32 = 4;
const HALVINGS: u32 = 20;

impl Latency {
    /// From latencies in nanoseconds.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let us = |part| histogram.value_at_quantile(part) as f64 / 1e3;
        // A quantile of which no call is beyond says nothing.
        let telling = |part: &f64| (1.0 - part) * histogram.len() as f64 >= 1.0;
        let steps = 0..HALVINGS * STEPS_PER_HALVING;
        let parts = steps.map(|step| 1.0 - 0.5_f64.powf(f64::from(step) / f64::from(STEPS_PER_HALVING)));
        Self {
            mean: histogram.mean() / 1e3,
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p999: us(0.999),
            max: histogram.max() as f64 / 1e3,
            quantiles: parts.filter(telling).map(|part| Quantile { part, us: us(part) }).collect(),
        }
    }
}

/// The median of each figure; all errors; and what is no figure as it was in the median round by calls per second.
/// `None` if there are no samples.
pub(crate) fn median(samples: &[Sample]) -> Option<Sample> {
    let mut by_rate: Vec<_> = samples.iter().collect();
    by_rate.sort_by(|a, b| a.calls_per_s.total_cmp(&b.calls_per_s));
    let middle = *by_rate.get(by_rate.len() / 2)?;
    let of = |figure: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(figure).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Some(Sample {
        errors: samples.iter().map(|sample| sample.errors).sum(),
        missed: samples.iter().map(|sample| sample.missed).sum(),
        error: samples.iter().find_map(|sample| sample.error.clone()),
        latency: Latency {
            mean: of(|s| s.latency.mean),
            p50: of(|s| s.latency.p50),
            p90: of(|s| s.latency.p90),
            p99: of(|s| s.latency.p99),
            p999: of(|s| s.latency.p999),
            max: of(|s| s.latency.max),
            quantiles: middle.latency.quantiles.clone(),
        },
        user_us_per_call: of(|s| s.user_us_per_call),
        system_us_per_call: of(|s| s.system_us_per_call),
        switches_per_call: of(|s| s.switches_per_call),
        allocations_per_call: of(|s| s.allocations_per_call),
        allocated_bytes_per_call: of(|s| s.allocated_bytes_per_call),
        resident_kib: of(|s| s.resident_kib),
        kib_per_node: of(|s| s.kib_per_node),
        ..middle.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_figure_and_errors_add_up() {
        let sample = |rate, p50, errors| Sample {
            calls_per_s: rate,
            errors,
            latency: Latency { p50, ..Latency::default() },
            ..Sample::default()
        };
        let median = median(&[sample(3.0, 10.0, 1), sample(1.0, 30.0, 0), sample(2.0, 5.0, 2)]).unwrap();
        assert_eq!((median.calls_per_s, median.latency.p50, median.errors), (2.0, 10.0, 3));
        assert_eq!(super::median(&[]), None);
    }

    #[test]
    fn quantiles_go_only_as_far_as_there_are_calls() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        (1..=1_000_u64).for_each(|us| histogram.record(us * 1_000).unwrap());
        let latency = Latency::of(&histogram);
        assert!((499.0..=501.0).contains(&latency.p50), "{}", latency.p50);
        let last = latency.quantiles.last().unwrap();
        assert!((0.998..=0.999).contains(&last.part), "{last:?}");
        assert!(latency.quantiles.is_sorted_by(|a, b| a.part < b.part && a.us <= b.us));
        assert_eq!(Latency::of(&Histogram::new(3).unwrap()), Latency::default());
    }
}
