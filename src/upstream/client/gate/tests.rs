//! Open or shut, once and for all.

use http_body_util::BodyExt as _;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn gate(left: Duration) -> (Gate, CancellationToken) {
    let gone = CancellationToken::new();
    (Gate::new(Deadline::at(Instant::now() + left), gone.clone()), gone)
}

#[tokio::test]
async fn a_body_passes_while_its_caller_is_there() {
    let (gate, gone) = gate(HOUR);
    let mut body = Gated::new(b"{}".to_vec(), gate.clone());
    assert_eq!(body.size_hint().exact(), Some(2));
    assert!(!body.is_end_stream());
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "{}");
    // What happens later changes nothing.
    gone.cancel();
    assert!(body.frame().await.is_none());
    assert_eq!(gate.shut(), Ok(()));
}

#[tokio::test]
async fn nothing_passes_afterwards() {
    let (late, _) = gate(Duration::ZERO);
    let (gone, leave) = gate(HOUR);
    leave.cancel();
    let (both, leave) = gate(Duration::ZERO);
    leave.cancel();
    for (gate, why) in [(late, Shut::Deadline), (gone, Shut::Gone), (both, Shut::Deadline)] {
        let mut body = Gated::new(b"{}".to_vec(), gate.clone());
        assert_eq!(body.frame().await.unwrap().unwrap_err(), why);
        assert_eq!(gate.shut(), Err(why));
        assert_eq!(gate.shuts().await, why);
    }
}

#[tokio::test]
async fn what_was_given_up_does_not_pass() {
    let (gate, _gone) = gate(HOUR);
    assert_eq!(gate.shut(), Err(Shut::GivenUp));
    let mut body = Gated::new(b"{}".to_vec(), gate);
    assert_eq!(body.frame().await.unwrap().unwrap_err(), Shut::GivenUp);
}

/// Whoever was frozen on the way does not send what others count without by now.
#[tokio::test]
async fn what_was_not_sent_in_time_does_not_pass() {
    let until =
        |send_by| Gate::until(Deadline::at(Instant::now() + HOUR), CancellationToken::new(), Some(send_by));
    let gate = until(Instant::now() - Duration::from_millis(1));
    assert!(gate.left() > HOUR / 2, "upstream is told the deadline");
    let mut body = Gated::new(b"{}".to_vec(), gate.clone());
    assert_eq!(body.frame().await.unwrap().unwrap_err(), Shut::GivenUp);
    assert_eq!(gate.shuts().await, Shut::GivenUp);
    let mut body = Gated::new(b"{}".to_vec(), until(Instant::now() + HOUR));
    assert!(body.frame().await.unwrap().is_ok());
}
