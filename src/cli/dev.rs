//! `dev`: a gateway, two demo orgs and a sandbox upstream in one process.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use clap::ValueEnum;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Failure, print, serve};
use crate::{
    app::{App, Listeners},
    audit, budget,
    call::{CredentialId, RequestId, Scope},
    config::{Config, Credential, Identity, Org},
    front,
    identity::api_key::{self, NewKey},
    limit, policy,
    sandbox::{self, FAULT_HEADER, Sandbox},
    server, telemetry, upstream,
};

#[cfg(test)]
mod tests;

/// Who calls in the demo.
const ORGS: [&str; 2] = ["acme", "globex"];
const SUBJECT: &str = "demo";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where callers connect.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where health, readiness and metrics are.
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Where the sandbox upstream listens.
    #[arg(long, default_value = "127.0.0.1:8081")]
    sandbox: SocketAddr,
    /// How long a prebuild stays in each phase.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    step: Duration,
    /// The policy, followed as in `serve`; deploy/policy/policy.example.toml explains every key.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Web pages from this origin may call, like http://localhost:3000; may stand several times.
    #[arg(long = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Vec<front::cors::Origin>,
    /// What to print once it serves: text for people, or one JSON line for scripts.
    #[arg(long, value_enum, default_value_t = Print::Text)]
    print: Print,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Print {
    Text,
    Json,
}

/// A demo org with its key.
struct Demo {
    org: sandbox::Org,
    key: NewKey,
}

/// What runs, for people and scripts.
struct Running<'a> {
    gateway: SocketAddr,
    admin: SocketAddr,
    sandbox: SocketAddr,
    audit: &'a PathBuf,
    demos: &'a [Demo],
}

pub(super) async fn run(args: Args) -> Result<ExitCode, Failure> {
    let telemetry =
        serve::telemetry(&telemetry::Config { log: telemetry::LogFormat::Pretty, ..Default::default() })?;
    let signals = serve::signals()?;
    let cannot_listen = |error: std::io::Error| Failure::new(format!("cannot listen: {error}"));
    let demos = ORGS.into_iter().map(Demo::new).collect::<Result<Vec<_>, _>>()?;
    let listener = TcpListener::bind(args.sandbox).await.map_err(cannot_listen)?;
    let sandbox = listener.local_addr().map_err(cannot_listen)?;
    let listeners = Listeners::bind(args.listen, args.admin).await.map_err(cannot_listen)?;

    // A directory of its own for every run: the story in it is that run's.
    let audit = std::env::temp_dir().join(format!("prebuild-gateway-dev-{}", RequestId::new()));
    let config = config(&args, &demos, sandbox, audit.clone());
    let token = |name: &str| demos.iter().find(|demo| demo.variable() == name).map(Demo::token);
    let resolved = config.resolve(&token).map_err(Failure::config)?;

    let settings = sandbox::Settings {
        orgs: demos.iter().map(|demo| demo.org.clone()).collect(),
        life: sandbox::Life { step: args.step, ..Default::default() },
        ..Default::default()
    };
    let stop = CancellationToken::new();
    let upstream = tokio::spawn(Sandbox::new(settings).serve(listener, stop.clone()));
    // After it: it is asked at start.
    let app = App::start_asked(resolved, listeners).await?;

    let running = Running { gateway: app.gateway, admin: app.admin, sandbox, audit: &audit, demos: &demos };
    match args.print {
        Print::Text => print(running.text())?,
        Print::Json => print(format_args!("{}\n", running.json()))?,
    }
    let code = serve::until_signal(app, signals, telemetry).await;
    stop.cancel();
    let _ended = upstream.await;
    Ok(code)
}

/// The configuration that a `serve` of the same kind would have.
fn config(args: &Args, demos: &[Demo], sandbox: SocketAddr, directory: PathBuf) -> Config {
    let api_keys = demos.iter().map(|demo| {
        let id = CredentialId::from(format!("{}-{SUBJECT}", demo.org.name).as_str());
        let key = api_key::Config::new(id, SUBJECT.into(), demo.org.name.as_str().into(), demo.key.sha256);
        // Whoever tries rules asks what they would do, too.
        let scopes = key.scopes.iter().copied().chain([Scope::Explain]).collect();
        api_key::Config { scopes, ..key }
    });
    let orgs = demos.iter().map(|demo| Org {
        id: demo.org.name.as_str().into(),
        credential: Credential::Env(demo.variable()),
        upstream_organization_id: None,
        projects: Vec::new(),
        environment_classes: Vec::new(),
    });
    Config {
        listen: args.listen,
        admin: args.admin,
        tls: None,
        server: server::Config::default(),
        shutdown: server::Shutdown::default(),
        telemetry: telemetry::Config::default(),
        identity: Identity { api_keys: api_keys.collect(), ..Identity::default() },
        requests: front::Config::default(),
        budgets: budget::Config::default(),
        cors: front::cors::Config { origins: args.cors_origins.clone() },
        reflection: front::reflect::Config { enabled: true },
        deadline: front::deadline::Config::default(),
        limits: limit::Config::default(),
        validation: policy::Config::default(),
        policy: policy::Source { file: args.policy.clone(), ..policy::Source::default() },
        audit: audit::Config::at(directory),
        tenancy: upstream::Mode::default(),
        pages: None,
        upstream: upstream::Config {
            // Failures on demand are for the sandbox alone.
            request_metadata: vec![FAULT_HEADER.to_owned()],
            ..upstream::Config::at(format!("http://{sandbox}/api"))
        },
        orgs: orgs.collect(),
    }
}

impl Demo {
    fn new(name: &str) -> Result<Self, Failure> {
        let key = NewKey::generate().map_err(|error| Failure::new(format!("no randomness: {error}")))?;
        Ok(Self { org: sandbox::Org::demo(name, sandbox::Org::new_token()), key })
    }

    fn variable(&self) -> String {
        format!("UPSTREAM_TOKEN_{}", self.org.name)
    }

    fn token(&self) -> String {
        self.org.token.expose_secret().to_owned()
    }

    fn projects(&self) -> Vec<String> {
        self.org.projects.iter().map(|project| project.id.to_string()).collect()
    }

    fn classes(&self) -> Vec<String> {
        let mut classes: Vec<_> =
            self.org.projects.iter().flat_map(|project| &project.classes).map(ToString::to_string).collect();
        classes.sort();
        classes.dedup();
        classes
    }
}

impl Running<'_> {
    fn json(&self) -> String {
        let orgs: Vec<_> = self
            .demos
            .iter()
            .map(|demo| {
                json!({
                    "id": demo.org.name,
                    "name": demo.org.name,
                    "key": demo.key.key,
                    "projects": demo.projects(),
                    "classes": demo.classes(),
                })
            })
            .collect();
        json!({
            "gateway": self.gateway.to_string(),
            "admin": self.admin.to_string(),
            "sandbox": self.sandbox.to_string(),
            "audit": self.audit,
            "orgs": orgs,
        })
        .to_string()
    }

    /// What runs where, and commands to paste.
    fn text(&self) -> String {
        let Self { gateway, admin, sandbox, audit, demos } = self;
        let orgs: String =
            demos.iter().map(|demo| format!("org      {}  key {}\n", demo.org.name, demo.key.key)).collect();
        format!(
            "gateway  {gateway}  (gRPC, gRPC-Web and Connect, plaintext)\n\
             admin    http://{admin}/readyz  http://{admin}/metrics\n\
             sandbox  http://{sandbox}/api  (the upstream, in memory)\n\
             audit    {}\n\
             {orgs}\n\
             Try in another terminal:\n\n{}\n\
             Ctrl-C ends it.\n",
            audit.display(),
            demos.first().map(|demo| self.commands(demo)).unwrap_or_default(),
        )
    }

    /// The life of a prebuild and a pool, a refusal of each kind, and where the story is written down.
    fn commands(&self, demo: &Demo) -> String {
        let (projects, classes) = (demo.projects(), demo.classes());
        let (Some(project), Some(class)) = (projects.first(), classes.first()) else { return String::new() };
        // The whole path: the other terminal may be in another directory.
        let program = std::env::current_exe().unwrap_or_else(|_| env!("CARGO_PKG_NAME").into());
        let program = quoted(&program.to_string_lossy());
        let calls = [
            ("GetAuthenticatedIdentity", json!({})),
            ("CreatePrebuild", json!({"projectId": project, "spec": {"timeout": "3600s"}})),
            ("ListPrebuilds", json!({"filter": {"projectIds": [project]}})),
            (
                "CreateWarmPool",
                json!({"projectId": project, "environmentClassId": class, "minSize": 0, "maxSize": 3}),
            ),
            ("ListWarmPools", json!({})),
            ("CreatePrebuild", json!({"projectId": project, "spec": {"timeout": "7201s"}})),
            ("CreateWarmPool", json!({"projectId": project, "minSize": 4, "maxSize": 21})),
        ];
        let calls: String =
            calls.iter().map(|(method, json)| format!("{program} call {method} '{json}'\n")).collect();
        let (gateway, key) = (self.gateway, &demo.key.key);
        let audit = quoted(&self.audit.to_string_lossy());
        format!(
            "export PREBUILD_GATEWAY_ADDRESS=http://{gateway} PREBUILD_GATEWAY_KEY={key}\n\
             {calls}\
             {program} audit tail -n 20 {audit}\n",
        )
    }
}

/// As a POSIX shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
