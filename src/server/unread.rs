//! The rest of an HTTP/1 request that was answered before it was read.
//!
//! hyper closes such a connection without a word: the answer may be lost to a reset, and so is the next request that a
//! client has put on the same connection meanwhile. What is left is therefore read and thrown away, within bounds.
//! (Over HTTP/2 a stream ends by itself.)

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, header::EXPECT};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{Error, body::Incoming};
use tokio::{sync::oneshot, time::timeout};

/// More than any request of ours has, and cheaper to read than a new connection is to make.
const MAX_BYTES: u64 = 256 << 10;

/// A client that was sending has the rest on its way: several round trips.
const MAX_TIME: Duration = Duration::from_secs(1);

/// A request's body that comes back if it is dropped before its end.
#[derive(Debug)]
pub(super) struct Lent {
    body: Option<Incoming>,
    has_ended: bool,
    back: Option<oneshot::Sender<Incoming>>,
}

/// Where it comes back to.
#[derive(Debug)]
pub(super) struct Unread {
    back: oneshot::Receiver<Incoming>,
    /// The client asks before it sends the rest, and is better told that nobody wants it.
    is_expecting: bool,
}

/// Lends a body to the service.
pub(super) fn lend(body: Incoming, headers: &HeaderMap) -> (Lent, Unread) {
    let (sender, back) = oneshot::channel();
    let has_ended = body.is_end_stream();
    let unread = Unread { back, is_expecting: headers.contains_key(EXPECT) };
    (Lent { body: Some(body), has_ended, back: Some(sender) }, unread)
}

impl Unread {
    /// What has to be read still, now that the service has answered; `None` where there is nothing.
    pub(super) fn rest(mut self) -> Option<Rest> {
        let body = self.back.try_recv().ok()?;
        let is_too_long = self.is_expecting || body.size_hint().lower() > MAX_BYTES;
        Some(if is_too_long { Rest::TooLong } else { Rest::Short(body) })
    }
}

/// What is left of a request.
#[derive(Debug)]
pub(super) enum Rest {
    /// To be [discarded](discard).
    Short(Incoming),
    /// The connection is to be closed.
    TooLong,
}

/// Reads what is left, up to the bounds.
pub(super) async fn discard(mut body: Incoming) {
    let read = async {
        let mut left = MAX_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match u64::try_from(length).ok().and_then(|length| left.checked_sub(length)) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    let _either_way = timeout(MAX_TIME, read).await;
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx));
        self.has_ended = !matches!(frame, Some(Ok(_))) || body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (false, Some(body), Some(back)) = (self.has_ended, self.body.take(), self.back.take()) {
            // Nobody takes it if the connection itself is gone.
            let _unread = back.send(body);
        }
    }
}
