//! The listener: TCP in, TLS where there is a certificate, HTTP/1.1 and HTTP/2 on one port, hardened from the first day.
//!
//! Neither hyper nor tonic closes a silent, half-open or idle connection, and tonic's builder takes hyper's HTTP/2
//! limits away. So every limit is set here (`config`), and every connection has a supervisor (`connection`) that ends
//! it: the first request is late, nothing is in flight for long, it has grown old, the server drains.

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper_util::server::conn::auto::Builder;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::Service;

mod activity;
mod config;
mod connection;
mod connections;
mod metrics;
mod signal;
#[cfg(test)]
mod tests;
pub mod tls;
mod transport;
mod unread;

pub use config::{Config, Invalid, Shutdown};
pub use connections::{Closed, Connections};
pub use signal::Signals;
pub use tls::Tls;
pub use transport::{Plain, Transport};

use connection::Spawner;

/// How long accepting goes on after the drain began: the kernel has accepted these connections already, and closing
/// the listener would reset them with their first request unread. Long enough to empty the queue, short against any
/// grace.
const SWEEP: Duration = Duration::from_millis(50);

/// The pause after an accept error that will not go away by itself (no file descriptors, no memory), doubled each time.
const BACKOFF_FIRST: Duration = Duration::from_millis(10);
/// The longest such pause: once a descriptor is free again, newcomers wait no longer than this.
const BACKOFF_LAST: Duration = Duration::from_secs(1);

/// At the connection limit idle connections are asked to go at most this often: waking all supervisors is not free,
/// and a flood of newcomers must not set the pace.
const CROWD_PACE: Duration = Duration::from_millis(100);

/// How much longer than the grace the tasks may take to end once they have been told to. More means that a handler
/// blocks its thread; the process then ends without it.
const MARGIN: Duration = Duration::from_secs(1);

/// A listener's settings, counters and transport, ready to [`serve`](Server::serve).
#[derive(Clone, Debug)]
pub struct Server<T = Plain> {
    config: Config,
    shutdown: Shutdown,
    transport: T,
    connections: Arc<Connections>,
}

/// How a drain went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections that were cut because the grace was over.
    pub closed_hard: u64,
    /// Requests that were in flight on them.
    pub requests_lost: u64,
    /// Tasks that did not end although they were told to.
    pub stuck: usize,
}

/// What every connection of a server shares.
struct Shared<T> {
    config: Config,
    shutdown: Shutdown,
    transport: T,
    connections: Arc<Connections>,
    builder: Builder<Spawner>,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    crowd: Notify,
    drain: CancellationToken,
    drained: OnceLock<Instant>,
    closed_hard: AtomicU64,
    requests_lost: AtomicU64,
}

/// Where connections come from: the listener, or a test's list of errors.
trait Accept {
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Server {
    /// A plain TCP server.
    ///
    /// # Errors
    /// A setting is out of its bounds; the error names its key.
    pub fn new(config: Config, shutdown: Shutdown) -> Result<Self, Invalid> {
        config.check()?;
        shutdown.check()?;
        Ok(Self { config, shutdown, transport: Plain, connections: Arc::default() })
    }
}

impl<T: Transport> Server<T> {
    /// The same server over another transport (TLS).
    pub fn with_transport<U: Transport>(self, transport: U) -> Server<U> {
        let Self { config, shutdown, transport: _, connections } = self;
        Server { config, shutdown, transport, connections }
    }

    /// The counters, for metrics. They can be read at any time, also while serving.
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Serves until `drain` is cancelled and then until the requests in flight are done, at most `shutdown.grace`.
    ///
    /// Every request carries its [`Peer`](crate::call::Peer) in its extensions.
    pub async fn serve<S>(self, listener: TcpListener, service: S, drain: CancellationToken) -> Summary
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send + 'static,
    {
        let shared = self.share(drain);
        accept(listener, service, &shared).await;
        // The listener is closed by now: newcomers are refused by the kernel and find another replica.
        shared.tasks.close();
        let patience = shared.shutdown.grace.saturating_add(MARGIN);
        let stuck = match timeout(patience, shared.tasks.wait()).await {
            Ok(()) => 0,
            Err(_) => shared.tasks.len(),
        };
        Summary {
            closed_hard: shared.closed_hard.load(Ordering::Relaxed),
            requests_lost: shared.requests_lost.load(Ordering::Relaxed),
            stuck,
        }
    }

    fn share(self, drain: CancellationToken) -> Arc<Shared<T>> {
        let Self { config, shutdown, transport, connections } = self;
        let tasks = TaskTracker::new();
        Arc::new(Shared {
            builder: connection::builder(&config, Spawner::new(tasks.clone())),
            places: Arc::new(Semaphore::new(config.max_connections)),
            crowd: Notify::new(),
            closed_hard: AtomicU64::new(0),
            requests_lost: AtomicU64::new(0),
            config,
            shutdown,
            transport,
            connections,
            tasks,
            drain,
            drained: OnceLock::new(),
        })
    }
}

impl<T> Shared<T> {
    /// When the drain's grace is over; the first to ask has seen the drain begin.
    fn grace_ends(&self) -> Instant {
        *self.drained.get_or_init(Instant::now) + self.shutdown.grace
    }
}

impl Accept for TcpListener {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

/// Accepts until shortly after the drain began, then closes the listener.
async fn accept<T, S>(mut listener: impl Accept, service: S, shared: &Arc<Shared<T>>)
where
    T: Transport,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let mut swept = std::pin::pin!(async {
        shared.drain.cancelled().await;
        sleep(SWEEP).await;
    });
    let mut backoff = BACKOFF_FIRST;
    let mut crowded = None;
    loop {
        let next = tokio::select! {
            biased;
            () = &mut swept => return,
            next = listener.accept() => next,
        };
        match next {
            Ok((tcp, peer)) => {
                backoff = BACKOFF_FIRST;
                admit(tcp, peer, &service, shared, &mut crowded);
            }
            Err(error) => {
                shared.connections.accept_failed();
                if is_the_peers(&error) {
                    continue;
                }
                tokio::select! {
                    () = &mut swept => return,
                    () = sleep(backoff) => backoff = BACKOFF_LAST.min(backoff * 2),
                }
            }
        }
    }
}

/// Gives the connection a place and a supervisor, or closes it.
///
/// At the limit the newest is closed at once. Left in the kernel's queue it would look connected and hang, while
/// other replicas have room; closed, its client goes elsewhere and the refusal is counted. So that idle connections
/// do not keep all places, those idle for a while are asked to go.
fn admit<T, S>(
    tcp: TcpStream,
    peer: SocketAddr,
    service: &S,
    shared: &Arc<Shared<T>>,
    crowded: &mut Option<Instant>,
) where
    T: Transport,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let Ok(place) = shared.places.clone().try_acquire_owned() else {
        shared.connections.refused();
        if crowded.is_none_or(|at| at.elapsed() >= CROWD_PACE) {
            *crowded = Some(Instant::now());
            shared.crowd.notify_waiters();
        }
        return;
    };
    let (service, shared) = (service.clone(), shared.clone());
    let open = shared.connections.accepted();
    shared.tasks.clone().spawn(async move {
        let closed = connection::supervise(tcp, peer, service, &shared).await;
        open.close(closed);
        drop(place);
    });
}

/// An error of the one connection that was about to be accepted; the next may be fine.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
