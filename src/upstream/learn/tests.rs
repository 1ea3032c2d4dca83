//! What a caller is told where upstream does not say which organization it is.

use super::{unforwarded, without_words};
use crate::error::{Code, Error, Reason, Retry, Sent};

#[test]
fn a_question_that_fails_says_that_the_call_was_not_forwarded() {
    let wait = Retry::After(std::time::Duration::from_secs(7));
    for (told, retry) in [(Retry::Unsaid, Retry::Now), (Retry::Never, Retry::Now), (wait, wait)] {
        let told = Error::upstream(Code::PermissionDenied, "token of jane").with_retry(told);
        let error = unforwarded(without_words(told));
        assert_eq!((error.reason, error.sent), (Some(Reason::OrganizationUnknown), Sent::No));
        assert_eq!(error.retry, retry);
        assert!(!format!("{error:?}").contains("jane"));
    }
    for reason in [Reason::UpstreamCredential, Reason::UpstreamUnreachable, Reason::DeadlineExceeded] {
        let error = unforwarded(Error::refuse(reason).with_sent(Sent::Maybe));
        assert_eq!((error.reason, error.sent), (Some(reason), Sent::No));
    }
}
