//! Latencies in logarithmic buckets: 64 for each doubling, so that a quantile is right within 1.6 %, in 20 KiB.

use serde::Serialize;

const SUB: u64 = 64;
const DOUBLINGS: usize = 40;

/// Counts of microseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    sum: u64,
    max: u64,
}

/// What is said of a histogram; microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// How many were counted.
    pub count: u64,
    /// Mean.
    pub mean: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest, exactly.
    pub max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; SUB as usize * DOUBLINGS], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, micros: u64) {
        let bucket = place(micros).min(self.buckets.len() - 1);
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(micros);
        self.max = self.max.max(micros);
    }

    /// Adds what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
    }

    /// The value that a share (0 to 1) of all is at or below, rounded up to its bucket; 0 when nothing was counted.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts are far below 2^52 and the share is clamped"
    )]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper(bucket).min(self.max);
            }
        }
        self.max
    }

    /// The usual figures.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let [p50, p90, p99, p999] = [0.5, 0.9, 0.99, 0.999].map(|share| self.quantile(share));
        let mean = self.sum.checked_div(self.count).unwrap_or(0);
        Summary { count: self.count, mean, p50, p90, p99, p999, max: self.max }
    }
}

/// The bucket of a value: values below 64 have their own, then 64 for each doubling.
fn place(value: u64) -> usize {
    let exponent = value.max(1).ilog2().saturating_sub(SUB.ilog2());
    let index = u64::from(exponent) * SUB + (value >> exponent);
    usize::try_from(index).unwrap_or(usize::MAX)
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let exponent = (bucket / SUB).saturating_sub(1);
    let sub = bucket - exponent * SUB;
    ((sub + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_hold_what_belongs_to_them() {
        for value in (0..5_000).chain([1 << 20, (1 << 30) + 12_345, u64::from(u32::MAX)]) {
            let high = upper(place(value));
            assert!(high >= value && high <= value + value / 60 + 1, "{value} in a bucket up to {high}");
            assert!(place(high + 1) == place(value) + 1, "{value}");
        }
    }

    #[test]
    fn quantiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.summary(), Summary::default());
        (1..=1_000).for_each(|value| histogram.record(value));
        let summary = histogram.summary();
        assert!((495..=510).contains(&summary.p50), "{summary:?}");
        assert!((985..=1_000).contains(&summary.p99), "{summary:?}");
        assert_eq!((summary.max, summary.count, summary.mean), (1_000, 1_000, 500));
    }
}
