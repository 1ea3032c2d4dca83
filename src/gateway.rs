//! The way of a call: both stacks, one under the other, each line with its reason.
//!
//! A layer over HTTP cannot see a decoded message, and a handler cannot refuse before decoding: hence two planes.

use std::convert::Infallible;

use futures_util::future::BoxFuture;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceBuilder, util::BoxCloneSyncService};

use crate::{
    audit::Audit,
    budget::Budgets,
    call::{Call, Handle, Reply},
    error::Error,
    front::{
        Deadlines, Front, HttpRequest, HttpResponse, Identify, Peers, Reading, Reflect, Render, Shed, Trace,
        catch::CatchPanic, deadline,
    },
    identity::Identities,
    limit::{InFlight, Limits},
    policy::{Authorize, Bind, DryRun, Halt, InScope, Validate, WriteDefaults},
    stack::stage,
    telemetry::Metrics,
    upstream::{Learn, LogHosts, LogUrls, Parting, Resolve, Tenancy, Walk, WhoAmI},
};

mod detach;
mod trial;

pub use detach::Detach;
pub use trial::{Decided, Judged, ObjectMissing, Trial};

/// The call plane, behind the seam that the fronts know.
#[derive(Clone)]
pub struct Gateway(BoxCloneSyncService<Call, Reply, Error>);

/// What the call plane is made of.
#[derive(Clone, Debug)]
pub struct Stages {
    /// Mutations under way; the drain waits for them.
    pub tasks: TaskTracker,
    pub audit: Audit,
    pub bind: Bind,
    pub limits: Limits,
    pub budgets: Budgets,
    pub validate: Validate,
    /// The way to upstream, and what is known of the orgs there.
    pub learn: Learn,
    /// What parts the orgs there.
    pub parting: Parting,
    pub log_hosts: LogHosts,
    pub metrics: Metrics,
}

/// What the wire plane is made of.
#[derive(Clone, Debug)]
pub struct Wire {
    pub audit: Audit,
    pub metrics: Metrics,
    /// Calls in flight at most.
    pub in_flight: usize,
    /// What peers may be refused.
    pub peers: Peers,
    pub deadline: deadline::Config,
    pub identities: Identities,
    pub reflect: Reflect,
    /// Whether refusals carry the gateway's `ErrorInfo`. They do, but under a conformance suite that counts details.
    pub explains: bool,
}

impl Gateway {
    /// The call plane: tower over `Call -> Reply`.
    pub fn new(stages: Stages) -> Self {
        let Stages { tasks, audit, bind, limits, budgets, validate, .. } = stages;
        let Stages { learn, parting, log_hosts, metrics, .. } = stages;
        let (upstream, organizations) = (learn.upstream().clone(), learn.organizations().clone());
        let tenancy = Tenancy::new(organizations.clone(), parting, metrics.clone());
        let service = ServiceBuilder::new()
            // First, so that whatever a mutation has begun below is also ended below, caller or no caller.
            .layer(stage(Detach::new(tasks)))
            // Above every judgement: each refusal is on record, too. Below detach: the record outlives the caller.
            .layer(stage(audit.clone()))
            // Above all that the policy has a word in: one policy judges the whole call, also if it is replaced meanwhile.
            .layer(stage(bind))
            // Before what costs the disk or upstream: refused calls count, or refusals would be a free way to make load.
            .layer(stage(limits))
            // Below the rate, which also counts what is refused here. Below detach, so that the place is held until the
            // work has ended, caller or no caller; above all that waits for upstream.
            .layer(stage(InFlight::new(metrics.clone())))
            // Above every judgement that a verdict tells of. Below the rate: asking is load, too.
            .layer(stage(DryRun))
            // Above what looks into the message: who may not call a method is told nothing more of it, and causes no read.
            // Below the rate, as any refusal.
            .layer(stage(InScope))
            // Rules judge what goes upstream, so defaults are written before anything is judged. Below in scope: who may not
            // call a method does not learn its defaults.
            .layer(stage(WriteDefaults))
            // What the message alone can show wrong; no look-up is spent on what is wrong anyway.
            .layer(stage(validate))
            // Above all that goes upstream for the call: what upstream calls the org, without which no answer is the
            // org's own. Asked once per org; a mutation that could not be judged afterwards is not sent.
            .layer(stage(learn.clone()))
            // Whose is what the call names, and the one read that later checks may need. Below validate, so that its id
            // is a UUID; above authorize, which judges what it shows. It holds the object's lock until the write below
            // has ended.
            .layer(stage(Resolve::new(upstream.clone(), tenancy.clone(), metrics.clone())))
            // Judges the effective request, and alone makes a Permitted<Call>.
            .layer(stage(Authorize::default()))
            // Only what was allowed spends; and what is not to be had goes on record as a refusal, not as an intent.
            .layer(stage(budgets))
            // Below the last judgement, above the first effect.
            .layer(stage(Halt))
            // Last before the wire: the intent is on disk before the first byte goes upstream.
            .layer(stage(audit.intent()))
            // Above all that answers: no log URL of any answer leads elsewhere.
            .layer(stage(LogUrls::new(log_hosts, metrics)))
            // Answers in place of upstream who the caller is, or asks it once what it calls the org. Down here, so that
            // it is as any other read to everything above.
            .layer(stage(WhoAmI::new(learn)))
            // Narrows a list to what is the caller's, and reads as many of upstream's pages as it takes to show some of
            // it. Down here, as each of them is an exchange of its own, judged by itself.
            .layer(stage(Walk::new(upstream.clone(), tenancy.clone())))
            // Just above the wire: whatever the answer is, nobody above sees another org's.
            .layer(stage(tenancy))
            // Takes only what was permitted.
            .service(upstream);
        Self(BoxCloneSyncService::new(service))
    }
}

impl Wire {
    /// The wire plane: tower over HTTP, around a front.
    pub fn around<H: Handle>(
        self,
        front: Front<H>,
    ) -> impl Service<HttpRequest, Response = HttpResponse, Error = Infallible, Future: Send> + Clone + Send + Sync
    {
        ServiceBuilder::new()
            // Outermost: tells the protocol, gives the request its id, and turns every error below into bytes.
            .layer(Render { audit: self.audit, explains: self.explains })
            // Sees every call and every refusal with its typed error, before it is bytes.
            .layer(stage(Trace(self.metrics.clone())))
            // A panic below is an answer, not a reset connection.
            .layer(stage(CatchPanic))
            // Before any work is done for the request.
            .layer(stage(Shed::new(self.in_flight, self.metrics)))
            // Above all that judges the request itself: each such refusal is the peer's. Below shed, which is nobody's fault.
            .layer(stage(self.peers))
            // Also bounds how long a body may take to arrive.
            .layer(stage(Deadlines(self.deadline)))
            // Headers only: nothing is decoded for a stranger.
            .layer(stage(Identify(self.identities)))
            // Of all that is served here, the schema is for known callers only; it is no call.
            .layer(stage(self.reflect))
            // Below identify, which tells the org; above all that waits for a body. Below reflect, which bounds its own streams.
            .layer(stage(Reading::new(self.in_flight)))
            // Decodes, and crosses to the call plane.
            .service(front)
    }
}

impl Handle for Gateway {
    fn handle(&self, call: Call) -> BoxFuture<'static, Result<Reply, Error>> {
        self.0.clone().call(call)
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gateway")
    }
}
