//! Connections: HTTP/1.1 and cleartext HTTP/2 on one port, and the resets that tests ask for.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use http::{Response, header::CONTENT_LENGTH};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Frame, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Sandbox, fault::Reply, service::Reset};

/// Streams on one connection: more than a load test opens.
const STREAMS: u32 = 1_000;

/// How long an HTTP/1.1 connection may be idle, or take for a head: what common proxies allow.
const IDLE: Duration = Duration::from_secs(75);

/// How long open calls may take after the shutdown has begun.
const DRAIN: Duration = Duration::from_secs(2);

/// A pause after a failed accept, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Spawns what hyper spawns where it is waited for.
#[derive(Clone)]
struct Tracked(TaskTracker);

/// A connection that closes with a reset once it is broken.
struct Line {
    stream: TcpStream,
    broken: CancellationToken,
}

impl Sandbox {
    /// Serves the listener until the shutdown, then lets open calls end. No task outlives the future.
    pub async fn serve(self, listener: TcpListener, shutdown: CancellationToken) {
        if let Ok(address) = listener.local_addr() {
            self.0.address.get_or_init(|| address);
        }
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    tasks.spawn(self.clone().connect(stream, tasks.clone(), shutdown.clone()));
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            }
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    async fn connect(self, stream: TcpStream, tasks: TaskTracker, shutdown: CancellationToken) {
        // Without it an answer in two writes waits for the other side's delayed acknowledgement. A socket that
        // refuses is already gone, and the first read says so.
        stream.set_nodelay(true).ok();
        let broken = CancellationToken::new();
        let line = TokioIo::new(Line { stream, broken: broken.clone() });
        let calls = service_fn(|request| {
            let (sandbox, broken) = (self.clone(), broken.clone());
            async move {
                let answer = sandbox.answer(request, broken.clone()).await.and_then(response);
                answer.inspect_err(|Reset| broken.cancel())
            }
        });
        let mut builder = auto::Builder::new(Tracked(tasks));
        builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS);
        let connection = builder.serve_connection(line, calls);
        tokio::pin!(connection);
        // `broken` goes first: the connection is dropped before it can tell the client anything.
        tokio::select! {
            biased;
            () = broken.cancelled() => return,
            _ = connection.as_mut() => return,
            () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            biased;
            () = broken.cancelled() => {}
            _ = connection => {}
            () = sleep(DRAIN) => broken.cancel(),
        }
    }
}

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.broken.is_cancelled() {
            // With no time to linger the kernel sends RST and not FIN. If it will not, the close is a plain one.
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn response(reply: Reply) -> Result<Response<Body>, Reset> {
    let announced = reply.body.len();
    let body = if reply.cut { half(reply.body) } else { whole(reply.body) };
    let mut response = Response::new(body);
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    if reply.cut {
        response.headers_mut().insert(CONTENT_LENGTH, announced.into());
    }
    Ok(response)
}

fn whole(body: Bytes) -> Body {
    Full::new(body).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// The first half, then an end that is none.
fn half(body: Bytes) -> Body {
    let half = body.slice(..body.len() / 2);
    let frames = stream::unfold(Some(half), |half| async {
        match half {
            Some(half) => Some((Ok(Frame::data(half)), None)),
            None => {
                // Once round the scheduler: what has been said leaves before the line goes dead.
                tokio::task::yield_now().await;
                Some((Err(io::Error::other("the answer is cut on demand")), None))
            }
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
