//! One span, one log line and one count per call, however it ends.

use std::error::Error as StdError;

use tracing::{Instrument as _, Span};

use super::{HttpRequest, HttpResponse, Protocol};
use crate::{
    call::Context,
    error::{Code, Error, Reason, Sent},
    stack::{Next, Stage},
    telemetry::{self, CallLine, Decision, Inbound, Metrics},
};

/// The layer.
#[derive(Clone, Debug)]
pub struct Trace(pub Metrics);

/// A call that is told when it ends, or when its caller drops it.
struct Told {
    metrics: Metrics,
    context: Context,
    protocol: Protocol,
    span: Span,
    told: bool,
}

impl Stage<HttpRequest> for Trace {
    type Passes = HttpRequest;
    type Response = HttpResponse;

    async fn call<S: Next<HttpRequest, HttpResponse>>(
        &self,
        request: HttpRequest,
        next: S,
    ) -> Result<HttpResponse, Error> {
        let context = request.extensions().get::<Context>().cloned();
        let protocol = request.extensions().get::<Protocol>().copied();
        let (Some(context), Some(protocol)) = (context, protocol) else {
            return Err(Error::refuse(Reason::Internal));
        };
        let inbound = Inbound {
            system: protocol.system(),
            peer: context.peer(),
            local: None,
            request_id: context.id(),
        };
        let span = telemetry::server_span(request.headers(), &inbound);
        if let Some(trace_id) = telemetry::trace_id(&span) {
            context.set_trace_id(trace_id);
        }
        let mut told = Told { metrics: self.0.clone(), context, protocol, span: span.clone(), told: false };
        let result = next.run(request).instrument(span).await;
        told.tell(result.as_ref().err());
        result
    }
}

impl Told {
    fn tell(&mut self, error: Option<&Error>) {
        self.told = true;
        let context = &self.context;
        let identity = context.identity();
        let method = context.method();
        let answered = if context.is_own() { Sent::No } else { Sent::Yes };
        let (code, reason, forwarded) =
            error.map_or((Code::Ok, None, answered), |error| (error.code, error.reason, error.sent));
        let decision = Decision::of(context.is_permitted(), error);
        let latency = context.received().elapsed();
        telemetry::name_span(&self.span, method);
        telemetry::finish_server(&self.span, self.protocol.system(), code, reason);
        let org = identity.map(|identity| identity.org.as_str());
        self.metrics.call_ended(method, org, code, decision, latency);
        for ruling in context.rulings() {
            let (mode, outcome) = (ruling.shown_mode(), ruling.outcome.as_str());
            self.metrics.rule_decided(ruling.rule.as_str(), mode, outcome);
        }
        telemetry::log_call(&CallLine {
            request_id: context.id(),
            trace_id: context.trace_id(),
            org,
            subject: identity.map(|identity| identity.subject.as_str()),
            method,
            protocol: self.protocol.as_str(),
            code,
            reason,
            decision,
            limited: context.is_limited(),
            forwarded,
            latency,
            peer: context.peer(),
            source: error.and_then(StdError::source),
        });
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if !self.told {
            let sent = if self.context.is_call() { Sent::Maybe } else { Sent::No };
            self.tell(Some(&Error::refuse(Reason::CallerGone).with_sent(sent)));
        }
    }
}
