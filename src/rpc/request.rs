//! How requests state their facts, and how they are narrowed and filled.

use bytes::Bytes;
use prost::Message;

use super::facts::{Facts, Fill, Filter, Part, Sizes, Timeout, Turn, present};
use crate::proto::gitpod::v1 as pb;

/// Proto paths of what can be filled in.
const CLASS: &str = "environment_class_id";
const TIMEOUT: &str = "spec.timeout";
const PAGE_SIZE: &str = "pagination.page_size";

/// A request message that can state its facts.
pub trait Request: Message + Default {
    fn facts(&self) -> Facts;

    /// Asks for a part of the list only.
    fn narrow(&mut self, _part: Part) {}

    /// Says what is not said yet, and returns the paths of the fields that it has written.
    fn fill(&mut self, _fill: Fill) -> Vec<&'static str> {
        Vec::new()
    }
}

/// The facts of a page.
fn page(pagination: Option<&pb::PaginationRequest>) -> Facts {
    Facts {
        page_size: pagination.map(|page| page.page_size).filter(|size| *size != 0),
        page_token: pagination.and_then(|page| present(&page.token)),
        ..Facts::default()
    }
}

/// Puts the page into a request.
fn turn(pagination: &mut Option<pb::PaginationRequest>, page: Turn) {
    match page {
        Turn::First => pagination.iter_mut().for_each(|page| page.token.clear()),
        Turn::To(token) => pagination.get_or_insert_default().token = token,
        Turn::Any => *pagination = None,
    }
}

/// Puts the size into a page that has none: 0 is none, too.
fn fill_page(pagination: &mut Option<pb::PaginationRequest>, fill: &Fill) -> Vec<&'static str> {
    let is_said = pagination.as_ref().is_some_and(|page| page.page_size != 0);
    match fill.page_size {
        Some(size) if !is_said => {
            pagination.get_or_insert_default().page_size = size;
            vec![PAGE_SIZE]
        }
        _ => Vec::new(),
    }
}

impl Request for pb::CreatePrebuildRequest {
    fn facts(&self) -> Facts {
        let spec = self.spec.as_ref();
        Facts {
            project: present(&self.project_id),
            class: self.environment_class_id.clone(),
            spec: spec.is_some(),
            timeout: spec
                .and_then(|spec| spec.timeout.as_ref())
                .map(|timeout| Timeout { seconds: timeout.seconds, nanos: timeout.nanos }),
            desired_phase: spec.map(|spec| spec.desired_phase).filter(|phase| *phase != 0),
            ..Facts::default()
        }
    }

    fn fill(&mut self, fill: Fill) -> Vec<&'static str> {
        let mut written = Vec::new();
        if let (None, Some(class)) = (&self.environment_class_id, fill.class) {
            self.environment_class_id = Some(class);
            written.push(CLASS);
        }
        // A request without a spec is wrong, and is not made right.
        if let Some(spec) = self.spec.as_mut().filter(|spec| spec.timeout.is_none())
            && let Some(Timeout { seconds, nanos }) = fill.timeout
        {
            spec.timeout = Some(prost_types::Duration { seconds, nanos });
            written.push(TIMEOUT);
        }
        written
    }
}

impl Request for pb::ListPrebuildsRequest {
    fn facts(&self) -> Facts {
        let filter = self.filter.as_ref().map(|filter| Filter {
            projects: filter.project_ids.clone(),
            creators: filter.creator_ids.clone(),
            executors: filter.executor_ids.clone(),
            phases: filter.phases.clone(),
            triggers: filter.triggered_by.clone(),
            ..Filter::default()
        });
        Facts { filter: filter.unwrap_or_default(), ..page(self.pagination.as_ref()) }
    }

    fn narrow(&mut self, part: Part) {
        if let Some(projects) = part.projects {
            self.filter.get_or_insert_default().project_ids = projects;
        }
        turn(&mut self.pagination, part.page);
    }

    fn fill(&mut self, fill: Fill) -> Vec<&'static str> {
        fill_page(&mut self.pagination, &fill)
    }
}

impl Request for pb::GetAuthenticatedIdentityRequest {
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

macro_rules! by_prebuild_id {
    ($($request:ident),*) => {$(
        impl Request for pb::$request {
            fn facts(&self) -> Facts {
                Facts { prebuild: present(&self.prebuild_id), ..Facts::default() }
            }
        }
    )*};
}

by_prebuild_id!(
    GetPrebuildRequest,
    CancelPrebuildRequest,
    DeletePrebuildRequest,
    CreatePrebuildLogsTokenRequest
);

impl Request for pb::CreateWarmPoolRequest {
    #[expect(deprecated, reason = "desired_size is still part of the API")]
    fn facts(&self) -> Facts {
        Facts {
            project: present(&self.project_id),
            class: present(&self.environment_class_id),
            sizes: Sizes {
                desired: (self.desired_size != 0).then_some(self.desired_size),
                min: self.min_size,
                max: self.max_size,
            },
            ..Facts::default()
        }
    }
}

impl Request for pb::ListWarmPoolsRequest {
    fn facts(&self) -> Facts {
        let filter = self.filter.as_ref().map(|filter| Filter {
            projects: filter.project_ids.clone(),
            classes: filter.environment_class_ids.clone(),
            ..Filter::default()
        });
        Facts { filter: filter.unwrap_or_default(), ..page(self.pagination.as_ref()) }
    }

    fn narrow(&mut self, part: Part) {
        if let Some(projects) = part.projects {
            self.filter.get_or_insert_default().project_ids = projects;
        }
        if let Some(classes) = part.classes {
            self.filter.get_or_insert_default().environment_class_ids = classes;
        }
        turn(&mut self.pagination, part.page);
    }

    fn fill(&mut self, fill: Fill) -> Vec<&'static str> {
        fill_page(&mut self.pagination, &fill)
    }
}

impl Request for pb::UpdateWarmPoolRequest {
    #[expect(deprecated, reason = "desired_size is still part of the API")]
    fn facts(&self) -> Facts {
        Facts {
            pool: present(&self.warm_pool_id),
            sizes: Sizes { desired: self.desired_size, min: self.min_size, max: self.max_size },
            ..Facts::default()
        }
    }
}

macro_rules! by_pool_id {
    ($($request:ident),*) => {$(
        impl Request for pb::$request {
            fn facts(&self) -> Facts {
                Facts { pool: present(&self.warm_pool_id), ..Facts::default() }
            }
        }
    )*};
}

by_pool_id!(GetWarmPoolRequest, DeleteWarmPoolRequest);

/// The look-up of a prebuild by the id that a call names.
pub(super) fn get_prebuild(facts: &Facts) -> Bytes {
    let prebuild_id = facts.prebuild.clone().unwrap_or_default();
    pb::GetPrebuildRequest { prebuild_id }.encode_to_vec().into()
}

/// The look-up of a warm pool by the id that a call names.
pub(super) fn get_warm_pool(facts: &Facts) -> Bytes {
    let warm_pool_id = facts.pool.clone().unwrap_or_default();
    pb::GetWarmPoolRequest { warm_pool_id }.encode_to_vec().into()
}
