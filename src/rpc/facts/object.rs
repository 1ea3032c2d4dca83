//! An object in an answer, as far as the stages need to know it.

use serde::{Deserialize, Serialize};

use super::Sizes;
use crate::proto::gitpod::v1 as pb;

/// A prebuild or a warm pool as upstream showed it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Object {
    pub id: String,
    pub organization: String,
    pub project: String,
    pub class: String,
    /// Of a warm pool; empty for a prebuild.
    pub sizes: Sizes,
    /// Of a prebuild. Its query may be a secret, so no record shows it.
    #[serde(skip)]
    pub log_url: String,
    /// It holds nothing any more, and never will again.
    #[serde(skip)]
    pub has_ended: bool,
    /// `spec.spec_version` of a warm pool, which rises with each change of it; 0 where upstream does not say it.
    #[serde(skip)]
    pub version: u64,
}

impl Object {
    /// Writers that this gateway does not see can still race: a pool's bounds are looked at again in every answer.
    pub fn bounds_crossed(&self) -> bool {
        let (min, max) = self.sizes.bounds();
        min.zip(max).is_some_and(|(min, max)| min > max)
    }

    /// A prebuild has no sizes.
    pub fn is_pool(&self) -> bool {
        !self.sizes.is_empty()
    }
}

impl From<pb::Prebuild> for Object {
    fn from(prebuild: pb::Prebuild) -> Self {
        let metadata = prebuild.metadata.unwrap_or_default();
        Self {
            id: prebuild.id,
            organization: metadata.organization_id,
            project: metadata.project_id,
            class: metadata.environment_class_id,
            sizes: Sizes::default(),
            has_ended: prebuild.status.as_ref().is_some_and(has_ended),
            version: 0,
            log_url: prebuild.status.map(|status| status.log_url).unwrap_or_default(),
        }
    }
}

impl From<pb::WarmPool> for Object {
    #[expect(deprecated, reason = "older pools have only desired_size")]
    fn from(pool: pb::WarmPool) -> Self {
        let metadata = pool.metadata.unwrap_or_default();
        let spec = pool.spec.unwrap_or_default();
        Self {
            id: pool.id,
            organization: metadata.organization_id,
            project: metadata.project_id,
            class: metadata.environment_class_id,
            sizes: Sizes { desired: Some(spec.desired_size), min: spec.min_size, max: spec.max_size },
            log_url: String::new(),
            has_ended: pool.status.is_some_and(|status| status.phase() == pb::WarmPoolPhase::Deleted),
            version: spec.spec_version,
        }
    }
}

/// Whether a prebuild is over, for good. One that is being deleted is over if it was before: from `COMPLETED` on nothing
/// begins anew. A phase that is not said, or that the schema does not know, is none that is known to be over.
fn has_ended(status: &pb::PrebuildStatus) -> bool {
    use pb::PrebuildPhase as Phase;

    match status.phase() {
        Phase::Completed | Phase::Failed | Phase::Cancelled | Phase::Deleted => true,
        Phase::Deleting => status.completion_time.is_some(),
        Phase::Unspecified
        | Phase::Pending
        | Phase::Starting
        | Phase::Running
        | Phase::Stopping
        | Phase::Snapshotting
        | Phase::Cancelling => false,
    }
}
