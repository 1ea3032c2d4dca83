//! Calls that are tried on files alone: by whom, from where and when is said, and not found out.

use std::{
    error::Error as _,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use http::{Extensions, HeaderMap};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    call::{Call, Context, Deadline, Identity, OrgId, RequestId, Scope, Scopes, SubjectId},
    config::Config,
    error::Error,
    gateway::{Decided, Judged, ObjectMissing, Trial},
    policy::{Authorize, Bind, Policy, Stricter, Validate},
    rpc::{Adds, Class, MethodSpec, Object, Required, Sizes},
    rule::{Bound, Burden, Draw},
};

/// Draws the shares unless another one is said: what is tried twice comes to the same.
pub(super) const REQUEST: Uuid = Uuid::from_u128(0x0198_c0de_0000_7000_8000_0000_0000_0001);

/// What a call is made over unless another one is said.
pub(super) const PROTOCOL: &str = "grpc";

/// No stage that judges waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Judges calls by the policy of a config.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    policy: Policy,
    validate: Validate,
    orgs: Vec<OrgId>,
}

/// A call that is tried.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) org: OrgId,
    pub(super) subject: SubjectId,
    pub(super) scopes: Vec<Scope>,
    pub(super) method: &'static MethodSpec,
    /// As it would arrive.
    pub(super) request: Bytes,
    pub(super) object: Option<Object>,
    pub(super) client: Option<IpAddr>,
    /// As records have it.
    pub(super) protocol: &'static str,
    pub(super) time: Option<SystemTime>,
    pub(super) id: Uuid,
}

/// The object that a call by id is about, as far as it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Given {
    /// Of the object that the call is about by id: its project.
    #[arg(long, value_name = "UUID", requires = "class")]
    project: Option<Id>,
    /// Its environment class.
    #[arg(long, value_name = "UUID", requires = "project")]
    class: Option<Id>,
    /// Of a warm pool: its present smallest size.
    #[arg(long, value_name = "INSTANCES", requires_all = ["project", "max_size"])]
    min_size: Option<i32>,
    /// And its largest one.
    #[arg(long, value_name = "INSTANCES", requires_all = ["project", "min_size"])]
    max_size: Option<i32>,
}

/// A UUID, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Id(pub(super) Uuid);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub(super) struct NoId;

/// Why it cannot be told what becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Untold {
    #[error("`{0}` is not one of [[orgs]] of the config")]
    Org(OrgId),
    #[error("the request cannot be read")]
    Request,
    #[error(
        "a rule looks at the object that {0} is about: say its project and class, and of a warm pool min_size and max_size"
    )]
    Object(&'static str),
    #[error("{0}")]
    Failed(String),
}

/// What a verdict tells, and which rules it does not tell of.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) judged: Judged,
    /// Rates, places in flight and budgets: nothing here counts them.
    pub(super) uncounted: Vec<String>,
}

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        Uuid::try_parse(text).map(Self).map_err(|_| NoId)
    }
}

impl TryFrom<String> for Id {
    type Error = NoId;

    fn try_from(text: String) -> Result<Self, NoId> {
        text.parse()
    }
}

impl Given {
    /// All that rules may look at, or nothing.
    pub(super) fn object(&self, method: &MethodSpec) -> Result<Option<Object>, Untold> {
        let Self { project, class, min_size, max_size } = *self;
        if *self == Self::default() {
            return Ok(None);
        }
        let is_pool = method.requires.contains(&Required::Pool);
        let sizes = Sizes { desired: None, min: min_size, max: max_size };
        match (project, class) {
            (Some(project), Some(class)) if !is_pool || min_size.is_some() && max_size.is_some() => {
                Ok(Some(Object {
                    project: project.0.to_string(),
                    class: class.0.to_string(),
                    sizes: if is_pool { sizes } else { Sizes::default() },
                    ..Object::default()
                }))
            }
            _ => Err(Untold::Object(method.name)),
        }
    }
}

impl Bench {
    pub(super) fn new(policy: Policy, config: &Config) -> Self {
        let orgs = config.orgs.iter().map(|org| org.id.clone()).collect();
        Self::of(policy, config.validation.stricter, orgs)
    }

    pub(super) fn of(policy: Policy, stricter: Stricter, orgs: Vec<OrgId>) -> Self {
        Self { policy, validate: Validate { stricter }, orgs }
    }

    /// What would become of it.
    pub(super) async fn judge(&self, mut attempt: Attempt) -> Result<Told, Untold> {
        // Whoever has the files may ask.
        attempt.scopes.push(Scope::Explain);
        let trial = self.trial(&attempt)?;
        let uncounted = self.uncounted(&attempt);
        let (method, object) = (attempt.method, attempt.object.clone());
        let call = attempt.call().ok_or(Untold::Request)?;
        let judged = trial.judge(call, object).await.map_err(|error| Untold::of(&error, method))?;
        Ok(Told { judged, uncounted })
    }

    /// What the policy says of it.
    pub(super) async fn decide(&self, attempt: Attempt) -> Result<Decided, Untold> {
        let trial = self.trial(&attempt)?;
        let (method, object) = (attempt.method, attempt.object.clone());
        let call = attempt.call().ok_or(Untold::Request)?;
        trial.decide(call, object).await.map_err(|error| Untold::of(&error, method))
    }

    fn trial(&self, attempt: &Attempt) -> Result<Trial, Untold> {
        if !self.orgs.contains(&attempt.org) {
            return Err(Untold::Org(attempt.org.clone()));
        }
        Ok(Trial::new(Bind(self.policy.clone()), self.validate, Authorize { at: attempt.time }))
    }

    fn uncounted(&self, attempt: &Attempt) -> Vec<String> {
        let Attempt { org, subject, method, id, .. } = attempt;
        let (_, bound) = self.policy.edition().apply(org, subject, method, Draw::new(id.as_u128()));
        let Bound { quotas, in_flight, budgets, .. } = &bound;
        let adds = |burden| match burden {
            Burden::RunningPrebuilds(_) | Burden::Creates { .. } => Adds::Prebuild,
            Burden::WarmInstances(_) => Adds::Instances,
        };
        let budgets = budgets.iter().map(|budget| &budget.burden);
        let budgets = budgets.filter(|burden| method.adds == Some(adds(burden.value)));
        let rules = quotas.iter().map(|quota| &quota.rate.rule);
        let rules = rules.chain(in_flight.iter().map(|cap| &cap.rule));
        let rules = rules.chain(budgets.map(|burden| &burden.rule));
        let mut names: Vec<_> = rules.map(ToString::to_string).collect();
        names.dedup();
        names
    }
}

impl Untold {
    fn of(error: &Error, method: &MethodSpec) -> Self {
        let is_missing = error.source().is_some_and(|source| source.is::<ObjectMissing>());
        if is_missing { Self::Object(method.name) } else { Self::Failed(error.to_string()) }
    }
}

impl Attempt {
    /// What a credential is good for where nothing is said.
    pub(super) fn all_scopes() -> Vec<Scope> {
        Class::ALL.map(Scope::Class).into()
    }

    fn call(self) -> Option<Call> {
        let Self { org, subject, scopes, method, request, client, protocol, id, .. } = self;
        let (request, facts) = method.decode(&request).ok()?;
        let (now, peer) = (Instant::now(), client.map(|address| SocketAddr::new(address, 0)));
        let identity = Identity {
            subject,
            org,
            credential: "explain".into(),
            scopes: Scopes::new(&scopes),
            passed: None,
        };
        let context = Context::new(RequestId::from(id), now, peer);
        context.set_method(method);
        context.set_identity(identity.clone());
        context.set_protocol(protocol);
        Some(Call {
            method,
            context,
            identity,
            facts,
            request,
            deadline: Deadline::at(now + PATIENCE),
            metadata: HeaderMap::new(),
            gone: CancellationToken::new(),
            place: None,
            bound: Bound::default(),
            left: Extensions::new(),
        })
    }
}
