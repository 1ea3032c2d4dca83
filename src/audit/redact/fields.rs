//! The class of every field of `proto/gitpod/v1`. What policy may see is kept; what people or programs write freely is
//! not; what opens something is dropped.

use super::Class::{self, Drop, Hash, Keep, Length};

/// By message, then by field. A new field gets its class here, or a test fails.
pub(super) const FIELDS: &[(&str, &[(&str, Class)])] = &[
    ("CancelPrebuildRequest", &[("prebuild_id", Keep)]),
    ("CancelPrebuildResponse", &[("prebuild", Keep)]),
    ("CreatePrebuildLogsTokenRequest", &[("prebuild_id", Keep)]),
    // A secret, good for an hour.
    ("CreatePrebuildLogsTokenResponse", &[("access_token", Drop)]),
    ("CreatePrebuildRequest", &[("project_id", Keep), ("environment_class_id", Keep), ("spec", Keep)]),
    ("CreatePrebuildResponse", &[("prebuild", Keep)]),
    (
        "CreateWarmPoolRequest",
        &[
            ("project_id", Keep),
            ("environment_class_id", Keep),
            ("desired_size", Keep),
            ("min_size", Keep),
            ("max_size", Keep),
        ],
    ),
    ("CreateWarmPoolResponse", &[("warm_pool", Keep)]),
    ("DeletePrebuildRequest", &[("prebuild_id", Keep)]),
    ("DeletePrebuildResponse", &[]),
    ("DeleteWarmPoolRequest", &[("warm_pool_id", Keep)]),
    ("DeleteWarmPoolResponse", &[]),
    ("GetAuthenticatedIdentityRequest", &[]),
    // The tier is a word of upstream's.
    (
        "GetAuthenticatedIdentityResponse",
        &[("subject", Keep), ("organization_id", Keep), ("organization_tier", Hash)],
    ),
    ("GetPrebuildRequest", &[("prebuild_id", Keep)]),
    ("GetPrebuildResponse", &[("prebuild", Keep)]),
    ("GetWarmPoolRequest", &[("warm_pool_id", Keep)]),
    ("GetWarmPoolResponse", &[("warm_pool", Keep)]),
    ("ListPrebuildsRequest", &[("pagination", Keep), ("filter", Keep)]),
    (
        "ListPrebuildsRequest.Filter",
        &[
            ("project_ids", Keep),
            ("phases", Keep),
            ("triggered_by", Keep),
            ("creator_ids", Keep),
            ("executor_ids", Keep),
        ],
    ),
    ("ListPrebuildsResponse", &[("pagination", Keep), ("prebuilds", Keep)]),
    ("ListWarmPoolsRequest", &[("pagination", Keep), ("filter", Keep)]),
    ("ListWarmPoolsRequest.Filter", &[("project_ids", Keep), ("environment_class_ids", Keep)]),
    ("ListWarmPoolsResponse", &[("pagination", Keep), ("warm_pools", Keep)]),
    // Tokens are upstream's own and opaque, but the same one on two records is the same page.
    ("PaginationRequest", &[("page_size", Keep), ("token", Hash)]),
    ("PaginationResponse", &[("next_token", Hash)]),
    ("Prebuild", &[("id", Keep), ("metadata", Keep), ("spec", Keep), ("status", Keep)]),
    (
        "PrebuildMetadata",
        &[
            ("organization_id", Keep),
            ("project_id", Keep),
            ("environment_class_id", Keep),
            ("creator", Keep),
            ("created_at", Keep),
            ("updated_at", Keep),
            ("triggered_by", Keep),
            ("executor", Keep),
        ],
    ),
    ("PrebuildSpec", &[("spec_version", Keep), ("desired_phase", Keep), ("timeout", Keep)]),
    (
        "PrebuildStatus",
        &[
            ("phase", Keep),
            ("completion_time", Keep),
            ("failure_message", Length),
            // Its query may open the log.
            ("log_url", Drop),
            ("environment_id", Keep),
            ("status_version", Keep),
            ("warning_message", Length),
            ("snapshot_completion_percentage", Keep),
            ("snapshot_size_bytes", Keep),
        ],
    ),
    ("Subject", &[("id", Keep), ("principal", Keep)]),
    (
        "UpdateWarmPoolRequest",
        &[("warm_pool_id", Keep), ("desired_size", Keep), ("min_size", Keep), ("max_size", Keep)],
    ),
    ("UpdateWarmPoolResponse", &[("warm_pool", Keep)]),
    ("WarmPool", &[("id", Keep), ("metadata", Keep), ("spec", Keep), ("status", Keep)]),
    (
        "WarmPoolMetadata",
        &[
            ("organization_id", Keep),
            ("project_id", Keep),
            ("environment_class_id", Keep),
            ("runner_id", Keep),
            ("created_at", Keep),
            ("updated_at", Keep),
        ],
    ),
    (
        "WarmPoolSpec",
        &[
            ("spec_version", Keep),
            ("desired_size", Keep),
            // No UUID is promised.
            ("snapshot_id", Hash),
            ("desired_phase", Keep),
            ("min_size", Keep),
            ("max_size", Keep),
        ],
    ),
    (
        "WarmPoolStatus",
        &[
            ("phase", Keep),
            ("failure_message", Length),
            ("status_version", Keep),
            ("running_instances", Keep),
            ("stopped_instances", Keep),
            ("desired_size", Keep),
        ],
    ),
];

/// What the names of the messages begin with.
pub(super) const PACKAGE: &str = "gitpod.v1.";

/// The class of a field, by its message's full name and its own.
pub(super) fn class(message: &str, field: &str) -> Option<Class> {
    let message = message.strip_prefix(PACKAGE)?;
    let row = FIELDS.binary_search_by_key(&message, |(name, _)| name).ok()?;
    let (_, fields) = FIELDS.get(row)?;
    fields.iter().find(|(name, _)| *name == field).map(|(_, class)| *class)
}
