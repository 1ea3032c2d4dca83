//! A gateway in process, and the ways to call it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use prebuild_gateway::{
    app::{App, Listeners, StartError},
    config::{Config, Credential, Pages},
    identity::api_key::KeyHash,
    proto::gitpod::v1::{
        CreatePrebuildRequest, GetPrebuildRequest, PrebuildSpec,
        prebuild_service_client::PrebuildServiceClient,
    },
    sandbox::Org,
    upstream::Mode,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::{
    Request, Status,
    metadata::MetadataMap,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

#[path = "../../src/audit/tests/read.rs"]
pub(crate) mod audit;
mod certified;
pub(crate) mod policy;
pub(crate) mod raw;
mod sandboxed;
pub(crate) mod spoken;
mod told;
pub(crate) mod upstream;

pub(crate) use certified::{Certified, ClientCa, ClientCertificate, connect_with, dns, spiffe};
pub(crate) use sandboxed::Sandboxed;
pub(crate) use told::Told;
pub(crate) use upstream::{Answer, Upstream, http, json, shown};

/// Some object's id.
pub(crate) const ID: &str = "0198c0de-0000-7000-8000-000000000001";
/// The callers' keys and, behind the gateway, the orgs' own credentials.
pub(crate) const ACME_KEY: &str = "pgw_acme-key";
pub(crate) const ACME_TOKEN: &str = "acme-token";
pub(crate) const GLOBEX_KEY: &str = "pgw_globex-key";
pub(crate) const GLOBEX_TOKEN: &str = "globex-token";
/// Of an org that only some gateways have.
pub(crate) const INITECH_TOKEN: &str = "initech-token";
/// Far more than anything here takes: what is not there by then does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) type Client = PrebuildServiceClient<InterceptedService<Channel, Bearer>>;

/// A gateway that serves, with its audit log in a directory of its own.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) app: App,
    pub(crate) directory: TempDir,
}

/// Puts the caller's key into each request.
#[derive(Clone)]
pub(crate) struct Bearer(&'static str);

/// Every record of an audit log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audited(pub(crate) Vec<Value>);

impl Bearer {
    pub(crate) fn of(key: &'static str) -> Self {
        Self(key)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.0).parse().unwrap());
        Ok(request)
    }
}

/// Two orgs with one key each; rates that no test meets by chance; a short drain.
fn config(upstream: SocketAddr, directory: PathBuf) -> Config {
    let org = |name: &str, key: &str| {
        format!(
            "[[identity.api_keys]]\nid = '{name}-ci'\nsubject = 'ci'\norg = '{name}'\nsha256 = '{}'\n\
             [[orgs]]\nid = '{name}'\ncredential = {{ env = '{name}' }}\nupstream_organization_id = '{}'\n",
            KeyHash::of(key),
            Org::demo(name, String::new().into()).organization_id
        )
    };
    let text = format!(
        "{}{}\n[audit]\ndirectory = '{}'\n[upstream]\nbase_url = 'http://{upstream}/api'\n\
         [limits]\nrefusals = {{ per_second = 100000, burst = 100000 }}\n\
         [policy]\nfile = '{}'\nreload_interval = '20ms'\n[server]\nlinger = '200ms'\n[shutdown]\ngrace = '200ms'\n",
        org("acme", ACME_KEY),
        org("globex", GLOBEX_KEY),
        directory.display(),
        policy::file(&directory).display()
    );
    Config::parse(&text).unwrap()
}

fn changed(upstream: SocketAddr, change: impl FnOnce(&mut Config)) -> (TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    policy::write(directory.path(), policy::LOOSE);
    let mut config = config(upstream, directory.path().to_owned());
    change(&mut config);
    (directory, config)
}

/// On any ports.
async fn listeners() -> Listeners {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Listeners::bind(any, any).await.unwrap()
}

fn env(name: &str) -> Option<String> {
    match name {
        "acme" => Some(ACME_TOKEN.to_owned()),
        "globex" => Some(GLOBEX_TOKEN.to_owned()),
        "initech" => Some(INITECH_TOKEN.to_owned()),
        "page-key" => Some("a page key of more than 32 bytes".to_owned()),
        "other-page-key" => Some("another key of more than 32 bytes".to_owned()),
        _ => None,
    }
}

impl Gateway {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        Self::with(upstream, |_| {}).await
    }

    /// A gateway whose config is `change`d. It asks upstream nothing of itself.
    pub(crate) async fn with(upstream: SocketAddr, change: impl FnOnce(&mut Config)) -> Self {
        let (directory, config) = changed(upstream, change);
        Self::of(config, directory).await
    }

    /// A gateway whose policy says this.
    pub(crate) async fn with_policy(
        upstream: SocketAddr,
        policy: &str,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let (directory, config) = changed(upstream, change);
        policy::write(directory.path(), policy);
        Self::of(config, directory).await
    }

    /// Its policy says this from now on, as soon as it has been looked at.
    pub(crate) fn set_policy(&self, policy: &str) {
        policy::write(self.directory.path(), policy);
    }

    /// A gateway with this config, on any ports.
    pub(crate) async fn of(config: Config, directory: TempDir) -> Self {
        let app = App::start(config.resolve(&env).unwrap(), listeners().await).unwrap();
        Self { address: app.gateway, admin: app.admin, app, directory }
    }

    /// The same, as `serve` starts it: upstream is asked about the orgs first.
    pub(crate) async fn asked(
        upstream: SocketAddr,
        change: impl FnOnce(&mut Config),
    ) -> Result<Self, StartError> {
        let (directory, config) = changed(upstream, change);
        let app = App::start_asked(config.resolve(&env).unwrap(), listeners().await).await?;
        Ok(Self { address: app.gateway, admin: app.admin, app, directory })
    }

    pub(crate) async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap()
    }

    /// Calls as acme, on a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        self.client_of(ACME_KEY).await
    }

    pub(crate) async fn client_of(&self, key: &'static str) -> Client {
        PrebuildServiceClient::with_interceptor(self.channel().await, Bearer(key))
    }

    /// What the operator's port says of the metrics.
    pub(crate) async fn metrics(&self) -> String {
        self.operated("/metrics").await
    }

    /// The check of that name, as readiness shows it, and whether the gateway is ready.
    pub(crate) async fn check(&self, name: &str) -> (Value, bool) {
        let answer = self.operated("/readyz").await;
        let report: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let check = report["checks"].as_array().unwrap().iter().find(|check| check["name"] == name);
        (check.cloned().unwrap_or_default(), report["ready"] == true)
    }

    async fn operated(&self, path: &str) -> String {
        let mut admin = TcpStream::connect(self.admin).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        admin.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        admin.read_to_string(&mut text).await.unwrap();
        text
    }

    /// The number behind a series.
    pub(crate) async fn counted(&self, series: &str) -> u64 {
        let metrics = self.metrics().await;
        let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map_or(0, |number| number.parse().unwrap())
    }

    pub(crate) fn audit(&self) -> &Path {
        self.directory.path()
    }

    /// The audit log as it is now.
    pub(crate) fn audited(&self) -> Audited {
        Audited::read(self.audit())
    }

    /// Its files as they are.
    pub(crate) fn audited_text(&self) -> String {
        audit::text(self.audit())
    }

    /// Ends the gateway and returns its whole audit log.
    pub(crate) async fn end(self) -> Audited {
        let Self { app, directory, .. } = self;
        app.drain().await;
        Audited::read(directory.path())
    }
}

impl Audited {
    /// What the log in that directory tells of calls.
    pub(crate) fn read(directory: &Path) -> Self {
        Self(audit::records(directory))
    }

    /// The records of one request, in order.
    pub(crate) fn of(&self, request_id: &str) -> Vec<&Value> {
        self.0.iter().filter(|record| record["request_id"] == request_id).collect()
    }

    /// The stages of one request, in order.
    pub(crate) fn stages(&self, request_id: &str) -> Vec<&str> {
        self.of(request_id).iter().map(|record| record["stage"].as_str().unwrap()).collect()
    }

    /// How many ends with this reason the records stand for: many that are alike are told by one.
    pub(crate) fn number_of(&self, reason: &str) -> u64 {
        let found = self.0.iter().filter(|record| record["end"]["reason"] == reason);
        found.map(|record| record["count"].as_u64().unwrap_or(1)).sum()
    }

    /// The one record of that stage, over all requests.
    pub(crate) fn only(&self, stage: &str) -> &Value {
        let found: Vec<_> = self.0.iter().filter(|record| record["stage"] == stage).collect();
        assert_eq!(found.len(), 1, "{stage}: {:#?}", self.0);
        found[0]
    }
}

/// A config that leaves it to upstream to say which organizations the orgs are.
pub(crate) fn unknown_organizations(config: &mut Config) {
    config.orgs.iter_mut().for_each(|org| org.upstream_organization_id = None);
}

/// A config whose orgs share acme's upstream organization and credential, and have these projects of it.
pub(crate) fn sharing(config: &mut Config, projects: &[Vec<String>]) {
    config.tenancy = Mode::Strict;
    config.pages = Some(Pages { key: Credential::Env("page-key".to_owned()) });
    let first = config.orgs[0].clone();
    for (org, projects) in config.orgs.iter_mut().zip(projects) {
        org.credential = first.credential.clone();
        org.upstream_organization_id = first.upstream_organization_id.clone();
        org.projects.clone_from(projects);
    }
}

/// A read.
pub(crate) fn get() -> GetPrebuildRequest {
    GetPrebuildRequest { prebuild_id: ID.to_owned() }
}

/// A mutation.
pub(crate) fn create() -> CreatePrebuildRequest {
    CreatePrebuildRequest {
        project_id: ID.to_owned(),
        environment_class_id: None,
        spec: Some(PrebuildSpec::default()),
    }
}

/// The id that the gateway gave a request.
pub(crate) fn request_id(metadata: &MetadataMap) -> String {
    metadata.get("x-request-id").expect("every answer has an id").to_str().unwrap().to_owned()
}

/// Waits for something, but not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it comes")
}
