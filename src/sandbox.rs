//! The sandbox: an upstream in memory, for the demo and for tests.
//!
//! It speaks the upstream's Connect unary JSON over real HTTP (HTTP/1.1 and cleartext HTTP/2 on one port), for several
//! organizations that cannot see each other, with prebuilds and pools that live by themselves, and it fails on demand
//! (see [`FAULT_HEADER`]).
//!
//! It shares nothing with the gateway on purpose, neither messages nor JSON nor bounds: a second reading of the same
//! contract, so that what crosses the gateway is checked by code that did not write it.
//!
//! ```text
//! server      connections            fault     failures on demand        message, scalar   the JSON
//! service     one request            journal   what was seen             validate          the declared rules
//! calls       one function per RPC   refusal   Connect errors            life              phases from the time
//! world       one organization: prebuilds, pools, logs                   pages             lists and tokens
//! ```

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockWriteGuard},
};

use http::StatusCode;
use secrecy::ExposeSecret;
use serde_json::Value;
use uuid::Uuid;

mod calls;
mod clock;
mod fault;
mod journal;
mod life;
mod logs;
mod message;
mod org;
mod pages;
mod pools;
mod prebuilds;
mod refusal;
mod scalar;
mod server;
mod service;
#[cfg(test)]
mod tests;
mod validate;
mod world;

pub use clock::{Clock, ManualClock};
pub use fault::FAULT_HEADER;
pub use journal::Seen;
pub use life::Life;
pub use org::{Org, Project};
pub use refusal::{Code, DOMAIN};
pub use validate::Rules;

use journal::Journal;
use message::Subject;
use pages::Pages;
use world::World;

/// What a sandbox is like.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Told apart by their tokens.
    pub orgs: Vec<Org>,
    pub life: Life,
    pub rules: Rules,
    pub clock: Clock,
}

/// An upstream. A clone is another handle to the same one: one serves, another looks.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    tenants: Vec<Arc<Tenant>>,
    /// By token; several may be one organization's.
    holders: RwLock<HashMap<String, Holder>>,
    rules: Rules,
    clock: Clock,
    pages: Pages,
    journal: Mutex<Journal>,
    address: Arc<OnceLock<SocketAddr>>,
    witness: OnceLock<Witness>,
}

/// Sees each request that was carried out, and its answer before it leaves: it may change that, and says with what
/// status it goes.
type Witness = Box<dyn Fn(&Seen, &mut Value) -> StatusCode + Send + Sync>;

/// An organization.
struct Tenant(Mutex<World>);

/// Whom a token stands for, and where.
#[derive(Clone)]
struct Holder {
    tenant: Arc<Tenant>,
    subject: Subject,
}

impl Default for Settings {
    /// Nobody's, at the pace of a demo, by the real service's rules.
    fn default() -> Self {
        Self { orgs: Vec::new(), life: Life::default(), rules: Rules::default(), clock: Clock::system() }
    }
}

impl Sandbox {
    pub fn new(settings: Settings) -> Self {
        let Settings { orgs, life, rules, clock } = settings;
        let address = Arc::new(OnceLock::new());
        let mut holders = HashMap::new();
        let tenants = orgs.into_iter().map(|org| {
            let token = org.token.expose_secret().to_owned();
            let subject = Subject::service_of(org.organization_id);
            let tenant = Arc::new(Tenant(Mutex::new(World::new(org, life, rules, address.clone()))));
            holders.insert(token, Holder { tenant: tenant.clone(), subject });
            tenant
        });
        let tenants = tenants.collect();
        Self(Arc::new(Inner {
            tenants,
            holders: RwLock::new(holders),
            rules,
            clock,
            pages: Pages::new(),
            journal: Mutex::default(),
            address,
            witness: OnceLock::new(),
        }))
    }

    /// Lets `witness` see each request that is carried out, and its answer before it leaves: what it makes of that is
    /// what the client gets, with the status that it returns. For an upstream that lies. There is one at most, the
    /// first.
    pub fn witness(&self, witness: impl Fn(&Seen, &mut Value) -> StatusCode + Send + Sync + 'static) {
        self.0.witness.get_or_init(|| Box::new(witness));
    }

    /// One more token of an organization: of its service account, or of a user with this id. False if there is no such
    /// organization. A token that is known already changes hands.
    pub fn issue(&self, organization: Uuid, token: &str, user: Option<&str>) -> bool {
        let mut tenants = self.0.tenants.iter();
        let Some(tenant) = tenants.find(|tenant| tenant.world().place.org.organization_id == organization)
        else {
            return false;
        };
        let subject = user.map_or_else(|| Subject::service_of(organization), Subject::user);
        self.holders().insert(token.to_owned(), Holder { tenant: tenant.clone(), subject });
        true
    }

    /// The token is not valid any more.
    pub fn revoke(&self, token: &str) {
        self.holders().remove(token);
    }

    /// The latest requests, oldest first: up to 10,000, and up to 64 MiB of bodies.
    pub fn seen(&self) -> Vec<Seen> {
        self.journal().requests()
    }

    /// How many calls of a method (`CreatePrebuild`) were carried out and not refused, whatever became of the answer.
    pub fn executed(&self, method: &str) -> u64 {
        self.journal().executed(method)
    }

    /// How many writes have left a pool with min > max; always 0 under [`Rules::Official`].
    pub fn inverted_pools(&self) -> u64 {
        self.0.tenants.iter().map(|tenant| tenant.world().pools.inverted).sum()
    }

    /// The most prebuilds of one organization that had not ended at one time.
    pub fn most_running(&self) -> usize {
        self.0.tenants.iter().map(|tenant| tenant.world().prebuilds.most_running).max().unwrap_or_default()
    }

    /// Prebuilds that have not ended now, of all organizations.
    pub fn running(&self) -> usize {
        let now = self.0.clock.now();
        let running = |tenant: &Arc<Tenant>| {
            let World { place, prebuilds, .. } = &mut *tenant.world();
            prebuilds.running(&place.life, now)
        };
        self.0.tenants.iter().map(running).sum()
    }

    fn holders(&self) -> RwLockWriteGuard<'_, HashMap<String, Holder>> {
        self.0.holders.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn holder(&self, token: &str) -> Option<Holder> {
        self.0.holders.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.0.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The tokens do not belong into a log.
        f.debug_struct("Sandbox").field("orgs", &self.0.tenants.len()).finish_non_exhaustive()
    }
}
