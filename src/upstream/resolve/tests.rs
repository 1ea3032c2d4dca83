//! Locks that exclude and leave nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
};

use futures_util::poll;
use tokio::task::JoinSet;

use super::{Key, Locks};

fn key(id: &str) -> Key {
    ("acme".to_owned(), id.to_owned())
}

#[tokio::test]
async fn two_holders_of_one_object_exclude_each_other() {
    let locks = Locks::default();
    let first = locks.hold(key("pool")).await;
    let mut second = Box::pin(locks.hold(key("pool")));
    assert!(poll!(&mut second).is_pending());
    let _other = locks.hold(key("other")).await;
    drop(locks.hold(("globex".to_owned(), "pool".to_owned())).await);
    drop(first);
    let Poll::Ready(second) = poll!(&mut second) else { panic!("still held") };
    assert_eq!(locks.entries().len(), 2);
    drop(second);
    assert_eq!(locks.entries().keys().collect::<Vec<_>>(), [&key("other")]);
}

#[tokio::test]
async fn a_waiter_that_leaves_leaves_nothing() {
    let locks = Locks::default();
    let first = locks.hold(key("pool")).await;
    let mut waiter = Box::pin(locks.hold(key("pool")));
    assert!(poll!(&mut waiter).is_pending());
    drop(waiter);
    assert_eq!(locks.entries().len(), 1);
    drop(first);
    assert!(locks.entries().is_empty());
}

#[tokio::test]
async fn a_waiter_that_outlives_the_holder_and_then_leaves_leaves_nothing() {
    let locks = Locks::default();
    let first = locks.hold(key("pool")).await;
    let mut waiter = Box::pin(locks.hold(key("pool")));
    assert!(poll!(&mut waiter).is_pending());
    drop(first);
    assert_eq!(locks.entries().len(), 1, "the waiter's");
    drop(waiter);
    assert!(locks.entries().is_empty());
    let again = locks.hold(key("pool")).await;
    drop(again);
    assert!(locks.entries().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_holders_never_meet_and_the_map_ends_empty() {
    let locks = Locks::default();
    let inside: Arc<[AtomicUsize; 4]> = Arc::default();
    let mut tasks = JoinSet::new();
    for task in 0..400 {
        let (locks, inside) = (locks.clone(), Arc::clone(&inside));
        tasks.spawn(async move {
            let pool = task % inside.len();
            let _held = locks.hold(key(&format!("pool-{pool}"))).await;
            assert_eq!(inside[pool].fetch_add(1, Ordering::SeqCst), 0, "two at once");
            tokio::task::yield_now().await;
            inside[pool].fetch_sub(1, Ordering::SeqCst);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert!(locks.entries().is_empty());
}
