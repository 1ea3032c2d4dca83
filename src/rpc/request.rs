//! How requests state their facts, and how they are narrowed and filled.

use bytes::Bytes;
use prost::Message;

use super::facts::{Facts, Fill, Filter, Part, Sizes, Timeout, Turn, present};
use crate::proto::gitpod::v1 as pb;

/// Proto paths of what can be filled in.
pub(super) const CLASS: &str = "environment_class_id";
pub(super) const TIMEOUT: &str = "spec.timeout";
pub(super) const PAGE_SIZE: &str = "pagination.page_size";
/// All of them.
pub(super) const FILLED: [&str; 3] = [CLASS, TIMEOUT, PAGE_SIZE];

/// A request message that can state its facts.
pub trait Request: Message + Default {
    fn facts(&self) -> Facts;

    /// A request that states these facts: what policy sees of a recorded call is all that is left of it. What it cannot
    /// state is left out.
    fn stating(_facts: &Facts) -> Self {
        Self::default()
    }

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

/// A page of this size; none, where it is not said.
fn paged(facts: &Facts) -> Option<pb::PaginationRequest> {
    facts.page_size.map(|page_size| pb::PaginationRequest { page_size, ..Default::default() })
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

    fn stating(facts: &Facts) -> Self {
        let length = |Timeout { seconds, nanos }| prost_types::Duration { seconds, nanos };
        let spec = pb::PrebuildSpec {
            timeout: facts.timeout.map(length),
            desired_phase: facts.desired_phase.unwrap_or_default(),
            ..Default::default()
        };
        Self {
            project_id: facts.project.clone().unwrap_or_default(),
            environment_class_id: facts.class.clone(),
            spec: facts.spec.then_some(spec),
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

    fn stating(facts: &Facts) -> Self {
        let Filter { projects, creators, executors, phases, triggers, classes: _ } = facts.filter.clone();
        let filter = pb::list_prebuilds_request::Filter {
            project_ids: projects,
            creator_ids: creators,
            executor_ids: executors,
            phases,
            triggered_by: triggers,
        };
        Self { filter: Some(filter).filter(|_| !facts.filter.is_empty()), pagination: paged(facts) }
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

            fn stating(facts: &Facts) -> Self {
                Self { prebuild_id: facts.prebuild.clone().unwrap_or_default() }
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

    #[expect(deprecated, reason = "desired_size is still part of the API")]
    fn stating(facts: &Facts) -> Self {
        Self {
            project_id: facts.project.clone().unwrap_or_default(),
            environment_class_id: facts.class.clone().unwrap_or_default(),
            desired_size: facts.sizes.desired.unwrap_or_default(),
            min_size: facts.sizes.min,
            max_size: facts.sizes.max,
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

    fn stating(facts: &Facts) -> Self {
        let Filter { projects, classes, .. } = facts.filter.clone();
        let filter =
            pb::list_warm_pools_request::Filter { project_ids: projects, environment_class_ids: classes };
        Self { filter: Some(filter).filter(|_| !facts.filter.is_empty()), pagination: paged(facts) }
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

    #[expect(deprecated, reason = "desired_size is still part of the API")]
    fn stating(facts: &Facts) -> Self {
        Self {
            warm_pool_id: facts.pool.clone().unwrap_or_default(),
            desired_size: facts.sizes.desired,
            min_size: facts.sizes.min,
            max_size: facts.sizes.max,
        }
    }
}

macro_rules! by_pool_id {
    ($($request:ident),*) => {$(
        impl Request for pb::$request {
            fn facts(&self) -> Facts {
                Facts { pool: present(&self.warm_pool_id), ..Facts::default() }
            }

            fn stating(facts: &Facts) -> Self {
                Self { warm_pool_id: facts.pool.clone().unwrap_or_default() }
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
