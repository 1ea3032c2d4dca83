//! The answer belongs to the caller's org, or is not shown (promise P7).
//!
//! Upstream is asked with the org's own credential and so should show nothing else. Where it does, by a fault of its own
//! or of something in between, the caller learns nothing of it: another org's object looks absent. Where several orgs
//! share that credential, upstream shows each of them the others' objects in all honesty, and projects decide.

use std::time::Instant;

use uuid::Uuid;

use super::{
    organizations::Organizations,
    owned::Owned,
    parting::{Holding, Parting},
};
use crate::{
    call::{Call, Context, Mismatch, MismatchKind, OrgId, Reply, RequestId},
    error::{Error, Reason, Sent},
    policy::Permitted,
    rpc::{Class, MethodSpec, Object},
    stack::{Next, Stage},
    telemetry::{Metrics, metrics::UpstreamFault},
};

pub(super) mod anew;
mod refusal;
#[cfg(test)]
mod tests;

/// The stage, and the judge of look-ups.
#[derive(Clone, Debug)]
pub struct Tenancy {
    organizations: Organizations,
    parting: Parting,
    owned: Owned,
    metrics: Metrics,
}

/// What is asked of upstream, as far as its answer is held to it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    method: &'static MethodSpec,
    org: OrgId,
    /// Of the object that the call is about.
    id: Option<String>,
    /// Whether it names something that could be another org's, so that upstream's words on its absence are withheld.
    names: bool,
    /// Whether upstream shows the org's credential others' objects in all honesty.
    is_parted: bool,
    context: Context,
}

/// By what an object is the caller's own.
#[derive(Clone, Copy, Debug)]
struct Mark<'o> {
    organization: &'o str,
    /// Where projects part the orgs.
    holding: Option<&'o Holding>,
}

/// What may be shown of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    All,
    /// Of a list, what is the caller's, by position, and in what the rest differs.
    These(Vec<bool>, MismatchKind),
    /// The object is another org's.
    Foreign(MismatchKind),
    /// The object that was asked for is another org's of the same upstream organization, for all that it says: upstream
    /// is at no fault.
    Neighbours(MismatchKind),
    /// The object is not the one that was asked for.
    Other,
}

impl Tenancy {
    pub fn new(organizations: Organizations, parting: Parting, metrics: Metrics) -> Self {
        Self { organizations, parting, owned: Owned::new(), metrics }
    }

    pub(super) fn parting(&self) -> &Parting {
        &self.parting
    }

    /// What `call` asks by `method`, its own or the one of its look-up.
    pub(super) fn question(&self, call: &Call, method: &'static MethodSpec) -> Question {
        let id = call.facts.object().map(str::to_owned);
        let is_parted = self.parting.holding(&call.identity.org).is_some();
        let creates = is_parted && call.facts.project.is_some();
        Question {
            method,
            org: call.identity.org.clone(),
            names: id.is_some() || creates,
            id,
            is_parted,
            context: call.context.clone(),
        }
    }

    /// What the gateway asks for itself, of a list.
    pub(super) fn own_question(&self, org: &OrgId, method: &'static MethodSpec) -> Question {
        Question {
            method,
            org: org.clone(),
            id: None,
            names: false,
            is_parted: self.parting.holding(org).is_some(),
            context: Context::new(RequestId::new(), Instant::now(), None),
        }
    }

    /// The object, if a read by `lookup` has shown lately that it is the org's own.
    pub(super) fn known(&self, org: &OrgId, lookup: &'static MethodSpec, id: &str) -> Option<Object> {
        self.owned.find(org, lookup, id)
    }

    /// # Errors
    /// `ORGANIZATION_UNKNOWN`: no answer could be judged, so nothing is to be sent.
    pub(super) fn ready(&self, org: &OrgId) -> Result<(), Error> {
        let known = self.organizations.get(org).map(drop);
        known.ok_or_else(|| Error::refuse(Reason::OrganizationUnknown))
    }

    /// What upstream calls the org, whatever letters it is written in.
    pub(super) fn organization_of(&self, org: &OrgId) -> String {
        // An org whose calls come as far is known.
        let id = self.organizations.get(org).map_or_else(|| org.to_string(), |known| known.id.clone());
        Uuid::try_parse(&id).map_or(id, |id| id.to_string())
    }

    /// What the caller gets of an answer.
    ///
    /// # Errors
    /// Upstream's own; `NOT_FOUND` for what is absent or another org's; `INTERNAL` for what was not asked for, and for
    /// nothing where there must be something.
    pub(super) fn judged(&self, question: &Question, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let reply = result.map_err(|error| self.refused(question, error))?;
        let reply = self.held(question, reply)?;
        match question.is_parted && !reply.drift.is_empty() {
            true => anew::known(question.method, reply),
            false => Ok(reply),
        }
    }

    fn held(&self, question: &Question, reply: Reply) -> Result<Reply, Error> {
        let objects = &reply.seen.objects;
        if objects.is_empty() {
            return self.bare(question, reply);
        }
        // Whoever asks has learnt it before.
        let ours = self.organizations.get(&question.org);
        let ours = ours.ok_or_else(|| Error::refuse(Reason::Internal).with_sent(Sent::Yes))?;
        let silent = objects.iter().filter(|object| object.organization.is_empty()).count();
        if silent > 0 {
            self.metrics.organizations_missing(question.method, silent);
        }
        let mark = Mark { organization: &ours.id, holding: self.parting.holding(&question.org) };
        match judge(question.method, question.id.as_deref(), mark, objects) {
            Judgement::All => {
                self.keep(question, objects);
                Ok(reply)
            }
            Judgement::These(keep, kind) => {
                let withheld = keep.iter().filter(|keep| !**keep).count();
                self.alarm(question, kind, withheld, &reply);
                anew::list(question.method, reply, &keep)
            }
            Judgement::Foreign(kind) => {
                self.alarm(question, kind, objects.len(), &reply);
                // Of what a call makes there is nothing to be absent.
                let reason = if question.id.is_some() { Reason::NotFound } else { Reason::UpstreamTenancy };
                Err(Error::refuse(reason))
            }
            Judgement::Neighbours(kind) => {
                self.note(question, kind, objects.len());
                Err(Error::refuse(Reason::NotFound))
            }
            Judgement::Other => {
                self.alarm(question, MismatchKind::Id, objects.len(), &reply);
                Err(Error::refuse(Reason::UpstreamTenancy))
            }
        }
    }

    /// An answer without objects. Where its message has a place for one, it stands elsewhere, and nobody has judged it.
    fn bare(&self, question: &Question, reply: Reply) -> Result<Reply, Error> {
        if !question.method.shows_one {
            return Ok(reply);
        }
        self.metrics.upstream_failed(question.method, UpstreamFault::Invalid);
        Err(Error::refuse(Reason::UpstreamInvalidResponse))
    }

    /// Remembers what a read has shown to be the org's own, where that has to be known.
    fn keep(&self, question: &Question, objects: &[Object]) {
        let is_read = question.method.class == Class::Read && question.id.is_some();
        if is_read && self.parting.holding(&question.org).is_some() {
            objects.iter().for_each(|object| self.owned.keep(&question.org, question.method, object));
        }
    }

    /// Whoever answers so may have mixed up connections: this one carries nothing any more. What the object is, or
    /// whose, stands nowhere.
    fn alarm(&self, question: &Question, kind: MismatchKind, objects: usize, reply: &Reply) {
        reply.line.close();
        self.note(question, kind, objects);
        tracing::error!(
            org = %question.org,
            method = question.method.name,
            request_id = %question.context.id(),
            mismatch = kind.as_str(),
            objects,
            "upstream answered with what is not the caller's; it is withheld"
        );
    }

    /// By no line in the log: writing it takes time before the answer, and would tell foreign from absent.
    fn note(&self, question: &Question, kind: MismatchKind, objects: usize) {
        self.metrics.tenancy_mismatched(question.org.as_str(), question.method, kind.as_str());
        question.context.add_mismatch(Mismatch { kind, objects });
    }
}

impl Mark<'_> {
    /// In what an object differs. One that does not say whose it is came for the org's own credential, and counts as
    /// the org's, unless others use that credential, too.
    fn difference(&self, object: &Object) -> Option<MismatchKind> {
        let is_silent = object.organization.is_empty() && self.holding.is_none();
        if !is_silent && !same(&object.organization, self.organization) {
            return Some(MismatchKind::Organization);
        }
        let is_held = self.holding.is_none_or(|holding| holding.has(&object.project));
        (!is_held).then_some(MismatchKind::Project)
    }

    /// Whether it can be of an org that uses the same credential.
    fn is_near(&self, object: &Object) -> bool {
        let is_here = object.organization.is_empty() || same(&object.organization, self.organization);
        self.holding.is_some() && is_here
    }
}

impl Stage<Permitted<Call>> for Tenancy {
    type Passes = Permitted<Call>;
    type Response = Reply;

    async fn call<S: Next<Permitted<Call>, Reply>>(
        &self,
        call: Permitted<Call>,
        next: S,
    ) -> Result<Reply, Error> {
        let question = self.question(call.get(), call.get().method);
        // Nothing is sent whose answer could not be judged.
        self.ready(&question.org)?;
        let result = next.run(call).await;
        self.judged(&question, result)
    }
}

/// Whose an object is goes before which it is: another org's looks absent, whatever its id.
fn judge(method: &MethodSpec, asked: Option<&str>, ours: Mark<'_>, objects: &[Object]) -> Judgement {
    let differences: Vec<_> = objects.iter().map(|object| ours.difference(object)).collect();
    let is_asked_for = |object: &Object| asked.is_none_or(|asked| same(&object.id, asked));
    let is_near = |object: &Object| ours.is_near(object);
    let are_asked_for = objects.iter().all(is_asked_for);
    match differences.iter().flatten().min().copied() {
        None if are_asked_for => Judgement::All,
        None => Judgement::Other,
        Some(kind) if method.listed().is_some() => {
            Judgement::These(differences.iter().map(Option::is_none).collect(), kind)
        }
        // A look-up shows first whose an object is; what is changed after it cannot be another's.
        Some(kind) if are_asked_for && method.class == Class::Read && objects.iter().all(is_near) => {
            Judgement::Neighbours(kind)
        }
        Some(kind) => Judgement::Foreign(kind),
    }
}

/// Whether two ids are one: UUIDs in any spelling, anything else to the byte.
pub fn same(one: &str, other: &str) -> bool {
    one == other || Uuid::try_parse(one).is_ok_and(|one| Uuid::try_parse(other) == Ok(one))
}
