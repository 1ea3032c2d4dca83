//! The prebuilds of one organization.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::SystemTime,
};

use uuid::Uuid;

use super::{
    life::{Course, Life, Moment},
    message::{
        CreatePrebuild, ListPrebuilds, Prebuild, PrebuildFilter, PrebuildMetadata, PrebuildPhase,
        PrebuildSpec, PrebuildStatus, Trigger,
    },
    org::derived,
    pages::{Page, Pages},
    refusal::{Code, Refusal},
    scalar::{Long, Object, Open, Span, Stamp},
    world::{Place, listed, parse_id},
};

/// Prebuilds that are kept per organization; beyond, the oldest finished one is forgotten.
pub(super) const CAPACITY: usize = 10_000;

/// As the contract states it.
const DEFAULT_TIMEOUT: Span = Span::seconds(3600);

/// Sizes lie above what 32 bits hold, as real snapshots do.
const SNAPSHOT_BYTES: u64 = 8 << 30;

/// Everything by its number, which rises with the creation.
#[derive(Debug, Default)]
pub(super) struct Prebuilds {
    created: u64,
    runs: BTreeMap<u64, Run>,
    numbers: HashMap<Uuid, u64>,
    /// Those that had not ended when one was created last.
    running: BTreeSet<u64>,
    /// The most that ran at once.
    pub(super) most_running: usize,
}

#[derive(Debug)]
struct Run {
    id: Uuid,
    project: Uuid,
    class: Uuid,
    timeout: Span,
    warning: bool,
    course: Course,
}

impl Prebuilds {
    pub(super) fn create(
        &mut self,
        place: &Place,
        request: CreatePrebuild,
        now: SystemTime,
    ) -> Result<Prebuild, Refusal> {
        let class = request.environment_class_id.as_deref();
        let (project, class) = place.locate(request.project_id.as_deref(), class)?;
        self.make_room(&place.life, now)?;
        let timeout = request.spec.and_then(|Object(spec)| spec.timeout).unwrap_or(DEFAULT_TIMEOUT);
        self.created += 1;
        let every = |interval: u64| interval != 0 && self.created.is_multiple_of(interval);
        let run = Run {
            id: Uuid::new_v4(),
            project,
            class,
            timeout,
            warning: every(place.life.warn_every),
            course: Course {
                created: now,
                timeout: timeout.duration().unwrap_or_default(),
                fails: every(place.life.fail_every),
                cancelled: None,
                deleted: None,
            },
        };
        let moment = run.course.at(&place.life, now).ok_or_else(|| Refusal::not_found("prebuild"))?;
        let shown = run.show(place, moment);
        self.numbers.insert(run.id, self.created);
        self.runs.insert(self.created, run);
        self.running.insert(self.created);
        self.most_running = self.most_running.max(self.running(&place.life, now));
        Ok(shown)
    }

    /// How many have not ended: all that are neither over nor gone.
    pub(super) fn running(&mut self, life: &Life, now: SystemTime) -> usize {
        let Self { running, runs, .. } = self;
        let runs = |number: &u64| runs.get(number)?.course.at(life, now)?.completed.is_none().then_some(());
        running.retain(|number| runs(number).is_some());
        running.len()
    }

    pub(super) fn get(&self, place: &Place, id: Option<&str>, now: SystemTime) -> Result<Prebuild, Refusal> {
        let number = self.number(id)?;
        self.show(place, number, now)
    }

    /// The id of a prebuild that is there.
    pub(super) fn find(&self, place: &Place, id: Option<&str>, now: SystemTime) -> Result<Uuid, Refusal> {
        let number = self.number(id)?;
        let there = self.runs.get(&number).filter(|run| run.course.at(&place.life, now).is_some());
        there.map(|run| run.id).ok_or_else(|| Refusal::not_found("prebuild"))
    }

    pub(super) fn cancel(
        &mut self,
        place: &Place,
        id: Option<&str>,
        now: SystemTime,
    ) -> Result<Prebuild, Refusal> {
        use PrebuildPhase as Phase;

        let number = self.number(id)?;
        let (run, moment) = self.present(&place.life, number, now)?;
        match moment.phase {
            Phase::Pending | Phase::Starting | Phase::Running | Phase::Snapshotting => {
                run.course.cancelled = Some(now);
            }
            // A second call finds the first one's work.
            Phase::Cancelling => {}
            Phase::Unspecified
            | Phase::Stopping
            | Phase::Completed
            | Phase::Failed
            | Phase::Cancelled
            | Phase::Deleting
            | Phase::Deleted => {
                let message = "prebuild is finished and cannot be cancelled";
                return Err(Refusal::new(Code::FAILED_PRECONDITION, "PREBUILD_FINISHED", message));
            }
        }
        self.show(place, number, now)
    }

    pub(super) fn delete(&mut self, life: &Life, id: Option<&str>, now: SystemTime) -> Result<(), Refusal> {
        let number = self.number(id)?;
        let (run, _) = self.present(life, number, now)?;
        run.course.deleted.get_or_insert(now);
        Ok(())
    }

    pub(super) fn list(
        &self,
        place: &Place,
        pages: &Pages,
        request: &ListPrebuilds,
        now: SystemTime,
    ) -> Result<Page<Prebuild>, Refusal> {
        let filter = request.filter.as_ref().map(|Object(filter)| filter);
        let items = self.runs.iter().rev().filter_map(|(number, run)| {
            let moment = run.course.at(&place.life, now)?;
            let passes = filter.is_none_or(|filter| run.passes(filter, place, moment));
            passes.then_some((*number, (run, moment)))
        });
        let page = pages.cut(place.shelf("prebuilds"), request.pagination.as_ref(), items)?;
        let items = page.items.into_iter().map(|(run, moment)| run.show(place, moment)).collect();
        Ok(Page { items, next: page.next })
    }

    /// The newest prebuild of a project and class that has completed, and when it did.
    pub(super) fn newest_completed(
        &self,
        life: &Life,
        (project, class): (Uuid, Uuid),
        now: SystemTime,
    ) -> Option<(Uuid, SystemTime)> {
        let runs = self.runs.values().rev().filter(|run| run.project == project && run.class == class);
        let mut completed = runs.filter_map(|run| {
            let moment = run.course.at(life, now)?;
            (moment.phase == PrebuildPhase::Completed).then_some((run.id, moment.since))
        });
        completed.next()
    }

    fn number(&self, id: Option<&str>) -> Result<u64, Refusal> {
        let number = parse_id(id).and_then(|id| self.numbers.get(&id).copied());
        number.ok_or_else(|| Refusal::not_found("prebuild"))
    }

    fn present(&mut self, life: &Life, number: u64, now: SystemTime) -> Result<(&mut Run, Moment), Refusal> {
        let run = self.runs.get_mut(&number);
        run.and_then(|run| run.course.at(life, now).map(|moment| (run, moment)))
            .ok_or_else(|| Refusal::not_found("prebuild"))
    }

    fn show(&self, place: &Place, number: u64, now: SystemTime) -> Result<Prebuild, Refusal> {
        let run = self.runs.get(&number);
        let shown = run.and_then(|run| run.course.at(&place.life, now).map(|moment| run.show(place, moment)));
        shown.ok_or_else(|| Refusal::not_found("prebuild"))
    }

    fn make_room(&mut self, life: &Life, now: SystemTime) -> Result<(), Refusal> {
        if self.runs.len() < CAPACITY {
            return Ok(());
        }
        let finished = |run: &Run| run.course.at(life, now).is_none_or(|moment| moment.completed.is_some());
        let oldest = self.runs.iter().find(|(_, run)| finished(run)).map(|(number, _)| *number);
        let Some(run) = oldest.and_then(|number| self.runs.remove(&number)) else {
            let message = "too many prebuilds are running";
            return Err(Refusal::new(Code::RESOURCE_EXHAUSTED, "TOO_MANY_PREBUILDS", message));
        };
        self.numbers.remove(&run.id);
        Ok(())
    }
}

impl Run {
    fn passes(&self, filter: &PrebuildFilter, place: &Place, moment: Moment) -> bool {
        // One subject stands for everybody: it creates what its token asks for, and runs it.
        let subject = parse_id(Some(&place.subject.id)).unwrap_or_default();
        listed(filter.project_ids.as_deref(), self.project)
            && one_of(filter.phases.as_deref(), moment.phase)
            && one_of(filter.triggered_by.as_deref(), Trigger::Manual)
            && listed(filter.creator_ids.as_deref(), subject)
            && listed(filter.executor_ids.as_deref(), subject)
    }

    fn show(&self, place: &Place, moment: Moment) -> Prebuild {
        Prebuild {
            id: self.id.to_string(),
            metadata: PrebuildMetadata {
                organization_id: place.org.organization_id.to_string(),
                project_id: self.project.to_string(),
                environment_class_id: self.class.to_string(),
                creator: place.subject.clone(),
                created_at: Stamp(self.course.created),
                updated_at: Stamp(moment.since),
                triggered_by: Trigger::Manual,
                executor: place.subject.clone(),
            },
            spec: self.spec(),
            status: self.status(place, moment),
        }
    }

    fn spec(&self) -> PrebuildSpec {
        let (cancelled, deleted) = (self.course.cancelled.is_some(), self.course.deleted.is_some());
        let desired_phase = match (cancelled, deleted) {
            (_, true) => PrebuildPhase::Deleted,
            (true, false) => PrebuildPhase::Cancelled,
            (false, false) => PrebuildPhase::Completed,
        };
        let spec_version = Long(1 + u64::from(cancelled) + u64::from(deleted));
        PrebuildSpec { spec_version, desired_phase, timeout: self.timeout }
    }

    fn status(&self, place: &Place, moment: Moment) -> PrebuildStatus {
        let completed = moment.phase == PrebuildPhase::Completed;
        let seed = derived(&[self.id.as_bytes(), b"snapshot"]).as_u64_pair().0;
        let environment = derived(&[self.id.as_bytes(), b"environment"]).to_string();
        PrebuildStatus {
            phase: moment.phase,
            completion_time: moment.completed.map(Stamp),
            failure_message: self.failure(&place.life, moment),
            log_url: place.log_url(self.id),
            environment_id: (moment.phase != PrebuildPhase::Pending).then_some(environment),
            status_version: Long(moment.version),
            warning_message: if completed && self.warning {
                "the devcontainer failed to build; the environment uses the default image"
            } else {
                ""
            },
            snapshot_completion_percentage: i32::from(moment.progress),
            snapshot_size_bytes: completed.then_some(Long(SNAPSHOT_BYTES + (seed >> 32))),
        }
    }

    fn failure(&self, life: &Life, moment: Moment) -> String {
        if moment.phase != PrebuildPhase::Failed {
            String::new()
        } else if self.course.times_out(life) {
            format!("prebuild did not complete within its timeout of {}", self.timeout)
        } else {
            "the prebuild task exited with status 1".to_owned()
        }
    }
}

fn one_of<E: PartialEq>(listed: Option<&[Open<E>]>, value: E) -> bool {
    match listed.unwrap_or_default() {
        [] => true,
        listed => listed.contains(&Open::Defined(value)),
    }
}
