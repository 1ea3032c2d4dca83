//! One organization's world: what its token can see, and nothing else.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use uuid::Uuid;

use super::{
    life::Life,
    logs::Logs,
    message::{Identity, Subject},
    org::{Org, Project},
    pages::Shelf,
    pools::Pools,
    prebuilds::Prebuilds,
    refusal::{Code, Refusal},
    validate::Rules,
};

/// Everything of one organization.
#[derive(Debug)]
pub(super) struct World {
    pub(super) place: Place,
    pub(super) prebuilds: Prebuilds,
    pub(super) pools: Pools,
    pub(super) logs: Logs,
}

/// What does not change.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) org: Org,
    pub(super) life: Life,
    pub(super) rules: Rules,
    /// Who does everything here, whoever asks.
    pub(super) subject: Subject,
    /// Where the sandbox listens; empty until it does.
    pub(super) address: Arc<OnceLock<SocketAddr>>,
}

impl World {
    pub(super) fn new(org: Org, life: Life, rules: Rules, address: Arc<OnceLock<SocketAddr>>) -> Self {
        let subject = Subject::service_of(org.organization_id);
        let place = Place { org, life, rules, subject, address };
        Self { place, prebuilds: Prebuilds::default(), pools: Pools::default(), logs: Logs::default() }
    }

    /// Brings the pools up to the time.
    pub(super) fn settle(&mut self, now: SystemTime) {
        self.pools.settle(&self.place.life, &self.prebuilds, now);
    }

    pub(super) fn identity(&self, subject: &Subject) -> Identity {
        Identity {
            subject: subject.clone(),
            organization_id: self.place.org.organization_id.to_string(),
            organization_tier: "enterprise",
        }
    }

    /// A secret that opens the logs of a prebuild that is there.
    pub(super) fn create_logs_token(&mut self, id: Option<&str>, now: SystemTime) -> Result<String, Refusal> {
        let prebuild = self.prebuilds.find(&self.place, id, now)?;
        Ok(self.logs.issue(prebuild, now))
    }
}

impl Place {
    pub(super) fn shelf(&self, kind: &'static str) -> Shelf {
        Shelf { organization: self.org.organization_id, kind }
    }

    /// The project and the class that a request names; without a class the project's default.
    pub(super) fn locate(&self, project: Option<&str>, class: Option<&str>) -> Result<(Uuid, Uuid), Refusal> {
        let id = parse_id(project);
        let Some(Project { id, classes }) = self.org.projects.iter().find(|known| Some(known.id) == id)
        else {
            return Err(Refusal::not_found("project"));
        };
        let class = match class {
            Some(_) => parse_id(class).filter(|class| classes.contains(class)),
            None => classes.first().copied(),
        };
        class.map(|class| (*id, class)).ok_or_else(|| {
            let message = "environment class is not in the project's prebuild configuration";
            Refusal::new(Code::FAILED_PRECONDITION, "CLASS_NOT_CONFIGURED", message)
        })
    }

    pub(super) fn log_url(&self, prebuild: Uuid) -> String {
        match self.address.get() {
            Some(address) => format!("http://{address}/logs/{prebuild}"),
            None => format!("http://sandbox.invalid/logs/{prebuild}"),
        }
    }
}

pub(super) fn parse_id(id: Option<&str>) -> Option<Uuid> {
    Uuid::try_parse(id?).ok()
}

/// Whether a filter's list lets an id pass; an empty list lets everything pass.
pub(super) fn listed(ids: Option<&[String]>, id: Uuid) -> bool {
    match ids.unwrap_or_default() {
        [] => true,
        ids => ids.iter().any(|listed| parse_id(Some(listed)) == Some(id)),
    }
}
