//! Who gets a connection, and what happens when none is to be had.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, atomic::Ordering},
};

use super::*;
use crate::server::Accept;

/// A listener that fails as told before it accepts.
struct Failing {
    errors: VecDeque<io::ErrorKind>,
    listener: TcpListener,
}

impl Accept for Failing {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.errors.pop_front() {
            Some(kind) => Err(kind.into()),
            None => self.listener.accept().await,
        }
    }
}

#[tokio::test]
async fn no_more_connections_than_the_limit() {
    let server = start(Config { max_connections: 2, ..Config::default() }).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    assert_eq!(first.call("/").await, StatusCode::OK);
    assert_eq!(second.call("/").await, StatusCode::OK);
    let mut third = server.connect().await;
    assert_eq!(rest(&mut third).await, "");
    assert_eq!((server.connections.refused_total(), server.connections.open()), (1, 2));
    assert_eq!(first.call("/").await, StatusCode::OK);
    // A place that becomes free is given away.
    drop(first);
    until(|| server.connections.open() == 1).await;
    assert_eq!(server.client().await.call("/").await, StatusCode::OK);
}

#[tokio::test]
async fn at_the_limit_an_idle_connection_makes_room() {
    // Idle for a tenth of ten times "soon" is idle enough when others wait.
    let server = start(Config { max_connections: 2, idle_timeout: SOON * 10, ..Config::default() }).await;
    let (mut busy, mut idle) = (server.client().await, server.client().await);
    let slow = busy.send("/slow").await;
    assert_eq!(idle.call("/").await, StatusCode::OK);
    within(async {
        while server.connections.closed_total(Closed::Crowded) == 0 {
            rest(&mut server.connect().await).await;
        }
    })
    .await;
    assert_eq!(idle.goaway().await, Some(Reason::NO_ERROR));
    server.gate.add_permits(1);
    assert_eq!(finish(slow).await.unwrap(), StatusCode::OK);
}

#[tokio::test]
async fn accept_errors_are_counted_and_outlived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(Config::default(), Shutdown::default()).unwrap();
    let (connections, drain) = (server.connections(), CancellationToken::new());
    let errors = [io::ErrorKind::Other, io::ErrorKind::ConnectionAborted, io::ErrorKind::OutOfMemory];
    let failing = Failing { errors: errors.into(), listener };
    let shared = server.share(drain.clone());
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let service = tower::service_fn(move |request| serve(request, gate.clone(), begun.clone()));
    let task = tokio::spawn(async move { crate::server::accept(failing, service, &shared).await });
    let mut tcp = TcpStream::connect(address).await.unwrap();
    ask_http1(&mut tcp, "/").await;
    assert!(http1_answer(&mut tcp).await.starts_with("HTTP/1.1 200"));
    assert_eq!(connections.accept_errors_total(), 3);
    drain.cancel();
    within(task).await.unwrap();
}

#[tokio::test]
async fn nodelay_is_set_on_accepted_sockets() {
    /// Notes what the supervisor hands to the transport.
    #[derive(Clone, Default)]
    struct Noting(Arc<Mutex<Vec<bool>>>, Arc<AtomicUsize>);

    impl crate::server::Transport for Noting {
        type Stream = TcpStream;

        async fn open(&self, tcp: TcpStream) -> io::Result<(TcpStream, http::Extensions)> {
            self.0.lock().unwrap().push(tcp.nodelay()?);
            self.1.fetch_add(1, Ordering::SeqCst);
            Err(io::ErrorKind::InvalidData.into())
        }
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let noting = Noting::default();
    let server = Server::new(Config::default(), Shutdown::default()).unwrap().with_transport(noting.clone());
    let (connections, drain) = (server.connections(), CancellationToken::new());
    let service = tower::service_fn(|_| async { Ok(Response::new(Body::empty())) });
    let task = tokio::spawn(server.serve(listener, service, drain.clone()));
    rest(&mut TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(*noting.0.lock().unwrap(), [true]);
    until(|| connections.closed_total(Closed::Failed) == 1).await;
    drain.cancel();
    assert_eq!(within(task).await.unwrap(), Summary::default());
}
