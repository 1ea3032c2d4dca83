//! Upstream's refusals, as far as a caller may know them. Among orgs that share an upstream organization its words, and
//! even its code, can be about another's object; so could be what a credential without the rights makes of it.

use super::{Question, Tenancy};
use crate::{
    error::{Code, Error, Origin, Reason},
    rpc::Class,
};

/// In place of upstream's words.
const WITHHELD: &str = "upstream refused the call; its words are withheld";

impl Tenancy {
    /// What the caller gets of `error`.
    pub(super) fn refused(&self, question: &Question, error: Error) -> Error {
        let Question { method, names, is_parted, .. } = *question;
        let is_of_one = question.id.is_some();
        if error.origin != Origin::Upstream {
            return error;
        }
        if names && error.code == Code::NotFound {
            return absent(error);
        }
        match method.class {
            _ if !is_parted => error,
            Class::Read if is_of_one && is_final(error.code) => {
                self.metrics.refusal_hidden(method, error.code);
                absent(error)
            }
            // A look-up has shown that it is the caller's own, so upstream speaks of nothing else.
            Class::Mutate | Class::Secret if is_of_one => error,
            Class::Read | Class::Mutate | Class::Secret => without_words(error),
        }
    }
}

/// Of an object that upstream does not find, the caller gets what it would get of another org's: words, details and
/// metadata of upstream's would tell them apart.
fn absent(error: Error) -> Error {
    Error::refuse(Reason::NotFound).with_sent(error.sent).with_source(error)
}

/// Details and metadata can name others as well as words can: who uses up a quota, for instance.
fn without_words(error: Error) -> Error {
    Error::upstream(error.code, WITHHELD).with_retry(error.retry).with_sent(error.sent).with_source(error)
}

/// Whether it says something of the object, and not of how upstream is.
fn is_final(code: Code) -> bool {
    match code {
        Code::NotFound
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
