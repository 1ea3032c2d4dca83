//! The gateway's own reasons: `google.rpc.ErrorInfo.reason`, each with its code, its text and its retry mark.

use super::{Code, Origin, Retry, Sent};

#[cfg(test)]
mod tests;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $code:ident, $origin:ident, $retry:ident, $sent:ident, $text:literal;)*) => {
        /// Why the gateway itself refused or failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the README's table.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// `ErrorInfo.reason`: UPPER_SNAKE_CASE, part of the API.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code),* }
            }

            pub const fn origin(self) -> Origin {
                match self { $(Self::$variant => Origin::$origin),* }
            }

            /// What is said about retries unless the stage knows better.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => Retry::$retry),* }
            }

            pub const fn sent(self) -> Sent {
                match self { $(Self::$variant => Sent::$sent),* }
            }

            /// The constant public text.
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }
        }
    };
}

reasons! {
    /// No `authorization: Bearer`, or one that nobody has.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, Caller, Never, No,
        "missing or unknown credentials";
    /// Client certificate and token are good, and of different callers.
    IdentityConflict = "IDENTITY_CONFLICT", PermissionDenied, Caller, Never, No,
        "client certificate and token are of different callers";
    /// Too many requests from the peer's address were refused; this one would have been, too, and will be.
    PeerLimited = "PEER_LIMITED", ResourceExhausted, Gateway, Never, No,
        "too many refused requests from this address";
    /// Whether the credentials are good cannot be told now: who would know it does not answer, or is asked too often.
    IdentityUnavailable = "IDENTITY_UNAVAILABLE", Unavailable, Gateway, Now, No,
        "identity cannot be checked right now";
    /// The caller is known, but the credential's scopes do not cover the method.
    ScopeMissing = "SCOPE_MISSING", PermissionDenied, Caller, Never, No,
        "credential has no scope for this method";
    /// The path names no method that the gateway serves.
    UnknownMethod = "UNKNOWN_METHOD", Unimplemented, Caller, Never, No,
        "unknown service or method";
    /// The content type is none that the gateway speaks.
    UnsupportedProtocol = "UNSUPPORTED_PROTOCOL", InvalidArgument, Caller, Never, No,
        "unsupported content type or HTTP method";
    /// The path is right, but not with this HTTP method.
    MethodNotAllowed = "METHOD_NOT_ALLOWED", Unimplemented, Caller, Never, No,
        "HTTP method is not allowed for this RPC";
    /// `connect-protocol-version` (or `connect` in the query of a GET) names another version than 1.
    UnsupportedVersion = "UNSUPPORTED_VERSION", InvalidArgument, Caller, Never, No,
        "unsupported Connect protocol version";
    /// `grpc-encoding` or `content-encoding` names a compression that the gateway does not know.
    UnsupportedEncoding = "UNSUPPORTED_ENCODING", Unimplemented, Caller, Never, No,
        "unsupported message encoding; identity and gzip are accepted";
    /// The message is larger than the limit, compressed or inflated.
    MessageTooLarge = "MESSAGE_TOO_LARGE", ResourceExhausted, Caller, Never, No,
        "request message is larger than the limit";
    /// The message framing is broken: a bad flag, a cut-off frame, compressed data that does not inflate.
    MalformedFrame = "MALFORMED_FRAME", Internal, Caller, Never, No,
        "malformed message framing";
    /// A unary call carried no message, or more than one.
    MessageCount = "MESSAGE_COUNT", Unimplemented, Caller, Never, No,
        "a unary call carries exactly one message";
    /// The message did not arrive in time.
    SlowRequest = "SLOW_REQUEST", DeadlineExceeded, Caller, Never, No,
        "request message took too long to arrive";
    /// The bytes are not the method's request message.
    MalformedMessage = "MALFORMED_MESSAGE", InvalidArgument, Caller, Never, No,
        "request message cannot be decoded";
    /// The request has a field that the schema does not know, and unknown fields are rejected.
    UnknownField = "UNKNOWN_FIELD", InvalidArgument, Caller, Never, No,
        "request has unknown fields";
    /// `grpc-timeout` or `connect-timeout-ms` is not of the form that its specification gives.
    MalformedTimeout = "MALFORMED_TIMEOUT", InvalidArgument, Caller, Never, No,
        "malformed timeout";
    /// A rule of the API itself is broken; it is always enforced.
    Guardrail = "GUARDRAIL", InvalidArgument, Caller, Never, No,
        "request breaks a guardrail";
    /// A bound that only the official schema has is broken, and `validation.stricter` is `enforce`.
    StricterBound = "STRICTER_BOUND", InvalidArgument, Caller, Never, No,
        "request breaks a stricter bound";
    /// The page token is not one that this list has given to this caller.
    PageToken = "PAGE_TOKEN", InvalidArgument, Caller, Never, No,
        "not a page token of this list";
    /// A rule of the organisation's policy is broken.
    PolicyDenied = "POLICY_DENIED", PermissionDenied, Caller, Never, No,
        "request breaks the policy";
    /// The caller asked what would become of the call; nothing was forwarded, whatever the verdict.
    DryRun = "DRY_RUN", FailedPrecondition, Caller, Never, No,
        "dry run; nothing was forwarded";
    /// `x-policy-dry-run` is neither `1` nor `0`.
    DryRunMalformed = "DRY_RUN_MALFORMED", InvalidArgument, Caller, Never, No,
        "x-policy-dry-run must be 1 or 0";
    /// The org's request rate is used up.
    RateLimited = "RATE_LIMITED", ResourceExhausted, Gateway, Unsaid, No,
        "request rate limit exceeded";
    /// The org has as many calls in flight as it may.
    OrgBusy = "ORG_BUSY", ResourceExhausted, Gateway, Unsaid, No,
        "too many calls of this organisation are in flight";
    /// As much is left running upstream as may be.
    BudgetExceeded = "BUDGET_EXCEEDED", ResourceExhausted, Gateway, Unsaid, No,
        "budget for outstanding work is used up";
    /// What is running upstream is not known yet, so nothing is added to it.
    BudgetUnknown = "BUDGET_UNKNOWN", Unavailable, Gateway, Now, No,
        "outstanding work is still being counted; the call was not forwarded";
    /// The gateway is at its limit of calls in flight.
    Overloaded = "OVERLOADED", Unavailable, Gateway, Now, No,
        "gateway is overloaded";
    /// The deadline passed before an answer could be given. Whether the call was forwarded is in the audit log.
    DeadlineExceeded = "DEADLINE_EXCEEDED", DeadlineExceeded, Gateway, Unsaid, No,
        "deadline exceeded";
    /// The caller went away before the call was forwarded.
    CallerGone = "CALLER_GONE", Cancelled, Caller, Never, No,
        "call was cancelled";
    /// The audit log cannot take the record, so the call is not made.
    AuditUnavailable = "AUDIT_UNAVAILABLE", Unavailable, Gateway, Now, No,
        "audit log is unavailable";
    /// The call was made, but its outcome could not be recorded.
    OutcomeNotRecorded = "OUTCOME_NOT_RECORDED", Unknown, Gateway, Never, Yes,
        "outcome could not be recorded";
    /// No connection to upstream, or the request provably never left.
    UpstreamUnreachable = "UPSTREAM_UNREACHABLE", Unavailable, Gateway, Now, No,
        "upstream is unreachable; the call was not forwarded";
    /// Nobody could say what upstream calls the caller's org, so its answers could not be judged.
    OrganizationUnknown = "ORGANIZATION_UNKNOWN", Unavailable, Gateway, Now, No,
        "upstream does not say which organization this is; the call was not forwarded";
    /// The object that the call is about, or a project or class that it names, is not there, or another org's: one answer for both (promise P7).
    NotFound = "NOT_FOUND", NotFound, Gateway, Never, Yes,
        "no such prebuild, warm pool, project or environment class";
    /// The answer is about another object than the call, or about another org's.
    UpstreamTenancy = "UPSTREAM_TENANCY", Internal, Gateway, Never, Yes,
        "upstream answered with what is not the caller's";
    /// Page after page of a list shows nothing of the caller's.
    ListTooSparse = "LIST_TOO_SPARSE", Unavailable, Gateway, Never, Yes,
        "upstream shows nothing of the caller's on ten pages in a row; name fewer projects in the filter";
    /// A mutation left, and no usable answer came back.
    UpstreamOutcomeUnknown = "UPSTREAM_OUTCOME_UNKNOWN", Unknown, Gateway, Never, Maybe,
        "upstream gave no usable answer; the outcome is unknown";
    /// Upstream does not accept the org's credential.
    UpstreamCredential = "UPSTREAM_CREDENTIAL", Internal, Gateway, Never, Yes,
        "upstream refused the gateway's credential";
    /// A complete answer that is not what the contract says.
    UpstreamInvalidResponse = "UPSTREAM_INVALID_RESPONSE", Internal, Gateway, Never, Yes,
        "upstream sent an invalid response";
    /// Upstream answered with a redirect, which is never followed.
    UpstreamRedirect = "UPSTREAM_REDIRECT", Internal, Gateway, Never, Yes,
        "upstream sent a redirect";
    /// The gateway itself failed.
    Internal = "INTERNAL", Internal, Gateway, Never, No,
        "internal error";
}
