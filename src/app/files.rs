//! The files that are followed while the gateway runs, on time and at SIGHUP.

use std::{io, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    admin::Check,
    follow::{Asking, Follow, Following},
    telemetry::Metrics,
};

/// A file system that hangs now has given all files a moment ago: with what they held the gateway can serve.
const PATIENCE: Duration = Duration::from_secs(2);

/// All of them, until dropped.
#[derive(Debug)]
pub(super) struct Files {
    followed: Vec<Following>,
    asking: Asking,
    metrics: Metrics,
    _deaf: DropGuard,
}

impl Files {
    /// Catches SIGHUP from now on, which would end the process if nobody did.
    pub(super) fn new(metrics: Metrics) -> io::Result<Self> {
        let (asking, deaf) = (Asking::new(), CancellationToken::new());
        let (mut hangups, asked) = (signal(SignalKind::hangup())?, asking.clone());
        tokio::spawn(deaf.clone().run_until_cancelled_owned(async move {
            while hangups.recv().await.is_some() {
                asked.ask();
            }
        }));
        Ok(Self { followed: Vec::new(), asking, metrics, _deaf: deaf.drop_guard() })
    }

    /// Looks `every` so often; `first` is what is in force already.
    pub(super) fn follow<F: Follow>(&mut self, followed: F, first: F::Look, every: Duration) {
        let metrics = self.metrics.clone();
        self.followed.push(Following::begin(followed, first, every, &self.asking, metrics));
    }

    /// Over once no file's first state can be one that was caught half written; or as soon as that takes too long.
    pub(super) fn opening(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let opened: Vec<_> = self.followed.iter_mut().filter_map(Following::opened).collect();
        timeout(PATIENCE, join_all(opened)).map(drop)
    }

    /// Why what the file of that key holds now is not in force.
    pub(super) fn problem(&self, key: &str) -> Option<String> {
        self.followed.iter().find(|following| following.key() == key)?.problem()
    }

    /// Shown only: with the last good state the gateway is as fit for traffic as its other replicas.
    pub(super) fn checks(&self) -> impl Iterator<Item = Check> {
        self.followed.iter().map(|following| {
            let check = Check::shown(following.key().to_owned(), following.problem().is_none());
            following.problem().into_iter().fold(check, Check::with_detail)
        })
    }
}
