//! One connection and its supervisor.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Request, Response, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    net::TcpStream,
    sync::Notify,
    time::{sleep, sleep_until, timeout},
};
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::{
    Closed, Config, Shared, Transport,
    activity::{Activity, Counted, InFlight},
    unread::{self, Rest},
};
use crate::call::{Peer, PeerCertificate};

/// A connection this young has its first request on the way: it is not asked to go before that has come.
const FRESH: Duration = Duration::from_secs(1);

/// A connection lasts for this part of the time that the client's certificate has left: programs renew theirs before that.
const CERTIFIED_PART: f64 = 0.9;

/// With all places taken, connections go that were idle for this part of the idle timeout.
const CROWDED_PART: u32 = 10;

/// hyper's stream tasks, counted with the rest.
#[derive(Clone, Debug)]
pub(super) struct Spawner(TaskTracker);

impl Spawner {
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self(tasks)
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Every limit by name, so that no library's default decides. (h2's limits that hyper does not show are its own:
/// CONTINUATION frames, small DATA frames, the header table.)
pub(super) fn builder(config: &Config, spawner: Spawner) -> Builder<Spawner> {
    let mut builder = Builder::new(spawner);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_read_timeout)
        // The head of a request must fit: what is longer is answered with 431.
        .max_buf_size(usize_of(config.max_header_list_size))
        .keep_alive(true)
        // A client that closes its side while it waits is gone; reads are cancelled then.
        .half_close(false)
        .pipeline_flush(false)
        .ignore_invalid_headers(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.max_concurrent_streams)
        .max_pending_accept_reset_streams(config.max_pending_reset_streams)
        .max_local_error_reset_streams(config.max_local_error_reset_streams)
        .max_header_list_size(config.max_header_list_size)
        .max_frame_size(config.max_frame_size)
        .max_send_buf_size(usize_of(config.max_send_buffer_size))
        .adaptive_window(false)
        .initial_stream_window_size(config.initial_stream_window)
        .initial_connection_window_size(config.initial_connection_window)
        .keep_alive_interval(config.keepalive_interval)
        .keep_alive_timeout(config.keepalive_timeout);
    builder
}

/// Serves one connection to its end.
pub(super) async fn supervise<T, S>(
    tcp: TcpStream,
    peer: SocketAddr,
    service: S,
    shared: &Shared<T>,
) -> Closed
where
    T: Transport,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let activity = Arc::new(Activity::new(shared.connections.clone()));
    // With Nagle's algorithm every small answer waits 40 ms for the client's delayed acknowledgement.
    if tcp.set_nodelay(true).is_err() {
        return Closed::Failed;
    }
    let opened = tokio::select! {
        opened = timeout(shared.config.first_request_timeout, shared.transport.open(tcp)) => opened,
        () = drained(&activity, shared) => return Closed::Drained,
    };
    let (stream, mut extensions) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(_)) => return Closed::Failed,
        Err(_) => return Closed::Silent,
    };
    extensions.insert(Peer(peer));
    let certificate: Option<PeerCertificate> = extensions.get().cloned();
    let ends = certificate.as_ref().map(PeerCertificate::ends);
    let age = age(varied(shared.config.max_connection_age), ends, SystemTime::now());
    let (requests, tasks) = (activity.clone(), shared.tasks.clone());
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().extend(extensions.clone());
        answer(service.clone(), request, requests.begin(), tasks.clone())
    });
    let connection = shared.builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let reason = tokio::select! {
        ended = &mut connection => return if ended.is_ok() { Closed::Peer } else { Closed::Failed },
        reason = due(&activity, age, certificate.as_ref(), shared) => reason,
    };
    // GOAWAY, or `connection: close` with the next answer. It ends by itself when the client has understood and the
    // streams are done; neither is waited for without end.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = &mut connection => {}
        () = lingered(&activity, shared.config.linger) => {}
        () = grace_over(reason, shared) => cut(&activity, shared),
    }
    reason
}

/// Waits for a reason to end the connection.
async fn due<T>(
    activity: &Activity,
    age: Duration,
    certificate: Option<&PeerCertificate>,
    shared: &Shared<T>,
) -> Closed {
    let config = &shared.config;
    tokio::select! {
        () = activity.silent_for(config.first_request_timeout) => Closed::Silent,
        () = activity.quiet_for(config.idle_timeout) => Closed::Idle,
        () = crowded_out(activity, &shared.crowd, config.idle_timeout / CROWDED_PART) => Closed::Crowded,
        () = sleep(age) => Closed::Aged,
        () = fallen(certificate) => Closed::Uncertified,
        () = drained(activity, shared) => Closed::Drained,
    }
}

/// A request was refused because the client's certificate stands no more: so would all be, and the client may have another
/// by now.
async fn fallen(certificate: Option<&PeerCertificate>) {
    match certificate {
        Some(certificate) => certificate.falls().await,
        None => std::future::pending().await,
    }
}

/// Waits until the requests in flight have had their time, that of the age or that of the drain.
async fn grace_over<T>(reason: Closed, shared: &Shared<T>) {
    let drained = async {
        shared.drain.cancelled().await;
        sleep_until(shared.grace_ends()).await;
    };
    tokio::select! {
        () = sleep(shared.config.max_connection_age_grace), if reason != Closed::Drained => {}
        () = drained => {}
    }
}

/// One request of the connection, counted until its answer has ended.
async fn answer<S>(
    service: S,
    request: Request<Incoming>,
    in_flight: InFlight,
    tasks: TaskTracker,
) -> Result<Response<Counted>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let counted = |body| Counted::new(body, in_flight);
    if request.version() == Version::HTTP_2 {
        return Ok(service.oneshot(request.map(Body::new)).await?.map(counted));
    }
    let (head, body) = request.into_parts();
    let certificate: Option<PeerCertificate> = head.extensions.get().cloned();
    let (body, unread) = unread::lend(body, &head.headers);
    let mut response = service.oneshot(Request::from_parts(head, Body::new(body))).await?;
    let rest = unread.rest();
    if matches!(rest, Some(Rest::TooLong)) || certificate.is_some_and(|shown| shown.has_fallen()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(Rest::Short(body)) = rest {
        drop(tasks.spawn(unread::discard(body)));
    }
    Ok(response.map(counted))
}

/// The server drains, and the connection is not one whose first request is on its way.
async fn drained<T>(activity: &Activity, shared: &Shared<T>) {
    shared.drain.cancelled().await;
    shared.grace_ends(); // it runs from now, also for a connection that is spared for a moment
    activity.begun_or_aged(FRESH.min(shared.shutdown.grace / 2)).await;
}

/// All places are taken, and this connection was idle for at least `time`.
async fn crowded_out(activity: &Activity, crowd: &Notify, time: Duration) {
    loop {
        crowd.notified().await;
        if activity.quiet().is_some_and(|quiet| quiet >= time) {
            return;
        }
    }
}

/// Nothing is in flight, and what was has had the time to reach the client.
async fn lingered(activity: &Activity, linger: Duration) {
    sleep(linger).await;
    activity.quiet_for(linger).await;
}

fn cut<T>(activity: &Activity, shared: &Shared<T>) {
    use std::sync::atomic::Ordering::Relaxed;
    shared.connections.cut();
    if shared.drain.is_cancelled() {
        shared.closed_hard.fetch_add(1, Relaxed);
        shared.requests_lost.fetch_add(activity.in_flight(), Relaxed);
    }
}

/// How old the connection may become, at most `max`. A client that renews its certificate is asked to come back with the new one, before
/// the old one ends and calls fail.
pub(super) fn age(max: Duration, ends: Option<SystemTime>, now: SystemTime) -> Duration {
    let left = ends.map(|ends| ends.duration_since(now).unwrap_or_default());
    left.map_or(max, |left| max.min(left.mul_f64(CERTIFIED_PART)))
}

/// The age, varied by up to 10 % either way: connections that were opened together (after a deployment) must not all
/// come back together.
fn varied(age: Duration) -> Duration {
    // Without random numbers there is no jitter, which is no reason to fail.
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    age.mul_f64(0.9 + 0.2 * f64::from(random) / f64::from(u32::MAX))
}

fn usize_of(bytes: u32) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
