//! The warm pools of one organization. They are settled when somebody looks: the newest snapshot is taken over and
//! the number of instances follows the time.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use uuid::Uuid;

use super::{
    life::Life,
    message::{
        CreateWarmPool, Instances, ListWarmPools, UpdateWarmPool, WarmPool, WarmPoolMetadata, WarmPoolPhase,
        WarmPoolSpec, WarmPoolStatus,
    },
    org::derived,
    pages::{Page, Pages},
    prebuilds::Prebuilds,
    refusal::{Code, Refusal},
    scalar::{Int32, Long, Object, Stamp},
    validate::Rules,
    world::{Place, listed, parse_id},
};

/// One pool per (project, class): their number is bounded by the organization's.
#[derive(Debug, Default)]
pub(super) struct Pools {
    created: u64,
    pools: BTreeMap<u64, Pool>,
    /// Writes after which a pool had min > max.
    pub(super) inverted: u64,
}

#[derive(Debug)]
struct Pool {
    id: Uuid,
    project: Uuid,
    class: Uuid,
    created: SystemTime,
    updated: SystemTime,
    deleted: Option<SystemTime>,
    sizes: Sizes,
    spec_version: u64,
    /// The prebuild whose snapshot is kept warm, and since when.
    snapshot: Option<(Uuid, SystemTime)>,
    instances: Instances,
    status_version: u64,
}

/// Sizes as they were asked for. A pool with nothing but `desired` is one of the old kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    desired: Option<i32>,
    min: Option<i32>,
    max: Option<i32>,
}

impl Pools {
    pub(super) fn create(
        &mut self,
        place: &Place,
        request: &CreateWarmPool,
        now: SystemTime,
    ) -> Result<u64, Refusal> {
        let class = request.environment_class_id.as_deref().unwrap_or_default();
        let (project, class) = place.locate(request.project_id.as_deref(), Some(class))?;
        if self.pools.values().any(|pool| pool.project == project && pool.class == class) {
            let message = "a warm pool for this project and environment class already exists";
            return Err(Refusal::new(Code::ALREADY_EXISTS, "WARM_POOL_EXISTS", message));
        }
        // No presence in this message: zero is unset.
        let desired = request.desired_size.filter(|Int32(size)| *size != 0);
        let sizes = Sizes {
            desired: desired.map(number),
            min: request.min_size.map(number),
            max: request.max_size.map(number),
        };
        self.admit(place.rules, sizes)?;
        self.created += 1;
        self.pools.insert(self.created, Pool::new((project, class), sizes, now));
        Ok(self.created)
    }

    pub(super) fn find(&self, id: Option<&str>) -> Result<u64, Refusal> {
        let id = parse_id(id);
        let found = self.pools.iter().find(|(_, pool)| Some(pool.id) == id);
        found.map(|(number, _)| *number).ok_or_else(|| Refusal::not_found("warm pool"))
    }

    pub(super) fn update(
        &mut self,
        place: &Place,
        request: &UpdateWarmPool,
        now: SystemTime,
    ) -> Result<u64, Refusal> {
        let number = self.find(request.warm_pool_id.as_deref())?;
        let pool = self.pools.get(&number).ok_or_else(|| Refusal::not_found("warm pool"))?;
        if pool.deleted.is_some() {
            let message = "warm pool is being deleted";
            return Err(Refusal::new(Code::FAILED_PRECONDITION, "WARM_POOL_DELETING", message));
        }
        let (before, after) = (pool.sizes, pool.sizes.changed_by(request));
        self.admit(place.rules, after)?;
        if let Some(pool) = self.pools.get_mut(&number).filter(|_| before != after) {
            pool.sizes = after;
            pool.spec_version += 1;
            pool.updated = now;
        }
        Ok(number)
    }

    pub(super) fn delete(&mut self, id: Option<&str>, now: SystemTime) -> Result<(), Refusal> {
        let number = self.find(id)?;
        if let Some(pool) = self.pools.get_mut(&number).filter(|pool| pool.deleted.is_none()) {
            pool.deleted = Some(now);
            pool.spec_version += 1;
            pool.updated = now;
        }
        Ok(())
    }

    pub(super) fn show(&self, place: &Place, number: u64) -> Result<WarmPool, Refusal> {
        let pool = self.pools.get(&number);
        pool.map(|pool| pool.show(place)).ok_or_else(|| Refusal::not_found("warm pool"))
    }

    pub(super) fn list(
        &self,
        place: &Place,
        pages: &Pages,
        request: &ListWarmPools,
    ) -> Result<Page<WarmPool>, Refusal> {
        let filter = request.filter.as_ref().map(|Object(filter)| filter);
        let items = self.pools.iter().rev().filter_map(|(number, pool)| {
            let passes = filter.is_none_or(|filter| {
                listed(filter.project_ids.as_deref(), pool.project)
                    && listed(filter.environment_class_ids.as_deref(), pool.class)
            });
            passes.then_some((*number, pool))
        });
        let page = pages.cut(place.shelf("warm pools"), request.pagination.as_ref(), items)?;
        let items = page.items.into_iter().map(|pool| pool.show(place)).collect();
        Ok(Page { items, next: page.next })
    }

    /// Brings every pool up to the time; those whose deletion is through are gone.
    pub(super) fn settle(&mut self, life: &Life, prebuilds: &Prebuilds, now: SystemTime) {
        self.pools.retain(|_, pool| pool.deleted.is_none_or(|deleted| now < deleted + life.step));
        for pool in self.pools.values_mut() {
            pool.settle(life, prebuilds.newest_completed(life, (pool.project, pool.class), now), now);
        }
    }

    /// Sizes that may become a pool's. Seen on the pool as it will be, so that two halves cannot invert it.
    fn admit(&mut self, rules: Rules, sizes: Sizes) -> Result<(), Refusal> {
        let (min, max) = sizes.range();
        if min <= max {
            return Ok(());
        }
        match rules {
            Rules::Official => Err(Refusal::invalid("min_size", "value must be at most max_size")),
            Rules::None => {
                self.inverted += 1;
                Ok(())
            }
        }
    }
}

impl Pool {
    fn new((project, class): (Uuid, Uuid), sizes: Sizes, now: SystemTime) -> Self {
        let (running_instances, stopped_instances) = (0, 0);
        let phase = WarmPoolPhase::Pending;
        Self {
            id: Uuid::new_v4(),
            project,
            class,
            created: now,
            updated: now,
            deleted: None,
            sizes,
            spec_version: 1,
            snapshot: None,
            instances: Instances {
                phase,
                running_instances,
                stopped_instances,
                desired_size: sizes.range().0,
            },
            status_version: 1,
        }
    }

    fn settle(&mut self, life: &Life, newest: Option<(Uuid, SystemTime)>, now: SystemTime) {
        if newest.map(|(id, _)| id) != self.snapshot.map(|(id, _)| id) {
            // Instances are rotated to the new snapshot one by one: the pool stays as warm as it was.
            let since = self.snapshot.map(|(_, since)| since);
            self.snapshot = newest.map(|(id, completed)| (id, since.unwrap_or(completed.max(self.created))));
            self.spec_version += 1;
            self.updated = now;
        }
        let instances = self.instances_at(life, now);
        if instances != self.instances {
            self.instances = instances;
            self.status_version += 1;
            self.updated = now;
        }
    }

    /// Scaling as a demonstration: one instance per step, up from none, then between min and max and back.
    fn instances_at(&self, life: &Life, now: SystemTime) -> Instances {
        let (min, max) = self.sizes.range();
        // Without the rules anything can stand here.
        let (min, max) = (min.min(max).max(0), max.max(min).max(0));
        let (phase, since) = match (self.deleted, self.snapshot) {
            (Some(_), _) => (WarmPoolPhase::Deleting, None),
            (None, None) => (WarmPoolPhase::Pending, None),
            (None, Some((_, since))) => (WarmPoolPhase::Ready, Some(since)),
        };
        let Some(since) = since else {
            let desired_size = if phase == WarmPoolPhase::Deleting { 0 } else { min };
            return Instances { phase, running_instances: 0, stopped_instances: 0, desired_size };
        };
        let steps = life.steps(now.duration_since(since).unwrap_or(Duration::ZERO));
        let steps = i32::try_from(steps).unwrap_or(i32::MAX);
        let desired_size = min + swing(steps, max - min);
        let running_instances = steps.min(desired_size);
        Instances { phase, running_instances, stopped_instances: max - running_instances, desired_size }
    }

    fn show(&self, place: &Place) -> WarmPool {
        WarmPool {
            id: self.id.to_string(),
            metadata: WarmPoolMetadata {
                organization_id: place.org.organization_id.to_string(),
                project_id: self.project.to_string(),
                environment_class_id: self.class.to_string(),
                runner_id: derived(&[self.class.as_bytes(), b"runner"]).to_string(),
                created_at: Stamp(self.created),
                updated_at: Stamp(self.updated),
            },
            spec: WarmPoolSpec {
                spec_version: Long(self.spec_version),
                desired_size: self.sizes.desired.unwrap_or_default(),
                snapshot_id: self.snapshot.map(|(id, _)| id.to_string()),
                desired_phase: match self.deleted {
                    Some(_) => WarmPoolPhase::Deleted,
                    None => WarmPoolPhase::Ready,
                },
                min_size: self.sizes.min,
                max_size: self.sizes.max,
            },
            status: WarmPoolStatus {
                instances: self.instances.clone(),
                status_version: Long(self.status_version),
            },
        }
    }
}

impl Sizes {
    /// The sizes that hold: `desired` alone is both, an absent min is none, an absent max is no more than needed.
    fn range(self) -> (i32, i32) {
        match (self.min, self.max, self.desired) {
            (None, None, Some(desired)) => (desired, desired),
            (min, max, _) => {
                let min = min.unwrap_or(0);
                (min, max.unwrap_or(min.max(1)))
            }
        }
    }

    /// Only what is named changes; naming min or max makes a pool of the old kind one of the new.
    fn changed_by(self, request: &UpdateWarmPool) -> Self {
        let asked = |size: Option<Int32>| size.map(number);
        let (desired, min, max) =
            (asked(request.desired_size), asked(request.min_size), asked(request.max_size));
        let old = self.min.is_none() && self.max.is_none();
        match (desired, min, max) {
            (None, None, None) => self,
            (Some(_), None, None) if old => Self { desired, ..self },
            (Some(_), None, None) => Self { desired, min: desired, max: desired },
            (desired, min, max) => {
                let (low, high) = self.range();
                let kept = |bound: Option<i32>, effective| bound.or(old.then_some(effective));
                let changed =
                    Self { desired, min: min.or(kept(self.min, low)), max: max.or(kept(self.max, high)) };
                let (low, high) = changed.range();
                // A size of the old kind that no longer fits is not kept.
                let before = self.desired.filter(|desired| (low..=high).contains(desired));
                Self { desired: desired.or(before), ..changed }
            }
        }
    }
}

fn number(Int32(number): Int32) -> i32 {
    number
}

/// Up to `width` and back to zero, one at a time.
fn swing(steps: i32, width: i32) -> i32 {
    if width <= 0 {
        return 0;
    }
    let place = i64::from(steps) % (2 * i64::from(width));
    let height = place.min(2 * i64::from(width) - place);
    i32::try_from(height).unwrap_or(width)
}
