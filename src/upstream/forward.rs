//! The last stage: a permitted call becomes one Connect request, and its answer a reply.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use tower::Service;
use tracing::Instrument as _;

use super::{
    answer::{self, Verdict},
    client::{
        Client, Failure, Post,
        gate::{Gate, Shut},
    },
    credentials::{By, Credentials},
};
use crate::{
    call::{AttemptKind, Call, Reply},
    connect::{
        json::{Drift, to_json},
        metadata::AllowList,
    },
    error::{Code, Error, Reason, Sent},
    policy::Permitted,
    rpc::{Class, MethodSpec},
    telemetry::{self, Metrics, metrics::UpstreamFault},
};

/// Servers and proxies refuse URLs of more than 8 KiB, and escapes make a token three times as long.
const MAX_URL_TOKEN: usize = 2 << 10;

/// The leaf of the call plane.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    response_metadata: AllowList,
    mutation_timeout: Duration,
    metrics: Metrics,
}

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Outgoing<'c> {
    pub(super) method: &'static MethodSpec,
    pub(super) by: By<'c>,
    /// Canonical protobuf.
    pub(super) request: Bytes,
    pub(super) query: String,
    pub(super) metadata: HeaderMap,
    /// Lets the request go only while its caller is still there.
    pub(super) gate: Gate,
    /// How long the gateway itself waits.
    pub(super) patience: Duration,
}

impl Upstream {
    pub fn new(
        client: Client,
        response_metadata: AllowList,
        mutation_timeout: Duration,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner { client, response_metadata, mutation_timeout, metrics }))
    }

    pub(super) fn credentials(&self) -> &Credentials {
        self.0.client.credentials()
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    async fn forward(&self, call: Call) -> Result<Reply, Error> {
        let patience = match call.method.class {
            Class::Read => call.deadline.remaining().unwrap_or_default(),
            Class::Mutate | Class::Secret => self.0.mutation_timeout,
        };
        let sending = self.send(Outgoing {
            method: call.method,
            by: By::of(&call.identity),
            request: call.request,
            query: String::new(),
            metadata: call.metadata,
            gate: Gate::until(call.deadline, call.gone, call.context.send_by()),
            patience,
        });
        call.context.attempt(AttemptKind::Call, None, sending).await
    }

    /// One attempt, with its span and its metrics.
    pub(super) async fn send(&self, outgoing: Outgoing<'_>) -> Result<Reply, Error> {
        let (method, by) = (outgoing.method, outgoing.by);
        let base = self.0.client.base();
        let span = telemetry::client_span(method, base.host(), base.port(), 1);
        let begun = Instant::now();
        let (status, verdict) = self.attempt(outgoing).instrument(span.clone()).await;
        let metrics = &self.0.metrics;
        metrics.upstream_answered(method, begun.elapsed());
        if let Some(fault) = verdict.fault {
            metrics.upstream_failed(method, fault);
        }
        self.count(&verdict.drift);
        let code = verdict.result.as_ref().map_or_else(|error| error.code, |_| Code::Ok);
        telemetry::finish_client(&span, status, code);
        match (by, verdict.result.as_ref().err().and_then(|error| error.reason)) {
            (By::Org(org), Some(Reason::UpstreamCredential)) => metrics.credential_refused(org.as_str()),
            (By::Caller(passed), Some(Reason::Unauthenticated)) => passed.refuse(),
            _ => {}
        }
        verdict.result
    }

    async fn attempt(&self, outgoing: Outgoing<'_>) -> (Option<u16>, Verdict) {
        let Outgoing { method, by, request, query, metadata, gate, patience } = outgoing;
        let Some(input) = method.input() else {
            return (None, Verdict::unsent(Error::refuse(Reason::Internal)));
        };
        let json = match to_json((method.schema)(), input, &request) {
            Ok(json) => json,
            Err(error) => return (None, Verdict::unsent(Error::refuse(Reason::Internal).with_source(error))),
        };
        match self.0.client.exchange(Post { method, by, query, metadata, json }, &gate, patience).await {
            Ok(answer) => {
                let status = answer.status.as_u16();
                (Some(status), answer::read(method, answer, &self.0.response_metadata))
            }
            Err(failure) => (None, Verdict::failed(method, failure)),
        }
    }

    fn count(&self, drift: &Drift) {
        for item in &drift.fields {
            self.0.metrics.field_unknown(&item.path, &item.name);
        }
        for item in &drift.enums {
            self.0.metrics.enum_value_unknown(&item.path, &item.name);
        }
    }
}

/// The page in the URL, where the SDKs of the first generation put it. The body says the same, so that a token which is
/// too long for a URL stays there alone.
pub(super) fn page_query(token: Option<&str>, size: Option<i32>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(token) = token.filter(|token| token.len() <= MAX_URL_TOKEN) {
        query.append_pair("token", token);
    }
    if let Some(size) = size {
        query.append_pair("pageSize", &size.to_string());
    }
    query.finish()
}

impl Verdict {
    fn unsent(error: Error) -> Self {
        Self { result: Err(error), fault: None, drift: Drift::default() }
    }

    fn failed(method: &MethodSpec, failure: Failure) -> Self {
        let (fault, error) = match failure {
            Failure::Unsent(_) | Failure::Late(Shut::GivenUp) => {
                (UpstreamFault::Connect, Error::refuse(Reason::UpstreamUnreachable))
            }
            Failure::Late(Shut::Deadline) => {
                (UpstreamFault::Timeout, Error::refuse(Reason::DeadlineExceeded))
            }
            // Upstream has no part in it.
            Failure::Late(Shut::Gone) => {
                return Self::unsent(Error::refuse(Reason::CallerGone).with_source(failure));
            }
            Failure::Request(source) => {
                return Self::unsent(Error::refuse(Reason::Internal).with_source(source));
            }
            Failure::Broken(_) => (UpstreamFault::Reset, answer::no_answer(method, "")),
            // A read waits as long as its caller does; a mutation as long as the config says.
            Failure::Timeout if method.class == Class::Read => {
                (UpstreamFault::Timeout, Error::refuse(Reason::DeadlineExceeded).with_sent(Sent::Maybe))
            }
            Failure::Timeout => (UpstreamFault::Timeout, Error::refuse(Reason::UpstreamOutcomeUnknown)),
        };
        Self { result: Err(error.with_source(failure)), fault: Some(fault), drift: Drift::default() }
    }
}

impl Service<Permitted<Call>> for Upstream {
    type Response = Reply;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Reply, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Permitted<Call>) -> Self::Future {
        let upstream = self.clone();
        Box::pin(async move { upstream.forward(call.into_inner()).await })
    }
}
