//! The answer belongs to the caller's org, or is not shown (promise P7).
//!
//! Upstream is asked with the org's own credential and so should show nothing else. Where it does, by a fault of its own
//! or of something in between, the caller learns nothing of it: another org's object looks absent.

use uuid::Uuid;

use super::organizations::Organizations;
use crate::{
    call::{Call, Context, Mismatch, MismatchKind, OrgId, Reply},
    error::{Code, Error, Origin, Reason, Sent},
    policy::Permitted,
    rpc::{Facts, MethodSpec, Object},
    stack::{Next, Stage},
    telemetry::Metrics,
};

mod list;
#[cfg(test)]
mod tests;

/// The stage, and the judge of look-ups.
#[derive(Clone, Debug)]
pub struct Tenancy {
    organizations: Organizations,
    metrics: Metrics,
}

/// What is asked of upstream, as far as its answer is held to it.
#[derive(Clone, Debug)]
pub(super) struct Question {
    method: &'static MethodSpec,
    org: OrgId,
    /// Of the object that the call is about.
    id: Option<String>,
    context: Context,
}

/// What may be shown of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Judgement {
    All,
    /// Of a list, what is not another org's, by position.
    These(Vec<bool>),
    /// The object is another org's.
    Foreign,
    /// The object is not the one that was asked for.
    Other,
}

impl Tenancy {
    pub fn new(organizations: Organizations, metrics: Metrics) -> Self {
        Self { organizations, metrics }
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
    /// Upstream's own; `NOT_FOUND` for what is absent or another org's; `INTERNAL` for what was not asked for.
    pub(super) fn judged(&self, question: &Question, result: Result<Reply, Error>) -> Result<Reply, Error> {
        let reply = result.map_err(|error| question.absent(error))?;
        let objects = &reply.seen.objects;
        if objects.is_empty() {
            return Ok(reply);
        }
        // Whoever asks has learnt it before.
        let ours = self.organizations.get(&question.org);
        let ours = ours.ok_or_else(|| Error::refuse(Reason::Internal).with_sent(Sent::Yes))?;
        let silent = objects.iter().filter(|object| object.organization.is_empty()).count();
        if silent > 0 {
            self.metrics.organizations_missing(question.method, silent);
        }
        match judge(question.method, question.id.as_deref(), &ours.id, objects) {
            Judgement::All => Ok(reply),
            Judgement::These(keep) => {
                let withheld = keep.iter().filter(|keep| !**keep).count();
                self.alarm(question, MismatchKind::Organization, withheld, &reply);
                list::retain(question.method, reply, &keep)
            }
            Judgement::Foreign => {
                self.alarm(question, MismatchKind::Organization, objects.len(), &reply);
                // Of what a call makes there is nothing to be absent.
                let reason = if question.id.is_some() { Reason::NotFound } else { Reason::UpstreamTenancy };
                Err(Error::refuse(reason))
            }
            Judgement::Other => {
                self.alarm(question, MismatchKind::Id, objects.len(), &reply);
                Err(Error::refuse(Reason::UpstreamTenancy))
            }
        }
    }

    /// Whoever answers so may have mixed up connections: this one carries nothing any more. What the object is, or
    /// whose, stands nowhere.
    fn alarm(&self, question: &Question, kind: MismatchKind, objects: usize, reply: &Reply) {
        reply.line.close();
        self.metrics.tenancy_mismatched(question.org.as_str(), question.method, kind.as_str());
        question.context.set_mismatch(Mismatch { kind, objects });
        tracing::error!(
            org = %question.org,
            method = question.method.name,
            request_id = %question.context.id(),
            mismatch = kind.as_str(),
            objects,
            "upstream answered with what is not the caller's; it is withheld"
        );
    }
}

impl Question {
    /// What `call` asks by `method`, its own or the one of its look-up.
    pub(super) fn of(call: &Call, method: &'static MethodSpec) -> Self {
        let Facts { prebuild, pool, .. } = &call.facts;
        Self {
            method,
            org: call.identity.org.clone(),
            id: prebuild.as_ref().or(pool.as_ref()).cloned(),
            context: call.context.clone(),
        }
    }

    /// Of an object that upstream does not find, the caller gets what it would get of another org's: words, details
    /// and metadata of upstream's would tell them apart.
    fn absent(&self, error: Error) -> Error {
        let is_absent = self.id.is_some() && error.origin == Origin::Upstream && error.code == Code::NotFound;
        if is_absent {
            Error::refuse(Reason::NotFound).with_sent(error.sent).with_source(error)
        } else {
            error
        }
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
        let question = Question::of(call.get(), call.get().method);
        // Nothing is sent whose answer could not be judged.
        if self.organizations.get(&question.org).is_none() {
            return Err(Error::refuse(Reason::OrganizationUnknown));
        }
        let result = next.run(call).await;
        self.judged(&question, result)
    }
}

/// Whose an object is goes before which it is: another org's looks absent, whatever its id. An object that does not say
/// whose it is came for the org's own credential, and counts as the org's.
fn judge(method: &MethodSpec, asked: Option<&str>, ours: &str, objects: &[Object]) -> Judgement {
    let is_ours = |object: &Object| object.organization.is_empty() || same(&object.organization, ours);
    let are_ours = objects.iter().all(is_ours);
    if method.listed().is_some() {
        return match are_ours {
            true => Judgement::All,
            false => Judgement::These(objects.iter().map(is_ours).collect()),
        };
    }
    let is_asked_for = |object: &Object| asked.is_none_or(|asked| same(&object.id, asked));
    match are_ours {
        false => Judgement::Foreign,
        true if objects.iter().all(is_asked_for) => Judgement::All,
        true => Judgement::Other,
    }
}

/// Whether two ids are one: UUIDs in any spelling, anything else to the byte.
pub fn same(one: &str, other: &str) -> bool {
    one == other || Uuid::try_parse(one).is_ok_and(|one| Uuid::try_parse(other) == Ok(one))
}
