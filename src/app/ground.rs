//! What there is before anything serves: the config, and upstream's word on the orgs.

use std::time::Duration;

use prometheus_client::collector::Collector;

use super::{StartError, files::Files};
use crate::{
    admin::Check,
    call::OrgId,
    config::{Resolved, Way},
    server::{Server, Tls},
    store::Store,
    telemetry::Metrics,
    upstream::{self, Client, ClientError, Learn, Organizations, Upstream},
};

/// Upstream's usual answer takes some tens of milliseconds; without one the gateway starts all the same.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Ground {
    pub(super) resolved: Resolved,
    pub(super) server: Server,
    pub(super) metrics: Metrics,
    pub(super) learn: Learn,
    pub(super) orgs: Orgs,
    /// From now on SIGHUP does not end the process.
    pub(super) files: Files,
    /// What the replicas share.
    pub(super) store: Option<Store>,
}

/// The orgs in the order of the config.
#[derive(Clone, Debug)]
pub(super) struct Orgs(Vec<OrgId>);

impl Ground {
    pub(super) fn of(resolved: Resolved) -> Result<Self, StartError> {
        let config = &resolved.config;
        let server = Server::new(config.server.clone(), config.shutdown.clone())?;
        let metrics = metrics(&server, resolved.tls.as_ref());
        let learn = learn(&config.upstream, resolved.way.clone(), metrics.clone())?;
        let orgs = Orgs(config.orgs.iter().map(|org| org.id.clone()).collect());
        let files = Files::new(metrics.clone())?;
        let store = resolved.redis.clone().map(|server| Store::open(server, metrics.clone()));
        Ok(Self { resolved, server, metrics, learn, orgs, files, store })
    }

    /// Asks upstream for every org at once, for three seconds at most. No answer is no obstacle, nor is a credential
    /// that upstream refuses: the other orgs must not lose the gateway for it.
    ///
    /// # Errors
    /// A credential is another organization's than the config or another org says.
    pub(super) async fn ask(&self) -> Result<(), StartError> {
        self.learn.round(&self.orgs.0, PATIENCE).await;
        match self.orgs.troubles(self.learn.organizations()).into_iter().next() {
            Some((key, problem)) => Err(StartError::Organization { key, problem }),
            None => Ok(()),
        }
    }
}

impl Orgs {
    pub(super) fn all(&self) -> Vec<OrgId> {
        self.0.clone()
    }

    /// Shown only, and only where something is the matter: the other orgs are served.
    pub(super) fn checks(&self, organizations: &Organizations) -> impl Iterator<Item = Check> {
        let troubles = self.troubles(organizations).into_iter();
        troubles.map(|(key, problem)| Check::shown(key, false).with_detail(problem))
    }

    /// By the key of the config that is wrong, or should be there.
    fn troubles(&self, organizations: &Organizations) -> Vec<(String, String)> {
        let told = organizations.troubles().into_iter().filter_map(|(org, trouble)| {
            let index = self.0.iter().position(|known| *known == org)?;
            Some((index, trouble))
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by_key(|(index, _)| *index);
        let key = |index| format!("orgs[{index}].upstream_organization_id");
        told.into_iter().map(|(index, trouble)| (key(index), trouble.to_string())).collect()
    }
}

/// Everything that is counted, with what the listener counts by itself.
fn metrics(server: &Server, tls: Option<&Tls>) -> Metrics {
    let mut collectors: Vec<Box<dyn Collector>> = vec![Box::new(server.connections())];
    collectors.extend(tls.map(|tls| Box::new(tls.counters()) as Box<dyn Collector>));
    Metrics::with(collectors)
}

/// The way to upstream, and what is known of the orgs there.
fn learn(config: &upstream::Config, way: Way, metrics: Metrics) -> Result<Learn, ClientError> {
    let Way { base, credentials, organizations, parting, response_metadata, .. } = way;
    let client = Client::new(config, base, credentials)?;
    let upstream = Upstream::new(client, response_metadata, config.mutation_timeout, metrics);
    let organizations = Organizations::new(organizations).sharing(parting.is_strict());
    Ok(Learn::new(upstream, organizations))
}
