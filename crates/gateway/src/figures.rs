//! What `/metrics` shows of places: figures that nobody counts, and that are read when they are asked for.

use crate::Gateway;
use crate::metrics::Figures;
use crate::standing::MOST_SERIES;

impl Gateway {
    /// Who is passed over, by provider and credential.
    pub(crate) fn passed_over(&self) -> Figures {
        let snapshot = self.published.load();
        let mut environments: Vec<_> =
            snapshot.iter().flat_map(|snapshot| snapshot.environments.values()).collect();
        environments.sort_by(|one, other| one.name.cmp(&other.name));
        let mut providers: Vec<_> = environments.iter().flat_map(|one| one.providers()).collect();
        providers.sort_by(|one, other| one.name.cmp(&other.name));
        let counts = self.standings.passed_over(providers.into_iter(), self.clock.moment());
        let series = counts.into_iter().map(|((provider, credential, reason), count)| {
            (vec![provider, credential, reason.into()], count)
        });
        Figures {
            name: "passed_over",
            grows: false,
            help: "deployments and accounts that are passed over at present, by provider, credential and reason",
            labels: &["provider", "credential", "reason"],
            series: series.collect(),
        }
    }

    /// How often places were passed over, by reason.
    pub(crate) fn ejections(&self) -> Figures {
        let (passed, _) = self.standings.counts();
        Figures {
            name: "ejections",
            grows: true,
            help: "times that a deployment or account began to be passed over, by reason",
            labels: &["reason"],
            series: passed.into_iter().map(|(reason, count)| (vec![reason.into()], count)).collect(),
        }
    }

    /// How much places bear, by provider and credential.
    pub(crate) fn bears(&self) -> Figures {
        let least = self.paces.least().into_iter().take(MOST_SERIES);
        Figures {
            name: "adaptive_limit",
            grows: false,
            help: "calls at once that deployments are found to bear, by provider and credential, the least of each",
            labels: &["provider", "credential"],
            series: least
                .map(|((provider, credential), limit)| (vec![provider, credential], u64::from(limit)))
                .collect(),
        }
    }
}
