//! A sandbox as the upstream.

use std::{net::SocketAddr, time::Duration};

use prebuild_gateway::sandbox::{Clock, Life, Org, Rules, Sandbox, Settings};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{ACME_TOKEN, GLOBEX_TOKEN};

/// A sandbox with the two orgs, served.
pub(crate) struct Sandboxed {
    pub(crate) sandbox: Sandbox,
    pub(crate) address: SocketAddr,
    pub(crate) acme: Org,
    _stop: DropGuard,
}

impl Sandboxed {
    pub(crate) async fn start(rules: Rules) -> Self {
        let (acme, globex) = (Org::demo("acme", ACME_TOKEN.into()), Org::demo("globex", GLOBEX_TOKEN.into()));
        Self::with(rules, acme, globex).await
    }

    /// Prebuilds complete at once.
    pub(crate) async fn with(rules: Rules, acme: Org, globex: Org) -> Self {
        let life = Life { step: Duration::ZERO, warn_every: 0, fail_every: 0 };
        Self::of(Settings { orgs: vec![acme, globex], life, rules, clock: Clock::system() }).await
    }

    /// Prebuilds take four such steps by that clock.
    pub(crate) async fn slow(step: Duration, clock: Clock) -> Self {
        let orgs = vec![Org::demo("acme", ACME_TOKEN.into()), Org::demo("globex", GLOBEX_TOKEN.into())];
        let life = Life { step, warn_every: 0, fail_every: 0 };
        Self::of(Settings { orgs, life, rules: Rules::default(), clock }).await
    }

    async fn of(settings: Settings) -> Self {
        let acme = settings.orgs[0].clone();
        let sandbox = Sandbox::new(settings);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
        Self { sandbox, address, acme, _stop: stop.drop_guard() }
    }

    /// A project of acme's, and a class that it has.
    pub(crate) fn place(&self) -> (String, String) {
        let project = &self.acme.projects[0];
        (project.id.to_string(), project.classes[0].to_string())
    }
}
