//! Counts what an org has outstanding, by lists that its own credential shows, judged as any answer is.
//!
//! Each org of the config has a credential, also one whose callers come with tokens of upstream's own: those see what
//! their users see, and nobody counts by them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, StreamExt as _, TryStreamExt as _},
};
use http::HeaderMap;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::{
    client::gate::Gate,
    credentials::By,
    forward::{Outgoing, page_query},
    learn::Learn,
    tenancy::Tenancy,
};
use crate::{
    call::{Census, Counted, Deadline, Extent, NotCounted, OrgId, Reply, Standing, StandingPool},
    error::{Error, Reason},
    proto::gitpod::v1::{
        ListPrebuildsRequest, ListWarmPoolsRequest, PaginationRequest, PrebuildPhase, list_prebuilds_request,
        list_warm_pools_request,
    },
    rpc::{LIST_PREBUILDS, LIST_WARM_POOLS, MethodSpec, Object, Part, Turn},
};

/// As many as upstream puts on one page, so that most orgs need only one.
const PAGE_SIZE: i32 = 100;
/// Of one list: 10,000 objects. Whoever has more is above every budget anyway.
const MAX_PAGES: usize = 100;
/// As many projects as a filter may name.
const BATCH: usize = 25;
/// Batches that are listed at the same time. With hundreds of projects it is not one slow answer after the other, and
/// upstream still has other work.
const BATCHES_AT_ONCE: usize = 4;
/// One answer that takes longer does not come. How long all of them may take together, the deadline says.
const PAGE_PATIENCE: Duration = Duration::from_secs(30);

/// All phases in which a prebuild holds something. One that the schema does not know cannot be asked for.
const STANDING: [PrebuildPhase; 7] = [
    PrebuildPhase::Pending,
    PrebuildPhase::Starting,
    PrebuildPhase::Running,
    PrebuildPhase::Stopping,
    PrebuildPhase::Snapshotting,
    PrebuildPhase::Cancelling,
    PrebuildPhase::Deleting,
];

/// The census by upstream's own word.
#[derive(Clone, Debug)]
pub struct Inventory {
    learn: Learn,
    tenancy: Tenancy,
}

/// What is asked for of one list.
#[derive(Clone, Debug)]
struct Shelf {
    method: &'static MethodSpec,
    /// The first page's.
    request: Bytes,
}

/// Upstream leads from page to page in a circle, or its list is longer than anybody's.
#[derive(Debug)]
struct Listed {
    objects: Vec<Object>,
    extent: Extent,
}

impl Inventory {
    pub fn new(learn: Learn, tenancy: Tenancy) -> Self {
        Self { learn, tenancy }
    }

    async fn count(self, org: OrgId, deadline: Deadline) -> Result<Counted, Error> {
        let organizations = self.learn.organizations();
        organizations.check(&org)?;
        if organizations.get(&org).is_none() {
            self.learn.ask(&org, soon(deadline), CancellationToken::new()).await?;
        }
        let batches = stream::iter(self.batches(&org));
        let counts = batches.map(|projects| self.count_in(&org, projects, deadline));
        let add = |mut all: Counted, one| async move {
            all.add(one);
            Ok(all)
        };
        counts.buffer_unordered(BATCHES_AT_ONCE).try_fold(Counted::default(), add).await
    }

    /// Where projects part the orgs, only the org's own are counted: no projects is all.
    fn batches(&self, org: &OrgId) -> Vec<Vec<String>> {
        let Some(holding) = self.tenancy.parting().holding(org) else { return vec![Vec::new()] };
        let projects: Vec<_> = holding.projects.iter().map(ToString::to_string).collect();
        projects.chunks(BATCH).map(<[_]>::to_vec).collect()
    }

    async fn count_in(
        &self,
        org: &OrgId,
        projects: Vec<String>,
        deadline: Deadline,
    ) -> Result<Counted, Error> {
        let prebuilds = self.list(org, Shelf::of_prebuilds(projects.clone()), deadline).await?;
        let pools = self.list(org, Shelf::of_pools(projects), deadline).await?;
        let standing = |object: Object| Standing { id: object.id, project: object.project };
        let pool = |object: Object| StandingPool {
            max: object.sizes.reach(),
            version: object.version,
            id: object.id,
            project: object.project,
        };
        Ok(Counted {
            extent: prebuilds.extent.max(pools.extent),
            prebuilds: prebuilds.objects.into_iter().map(standing).collect(),
            pools: pools.objects.into_iter().map(pool).collect(),
        })
    }

    async fn list(&self, org: &OrgId, shelf: Shelf, deadline: Deadline) -> Result<Listed, Error> {
        let (mut objects, mut token) = (Vec::new(), None::<String>);
        for page in 0..MAX_PAGES {
            let reply = self.page(org, &shelf, token.as_deref(), deadline).await?;
            // What is over may be shown all the same.
            objects.extend(reply.seen.objects.into_iter().filter(|object| !object.has_ended));
            token = reply.seen.next;
            if token.is_none() {
                let extent = if page == 0 { Extent::Whole } else { Extent::Paged };
                return Ok(Listed { objects, extent });
            }
        }
        Ok(Listed { objects, extent: Extent::Cut })
    }

    async fn page(
        &self,
        org: &OrgId,
        shelf: &Shelf,
        token: Option<&str>,
        deadline: Deadline,
    ) -> Result<Reply, Error> {
        let Shelf { method, request } = shelf;
        let deadline = soon(deadline);
        let page = token.map_or(Turn::First, |token| Turn::To(token.to_owned()));
        let request = method.part(request, Part { projects: None, classes: None, page });
        let outgoing = Outgoing {
            method,
            by: By::Org(org),
            request: request.map_err(|error| Error::refuse(Reason::Internal).with_source(error))?,
            query: page_query(token, Some(PAGE_SIZE)),
            metadata: HeaderMap::new(),
            gate: Gate::new(deadline, CancellationToken::new()),
            patience: deadline.remaining().unwrap_or_default(),
        };
        let result = self.learn.upstream().send(outgoing).await;
        self.tenancy.judged(&self.tenancy.own_question(org, method), result)
    }
}

impl Census for Inventory {
    fn take(&self, org: OrgId, deadline: Deadline) -> BoxFuture<'static, Result<Counted, NotCounted>> {
        let counting = self.clone().count(org, deadline);
        Box::pin(async { counting.await.map_err(|error| NotCounted(error.into())) })
    }
}

impl Shelf {
    fn of_prebuilds(project_ids: Vec<String>) -> Self {
        let phases = STANDING.iter().map(|phase| i32::from(*phase)).collect();
        let filter = list_prebuilds_request::Filter { project_ids, phases, ..Default::default() };
        let request = ListPrebuildsRequest { pagination: Some(page()), filter: Some(filter) };
        Self { method: &LIST_PREBUILDS, request: request.encode_to_vec().into() }
    }

    fn of_pools(project_ids: Vec<String>) -> Self {
        let filter = list_warm_pools_request::Filter { project_ids, ..Default::default() };
        let request = ListWarmPoolsRequest { pagination: Some(page()), filter: Some(filter) };
        Self { method: &LIST_WARM_POOLS, request: request.encode_to_vec().into() }
    }
}

fn page() -> PaginationRequest {
    PaginationRequest { page_size: PAGE_SIZE, token: String::new() }
}

/// For one answer.
fn soon(deadline: Deadline) -> Deadline {
    Deadline::at(deadline.instant().min(Instant::now() + PAGE_PATIENCE))
}
