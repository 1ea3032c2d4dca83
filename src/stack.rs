//! One stage of a tower stack, written as an async function of a request and the rest of the stack.
//!
//! Both planes are stacks of these. A stage may pass on another type than it takes: that is how `policy` turns a
//! `Call` into a `Permitted<Call>`.

use std::{
    future::Future,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use tower::{Layer, Service, ServiceExt as _};

use crate::error::Error;

#[cfg(test)]
mod tests;

/// The rest of a stack, from the view of a stage.
pub trait Next<Q, R>: Send + 'static {
    fn run(self, request: Q) -> impl Future<Output = Result<R, Error>> + Send;
}

impl<S, Q, R> Next<Q, R> for S
where
    Q: Send,
    S: Service<Q, Response = R, Error = Error> + Send + 'static,
    S::Future: Send,
{
    fn run(self, request: Q) -> impl Future<Output = Result<R, Error>> + Send {
        self.oneshot(request)
    }
}

/// A stage.
pub trait Stage<Q>: Send + Sync + 'static {
    /// What the next stage takes.
    type Passes: Send;
    type Response;

    /// Decides about the request, and runs `next` or does not.
    fn call<S: Next<Self::Passes, Self::Response>>(
        &self,
        request: Q,
        next: S,
    ) -> impl Future<Output = Result<Self::Response, Error>> + Send;
}

/// A stage as a [`tower::Layer`].
pub fn stage<T: Clone>(stage: T) -> StageLayer<T> {
    StageLayer(stage)
}

/// Made by [`stage`].
#[derive(Clone, Debug)]
pub struct StageLayer<T>(T);

/// A stage with the rest of its stack, shared: every call clones a service, and this way that is one count up.
#[derive(Debug)]
pub struct Staged<T, S>(Arc<Link<T, S>>);

#[derive(Debug)]
struct Link<T, S> {
    stage: T,
    rest: S,
}

impl<T: Clone, S> Layer<S> for StageLayer<T> {
    type Service = Staged<T, S>;

    fn layer(&self, rest: S) -> Self::Service {
        Staged(Arc::new(Link { stage: self.0.clone(), rest }))
    }
}

impl<T, S> Clone for Staged<T, S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q, T, S> Service<Q> for Staged<T, S>
where
    Q: Send + 'static,
    T: Stage<Q>,
    S: Next<T::Passes, T::Response> + Clone + Sync,
{
    type Response = T::Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<T::Response, Error>>;

    /// Always ready: what limits load is a stage of its own, which refuses instead of queueing.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let link = Arc::clone(&self.0);
        Box::pin(async move { link.stage.call(request, link.rest.clone()).await })
    }
}
