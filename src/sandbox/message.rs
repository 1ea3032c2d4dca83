//! The messages as JSON, written a second time and by hand: what goes through the gateway is read here by other code
//! than wrote it.
//!
//! Requests: keys in lowerCamelCase or snake_case, null and absent are equal, unknown keys are ignored. Replies leave
//! defaults out.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    org::derived,
    scalar::{Int32, Long, Object, Open, Span, Stamp, wire_enum},
};

wire_enum! {
    PrebuildPhase {
        Unspecified = 0 "PREBUILD_PHASE_UNSPECIFIED",
        Pending = 10 "PREBUILD_PHASE_PENDING",
        Starting = 20 "PREBUILD_PHASE_STARTING",
        Running = 30 "PREBUILD_PHASE_RUNNING",
        Stopping = 40 "PREBUILD_PHASE_STOPPING",
        Snapshotting = 50 "PREBUILD_PHASE_SNAPSHOTTING",
        Completed = 60 "PREBUILD_PHASE_COMPLETED",
        Failed = 70 "PREBUILD_PHASE_FAILED",
        Cancelling = 75 "PREBUILD_PHASE_CANCELLING",
        Cancelled = 80 "PREBUILD_PHASE_CANCELLED",
        Deleting = 85 "PREBUILD_PHASE_DELETING",
        Deleted = 90 "PREBUILD_PHASE_DELETED",
    }
}

wire_enum! {
    Trigger {
        Unspecified = 0 "PREBUILD_TRIGGER_UNSPECIFIED",
        Manual = 1 "PREBUILD_TRIGGER_MANUAL",
        Scheduled = 2 "PREBUILD_TRIGGER_SCHEDULED",
    }
}

/// The phases that the sandbox's pools go through; no request names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum WarmPoolPhase {
    #[serde(rename = "WARM_POOL_PHASE_PENDING")]
    Pending,
    #[serde(rename = "WARM_POOL_PHASE_READY")]
    Ready,
    #[serde(rename = "WARM_POOL_PHASE_DELETING")]
    Deleting,
    #[serde(rename = "WARM_POOL_PHASE_DELETED")]
    Deleted,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct CreatePrebuild {
    #[serde(alias = "project_id")]
    pub(super) project_id: Option<String>,
    #[serde(alias = "environment_class_id")]
    pub(super) environment_class_id: Option<String>,
    pub(super) spec: Option<Object<Spec>>,
}

/// What a client may say in a spec. Versions are the server's and are not read.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(alias = "desired_phase")]
    pub(super) desired_phase: Option<Open<PrebuildPhase>>,
    pub(super) timeout: Option<Span>,
}

/// Get, Cancel, Delete and CreatePrebuildLogsToken.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct OnePrebuild {
    #[serde(alias = "prebuild_id")]
    pub(super) prebuild_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListPrebuilds {
    pub(super) pagination: Option<Object<Pagination>>,
    pub(super) filter: Option<Object<PrebuildFilter>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PrebuildFilter {
    #[serde(alias = "project_ids")]
    pub(super) project_ids: Option<Vec<String>>,
    pub(super) phases: Option<Vec<Open<PrebuildPhase>>>,
    #[serde(alias = "triggered_by")]
    pub(super) triggered_by: Option<Vec<Open<Trigger>>>,
    #[serde(alias = "creator_ids")]
    pub(super) creator_ids: Option<Vec<String>>,
    #[serde(alias = "executor_ids")]
    pub(super) executor_ids: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Pagination {
    #[serde(alias = "page_size")]
    pub(super) page_size: Option<Int32>,
    pub(super) token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct CreateWarmPool {
    #[serde(alias = "project_id")]
    pub(super) project_id: Option<String>,
    #[serde(alias = "environment_class_id")]
    pub(super) environment_class_id: Option<String>,
    #[serde(alias = "desired_size")]
    pub(super) desired_size: Option<Int32>,
    #[serde(alias = "min_size")]
    pub(super) min_size: Option<Int32>,
    #[serde(alias = "max_size")]
    pub(super) max_size: Option<Int32>,
}

/// Get and Delete.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct OneWarmPool {
    #[serde(alias = "warm_pool_id")]
    pub(super) warm_pool_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct UpdateWarmPool {
    #[serde(alias = "warm_pool_id")]
    pub(super) warm_pool_id: Option<String>,
    #[serde(alias = "desired_size")]
    pub(super) desired_size: Option<Int32>,
    #[serde(alias = "min_size")]
    pub(super) min_size: Option<Int32>,
    #[serde(alias = "max_size")]
    pub(super) max_size: Option<Int32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListWarmPools {
    pub(super) pagination: Option<Object<Pagination>>,
    pub(super) filter: Option<Object<WarmPoolFilter>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WarmPoolFilter {
    #[serde(alias = "project_ids")]
    pub(super) project_ids: Option<Vec<String>>,
    #[serde(alias = "environment_class_ids")]
    pub(super) environment_class_ids: Option<Vec<String>>,
}

/// GetAuthenticatedIdentity, and whatever else has no fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Empty {}

#[derive(Debug, Serialize)]
pub(super) struct Prebuild {
    pub(super) id: String,
    pub(super) metadata: PrebuildMetadata,
    pub(super) spec: PrebuildSpec,
    pub(super) status: PrebuildStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrebuildMetadata {
    pub(super) organization_id: String,
    pub(super) project_id: String,
    pub(super) environment_class_id: String,
    pub(super) creator: Subject,
    pub(super) created_at: Stamp,
    pub(super) updated_at: Stamp,
    pub(super) triggered_by: Trigger,
    pub(super) executor: Subject,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Subject {
    pub(super) id: String,
    pub(super) principal: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrebuildSpec {
    pub(super) spec_version: Long,
    pub(super) desired_phase: PrebuildPhase,
    pub(super) timeout: Span,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PrebuildStatus {
    pub(super) phase: PrebuildPhase,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) completion_time: Option<Stamp>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) failure_message: String,
    pub(super) log_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) environment_id: Option<String>,
    pub(super) status_version: Long,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) warning_message: &'static str,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) snapshot_completion_percentage: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot_size_bytes: Option<Long>,
}

#[derive(Debug, Serialize)]
pub(super) struct WarmPool {
    pub(super) id: String,
    pub(super) metadata: WarmPoolMetadata,
    pub(super) spec: WarmPoolSpec,
    pub(super) status: WarmPoolStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WarmPoolMetadata {
    pub(super) organization_id: String,
    pub(super) project_id: String,
    pub(super) environment_class_id: String,
    pub(super) runner_id: String,
    pub(super) created_at: Stamp,
    pub(super) updated_at: Stamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WarmPoolSpec {
    pub(super) spec_version: Long,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) desired_size: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot_id: Option<String>,
    pub(super) desired_phase: WarmPoolPhase,
    /// Explicit presence: a zero is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min_size: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_size: Option<i32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instances {
    pub(super) phase: WarmPoolPhase,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) running_instances: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) stopped_instances: i32,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) desired_size: i32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WarmPoolStatus {
    #[serde(flatten)]
    pub(super) instances: Instances,
    pub(super) status_version: Long,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    pub(super) subject: Subject,
    pub(super) organization_id: String,
    pub(super) organization_tier: &'static str,
}

impl Subject {
    /// The account of an organization that its first token stands for.
    pub(super) fn service_of(organization: Uuid) -> Self {
        let id = derived(&[organization.as_bytes(), b"subject"]).to_string();
        Self { id, principal: "PRINCIPAL_SERVICE_ACCOUNT" }
    }

    pub(super) fn user(id: &str) -> Self {
        Self { id: id.to_owned(), principal: "PRINCIPAL_USER" }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
