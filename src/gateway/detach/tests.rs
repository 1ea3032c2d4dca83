//! A caller that leaves, and the work that stays or does not.

use std::sync::Arc;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use tower::{Service as _, ServiceBuilder, service_fn};

use super::Detach;
use crate::{
    call::{
        Call, Place, Reply,
        tests::{call, reply},
    },
    error::{Error, Reason, Sent},
    proto::gitpod::v1 as pb,
    rpc::{CREATE_PREBUILD, CREATE_PREBUILD_LOGS_TOKEN, GET_PREBUILD, MethodSpec},
    stack::stage,
};

/// A call under way whose caller can leave, below a stage that waits to be let go.
struct Running {
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    go: Arc<Notify>,
    /// Answers, or is dropped with the work.
    ended: oneshot::Receiver<()>,
    caller: tokio::task::JoinHandle<Result<Reply, Error>>,
}

async fn begin(method: &'static MethodSpec) -> Running {
    let (tasks, places, go) = (TaskTracker::new(), Arc::new(Semaphore::new(1)), Arc::new(Notify::new()));
    let (begun, has_begun) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let mut once = Some((begun, end));
    let wait = Arc::clone(&go);
    let work = move |_: Call| {
        let (once, wait) = (once.take(), Arc::clone(&wait));
        async move {
            let (begun, end) = once.unwrap();
            begun.send(()).unwrap();
            wait.notified().await;
            end.send(()).unwrap();
            Ok::<_, Error>(reply())
        }
    };
    let mut work = tower::util::BoxService::new(service_fn(work));
    let shared = Arc::new(std::sync::Mutex::new(move |call| work.call(call)));
    let mut stack = ServiceBuilder::new()
        .layer(stage(Detach::new(tasks.clone())))
        .service(service_fn(move |call: Call| (shared.lock().unwrap())(call)));
    let mut call = call(method, &pb::GetPrebuildRequest::default());
    call.place = Some(Place::new(Arc::clone(&places).try_acquire_owned().unwrap()));
    let caller = tokio::spawn(stack.call(call));
    has_begun.await.unwrap();
    Running { tasks, places, go, ended, caller }
}

#[tokio::test]
async fn a_mutation_ends_without_its_caller_and_keeps_its_place_until_then() {
    for method in [&CREATE_PREBUILD, &CREATE_PREBUILD_LOGS_TOKEN] {
        let running = begin(method).await;
        running.caller.abort();
        assert!(running.caller.await.unwrap_err().is_cancelled());
        assert_eq!((running.tasks.len(), running.places.available_permits()), (1, 0));
        running.go.notify_one();
        running.ended.await.unwrap();
        running.tasks.close();
        running.tasks.wait().await;
        assert_eq!(running.places.available_permits(), 1);
    }
}

#[tokio::test]
async fn a_read_ends_with_its_caller() {
    let running = begin(&GET_PREBUILD).await;
    assert!(running.tasks.is_empty());
    running.caller.abort();
    running.ended.await.unwrap_err();
    assert!(running.caller.await.unwrap_err().is_cancelled());
    assert_eq!(running.places.available_permits(), 1);
}

#[tokio::test]
async fn a_caller_that_stays_gets_the_answer() {
    for method in [&CREATE_PREBUILD, &GET_PREBUILD] {
        let running = begin(method).await;
        running.go.notify_one();
        assert_eq!(running.caller.await.unwrap().unwrap().json, "{}");
        assert_eq!(running.places.available_permits(), 1);
    }
}

#[tokio::test]
async fn a_panic_in_a_mutation_is_an_error_that_says_it_may_have_been_done() {
    let work = |_: Call| async { if true { panic!("on purpose") } else { Ok::<_, Error>(reply()) } };
    let mut stack =
        ServiceBuilder::new().layer(stage(Detach::new(TaskTracker::new()))).service(service_fn(work));
    let error = stack.call(call(&CREATE_PREBUILD, &pb::CreatePrebuildRequest::default())).await.unwrap_err();
    assert_eq!((error.reason, error.sent), (Some(Reason::Internal), Sent::Maybe));
}
