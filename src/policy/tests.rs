//! The stages of this room on the way of a call, with the sandbox as its upstream.

use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
    time::Duration,
};

use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::{Service as _, ServiceBuilder, util::BoxCloneSyncService};
use uuid::Uuid;

use super::{Authorize, Edition, Ground, InScope, Stricter, Validate, WriteDefaults, applied::Limits};
use crate::{
    call::{self, Call, Context, OrgId, Reply, Token},
    connect::metadata::AllowList,
    error::{Error, Reason},
    proto::gitpod::v1 as pb,
    rpc::{self, CREATE_PREBUILD, CREATE_WARM_POOL, MethodSpec},
    rule::{Applied, Mode, Selection},
    sandbox::{Clock, Life, Org, Rules, Sandbox, Settings},
    stack::{Next, Stage, stage},
    telemetry::Metrics,
    upstream::{
        Base, Client, Config, Credentials, Holding, Organizations, PageKey, Parting, Resolve, Tenancy,
        Upstream, Walk,
    },
};

mod by_id;
mod effective;
mod lists;

/// What parts the orgs upstream: both ways.
const STRICT: [bool; 2] = [false, true];

/// In place of the policy's first stage: nothing but what a test has set is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unruled;

/// The call plane's stages that policies and look-ups are in, in their order.
struct Bench {
    sandbox: Sandbox,
    acme: Org,
    service: BoxCloneSyncService<Call, Reply, Error>,
    _stop: DropGuard,
}

impl Bench {
    async fn start(is_strict: bool) -> Self {
        let orgs = ["acme", "globex"].map(|name| Org::demo(name, format!("{name}-token").into()));
        let life = Life { step: Duration::from_secs(3600), warn_every: 0, fail_every: 0 };
        let rules = Rules::default();
        let sandbox = Sandbox::new(Settings { orgs: orgs.to_vec(), life, rules, clock: Clock::system() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
        let service = plane(address, &orgs, is_strict);
        let [acme, _] = orgs;
        Self { sandbox, acme, service, _stop: stop.drop_guard() }
    }

    /// A call of acme's, or of another org's, under these limits.
    async fn tried(
        &self,
        org: &str,
        method: &'static MethodSpec,
        request: &impl Message,
        limits: &Limits,
    ) -> (Result<Reply, Error>, Context) {
        let mut call = call::tests::call(method, request);
        call.identity.org = org.into();
        call.bound.projects = in_force(&limits.projects);
        call.bound.classes = in_force(&limits.environment_classes);
        call.left.insert(Arc::new(limits.clone()));
        let context = call.context.clone();
        (self.service.clone().call(call).await, context)
    }

    async fn call(
        &self,
        method: &'static MethodSpec,
        request: &impl Message,
        limits: &Limits,
    ) -> Result<Reply, Error> {
        self.tried("acme", method, request, limits).await.0
    }

    /// What upstream was asked for since, by method.
    fn asked(&self, since: usize) -> Vec<String> {
        let seen = self.sandbox.seen().split_off(since);
        seen.iter().map(|seen| seen.path.rsplit('/').next().unwrap().to_owned()).collect()
    }

    fn project(&self, index: usize) -> Uuid {
        self.acme.projects[index].id
    }

    fn class(&self, index: usize) -> Uuid {
        self.acme.projects[0].classes[index]
    }

    /// A new prebuild of a project, by id.
    async fn prebuild(&self, project: usize, class: usize) -> String {
        let request = create(self.project(project), Some(self.class(class)));
        let reply = self.call(&CREATE_PREBUILD, &request, &Limits::default()).await.unwrap();
        reply.seen.objects[0].id.clone()
    }

    /// A new pool of a project, by id.
    async fn pool(&self, project: usize, class: usize) -> String {
        let request = pb::CreateWarmPoolRequest {
            project_id: self.project(project).to_string(),
            environment_class_id: self.class(class).to_string(),
            min_size: Some(1),
            max_size: Some(9),
            ..pb::CreateWarmPoolRequest::default()
        };
        let reply = self.call(&CREATE_WARM_POOL, &request, &Limits::default()).await.unwrap();
        reply.seen.objects[0].id.clone()
    }
}

impl Stage<Call> for Unruled {
    type Passes = Call;
    type Response = Reply;

    async fn call<S: Next<Call, Reply>>(&self, mut call: Call, next: S) -> Result<Reply, Error> {
        static EDITION: LazyLock<Arc<Edition>> =
            LazyLock::new(|| Arc::new(Edition::built_in(&Ground::default()).unwrap()));
        call.left.get_or_insert_default::<Arc<Limits>>();
        if call.left.get::<Arc<Edition>>().is_none() {
            call.left.insert(EDITION.clone());
        }
        next.run(call).await
    }
}

fn plane(upstream: SocketAddr, orgs: &[Org], is_strict: bool) -> BoxCloneSyncService<Call, Reply, Error> {
    let config = Config::at(format!("http://{upstream}/api"));
    let base = Base::parse(&config.base_url).unwrap();
    let tokens = orgs
        .iter()
        .map(|org| (OrgId::from(org.name.as_str()), Token::new(&format!("{}-token", org.name)).unwrap()));
    let client = Client::new(&config, base, Credentials::new(tokens)).unwrap();
    let metrics = Metrics::new();
    let allowed = AllowList::for_responses([]).unwrap();
    let upstream = Upstream::new(client, allowed, Duration::from_secs(60), metrics.clone());
    let known = orgs.iter().map(|org| (OrgId::from(org.name.as_str()), org.organization_id.to_string()));
    let organizations = Organizations::new(known).sharing(is_strict);
    let holding = |org: &Org| Holding {
        projects: org.projects.iter().map(|project| project.id).collect(),
        classes: org.projects.iter().flat_map(|project| project.classes.clone()).collect(),
    };
    let holdings = orgs.iter().map(|org| (OrgId::from(org.name.as_str()), holding(org))).collect();
    let parting = match is_strict {
        true => Parting::ByProject { holdings: Arc::new(holdings), key: PageKey::new(vec![7; 32]).unwrap() },
        false => Parting::ByOrganization,
    };
    let tenancy = Tenancy::new(organizations, parting, metrics.clone());
    BoxCloneSyncService::new(
        ServiceBuilder::new()
            .layer(stage(InScope))
            .layer(stage(WriteDefaults))
            .layer(stage(Validate { stricter: Stricter::Forward }))
            .layer(stage(Resolve::new(upstream.clone(), tenancy.clone(), metrics)))
            .layer(stage(Unruled))
            .layer(stage(Authorize::default()))
            .layer(stage(Walk::new(upstream.clone(), tenancy.clone())))
            .layer(stage(tenancy))
            .service(upstream),
    )
}

fn in_force(selections: &[Applied<Selection>]) -> Selection {
    selections
        .iter()
        .find(|applied| applied.is_enforced())
        .map_or_else(Selection::default, |it| it.value.clone())
}

fn applied<T>(name: &str, mode: Mode, value: T) -> Vec<Applied<T>> {
    vec![Applied {
        rule: format!("limits.{name}").as_str().into(),
        mode,
        candidate: false,
        value,
        link: None,
    }]
}

fn only(ids: impl IntoIterator<Item = Uuid>) -> Selection {
    Selection { allow: Some(Arc::new(ids.into_iter().collect())), deny: Arc::default() }
}

fn projects(selection: Selection) -> Limits {
    Limits { projects: applied("projects", Mode::Enforce, selection), ..Limits::default() }
}

fn classes(selection: Selection) -> Limits {
    let environment_classes = applied("environment_classes", Mode::Enforce, selection);
    Limits { environment_classes, ..Limits::default() }
}

fn create(project: Uuid, class: Option<Uuid>) -> pb::CreatePrebuildRequest {
    pb::CreatePrebuildRequest {
        project_id: project.to_string(),
        environment_class_id: class.map(|class| class.to_string()),
        spec: Some(pb::PrebuildSpec::default()),
    }
}

/// Who refused, and by which rule.
fn refused(result: Result<Reply, Error>) -> (Option<Reason>, Option<String>) {
    let error = result.unwrap_err();
    (error.reason, error.rule.map(|rule| rule.to_string()))
}
