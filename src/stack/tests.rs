//! Stages in their order, with a type that changes on the way.

use std::sync::{Arc, Mutex};

use tower::{Service as _, ServiceBuilder, service_fn};

use super::{Next, Stage, stage};
use crate::error::{Error, Reason};

/// Writes down that it was passed, or refuses.
#[derive(Clone)]
struct Named {
    name: &'static str,
    refuses: bool,
    story: Arc<Mutex<Vec<&'static str>>>,
}

/// Only [`Judge`] makes one.
struct Judged(u32);

#[derive(Clone)]
struct Judge;

impl Stage<u32> for Named {
    type Passes = u32;
    type Response = u32;

    async fn call<S: Next<u32, u32>>(&self, request: u32, next: S) -> Result<u32, Error> {
        self.story.lock().unwrap().push(self.name);
        if self.refuses {
            return Err(Error::refuse(Reason::Overloaded));
        }
        let response = next.run(request).await;
        self.story.lock().unwrap().push(self.name);
        response
    }
}

impl Stage<u32> for Judge {
    type Passes = Judged;
    type Response = u32;

    async fn call<S: Next<Judged, u32>>(&self, request: u32, next: S) -> Result<u32, Error> {
        next.run(Judged(request)).await
    }
}

async fn run(inner_refuses: bool) -> (Result<u32, Error>, Vec<&'static str>) {
    let story = Arc::new(Mutex::new(Vec::new()));
    let named = |name, refuses| stage(Named { name, refuses, story: Arc::clone(&story) });
    let mut stack = ServiceBuilder::new()
        .layer(named("outer", false))
        .layer(named("inner", inner_refuses))
        .layer(stage(Judge))
        .service(service_fn(|judged: Judged| async move { Ok::<_, Error>(judged.0 + 1) }));
    let result = stack.call(41).await;
    let story = story.lock().unwrap().clone();
    (result, story)
}

#[tokio::test]
async fn the_first_layer_is_the_outermost() {
    let (result, story) = run(false).await;
    assert_eq!(result.unwrap(), 42);
    assert_eq!(story, ["outer", "inner", "inner", "outer"]);
}

#[tokio::test]
async fn what_a_stage_refuses_goes_no_further() {
    let (result, story) = run(true).await;
    assert_eq!(result.unwrap_err().reason, Some(Reason::Overloaded));
    assert_eq!(story, ["outer", "inner", "outer"]);
}
