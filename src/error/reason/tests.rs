//! What every reason promises, whatever it is.

use std::collections::HashSet;

use super::{Code, Origin, Reason, Retry, Sent};

#[test]
fn names_are_unique_upper_snake_case() {
    let mut seen = HashSet::new();
    for reason in Reason::ALL {
        let name = reason.as_str();
        assert!(seen.insert(name), "{name} stands twice");
        assert!(name.split('_').all(|word| !word.is_empty()), "{name}");
        assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase()), "{name}");
        // `google.rpc.ErrorInfo.reason`
        assert!(name.len() <= 63, "{name}");
    }
}

#[test]
fn unavailable_of_ours_means_not_forwarded_and_safe_to_try_again() {
    // But for the pages of a list that were read in vain.
    let ours = Reason::ALL.iter().filter(|reason| **reason != Reason::ListTooSparse);
    for reason in ours.filter(|reason| reason.code() == Code::Unavailable) {
        assert_eq!((reason.sent(), reason.retry()), (Sent::No, Retry::Now), "{}", reason.as_str());
    }
}

#[test]
fn what_may_have_been_done_is_not_to_be_tried_again() {
    for reason in Reason::ALL.iter().filter(|reason| reason.sent() != Sent::No) {
        assert_eq!(reason.retry(), Retry::Never, "{}", reason.as_str());
        assert_eq!(reason.origin(), Origin::Gateway, "{}", reason.as_str());
    }
}

#[test]
fn every_reason_is_an_error_with_a_text() {
    for reason in Reason::ALL {
        assert_ne!(reason.code(), Code::Ok);
        assert!(!reason.message().is_empty() && !reason.message().contains('\n'), "{}", reason.as_str());
    }
}

#[test]
fn a_callers_fault_is_never_forwarded() {
    for reason in Reason::ALL.iter().filter(|reason| reason.origin() == Origin::Caller) {
        assert_eq!((reason.sent(), reason.retry()), (Sent::No, Retry::Never), "{}", reason.as_str());
    }
}
