//! The point of no return: a request body that lets its bytes go only while its caller is still there.
//!
//! Between the decision to send and the first byte lie name resolution, TCP, TLS and the wait for a free connection or
//! stream. hyper asks for the body only after all of them, and it flushes an HTTP/1 head only after it has asked; over
//! HTTP/2 a head may be on its way by then, but the reset behind it makes it no request. So nothing that upstream could
//! execute leaves before the first frame is taken, and who has seen that it was not taken knows that nothing left.

use std::{
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio_util::sync::CancellationToken;

use crate::call::Deadline;

#[cfg(test)]
mod tests;

/// Opens or shuts once and for all, for one request.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Gate(Arc<Inner>);

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::upstream) enum Shut {
    #[error("the deadline passed before the request was sent")]
    Deadline,
    #[error("the caller left before the request was sent")]
    Gone,
    #[error("the request was given up before it was sent")]
    GivenUp,
}

/// A request's JSON behind its gate.
#[derive(Debug)]
pub(super) struct Gated {
    gate: Gate,
    json: Full<Bytes>,
}

#[derive(Debug)]
struct Inner {
    deadline: Deadline,
    gone: CancellationToken,
    /// Beside the deadline, which upstream is told of.
    send_by: Option<Instant>,
    decided: OnceLock<Result<(), Shut>>,
}

impl Gate {
    /// `gone` fires when the caller is gone.
    pub(in crate::upstream) fn new(deadline: Deadline, gone: CancellationToken) -> Self {
        Self::until(deadline, gone, None)
    }

    /// The same, of a request that is given up if it was not sent by then.
    pub(in crate::upstream) fn until(
        deadline: Deadline,
        gone: CancellationToken,
        send_by: Option<Instant>,
    ) -> Self {
        Self(Arc::new(Inner { deadline, gone, send_by, decided: OnceLock::new() }))
    }

    /// What upstream is told of the caller's deadline.
    pub(super) fn left(&self) -> Duration {
        self.0.deadline.remaining().unwrap_or_default()
    }

    /// Shuts, unless the request has passed.
    pub(super) fn shut(&self) -> Result<(), Shut> {
        *self.0.decided.get_or_init(|| self.judge().and(Err(Shut::GivenUp)))
    }

    /// Waits until nobody waits for the answer any more, and shuts. Never returns if the request has passed by then.
    pub(super) async fn shuts(&self) -> Shut {
        let deadline = self.0.deadline.instant();
        let until = self.0.send_by.map_or(deadline, |send_by| send_by.min(deadline));
        tokio::select! {
            () = tokio::time::sleep_until(until.into()) => {}
            () = self.0.gone.cancelled() => {}
        }
        match self.shut() {
            Ok(()) => std::future::pending().await,
            Err(shut) => shut,
        }
    }

    fn pass(&self) -> Result<(), Shut> {
        *self.0.decided.get_or_init(|| self.judge())
    }

    /// The deadline goes first, as passing it also sends the caller away.
    fn judge(&self) -> Result<(), Shut> {
        if self.0.deadline.remaining().is_none() {
            Err(Shut::Deadline)
        } else if self.0.gone.is_cancelled() {
            Err(Shut::Gone)
        } else if self.0.send_by.is_some_and(|send_by| send_by < Instant::now()) {
            Err(Shut::GivenUp)
        } else {
            Ok(())
        }
    }
}

impl Gated {
    pub(super) fn new(json: Vec<u8>, gate: Gate) -> Self {
        Self { gate, json: Full::new(Bytes::from(json)) }
    }
}

impl Body for Gated {
    type Data = Bytes;
    type Error = Shut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Shut>>> {
        if let Err(shut) = self.gate.pass() {
            return Poll::Ready(Some(Err(shut)));
        }
        Pin::new(&mut self.json).poll_frame(cx).map_err(|never| match never {})
    }

    fn is_end_stream(&self) -> bool {
        self.json.is_end_stream()
    }

    /// Exact, so that the request has a `content-length`.
    fn size_hint(&self) -> SizeHint {
        self.json.size_hint()
    }
}
