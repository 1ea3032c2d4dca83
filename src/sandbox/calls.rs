//! The calls, one function each: read the message, hold it to the rules, do it, write the answer.

use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Holder, Inner, Tenant,
    message::{
        CreatePrebuild, CreateWarmPool, Empty, ListPrebuilds, ListWarmPools, OnePrebuild, OneWarmPool,
        UpdateWarmPool,
    },
    pages::{Page, Query},
    refusal::{Code, Refusal, Violations},
    scalar::Object,
    validate::{Check, Rules},
    world::World,
};

const PREBUILDS: &str = "gitpod.v1.PrebuildService";
const IDENTITY: &str = "gitpod.v1.IdentityService";

/// Every call that is served.
pub(super) const RPCS: [Rpc; 12] = [
    Rpc::new(PREBUILDS, "CreatePrebuild", Call::create_prebuild),
    Rpc::new(PREBUILDS, "ListPrebuilds", Call::list_prebuilds),
    Rpc::new(PREBUILDS, "GetPrebuild", Call::get_prebuild),
    Rpc::new(PREBUILDS, "CancelPrebuild", Call::cancel_prebuild),
    Rpc::new(PREBUILDS, "DeletePrebuild", Call::delete_prebuild),
    Rpc::new(PREBUILDS, "CreatePrebuildLogsToken", Call::create_prebuild_logs_token),
    Rpc::new(PREBUILDS, "CreateWarmPool", Call::create_warm_pool),
    Rpc::new(PREBUILDS, "GetWarmPool", Call::get_warm_pool),
    Rpc::new(PREBUILDS, "ListWarmPools", Call::list_warm_pools),
    Rpc::new(PREBUILDS, "UpdateWarmPool", Call::update_warm_pool),
    Rpc::new(PREBUILDS, "DeleteWarmPool", Call::delete_warm_pool),
    Rpc::new(IDENTITY, "GetAuthenticatedIdentity", Call::get_authenticated_identity),
];

type Answer = Result<Value, Refusal>;

/// A call that is served, and how.
pub(super) struct Rpc {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    pub(super) carry_out: fn(&Call) -> Answer,
}

/// One call of a known caller.
pub(super) struct Call {
    pub(super) sandbox: Arc<Inner>,
    pub(super) holder: Holder,
    pub(super) body: Bytes,
    pub(super) query: Query,
}

impl Rpc {
    const fn new(service: &'static str, name: &'static str, carry_out: fn(&Call) -> Answer) -> Self {
        Self { service, name, carry_out }
    }
}

impl Call {
    fn create_prebuild(&self) -> Answer {
        let request: CreatePrebuild = self.read()?;
        let (mut world, now) = self.enter();
        let World { place, prebuilds, .. } = &mut *world;
        Ok(json!({ "prebuild": prebuilds.create(place, request, now)? }))
    }

    fn list_prebuilds(&self) -> Answer {
        let mut request: ListPrebuilds = self.parse()?;
        request.pagination = Some(self.query.over(request.pagination.take())?);
        self.check(&request)?;
        let (world, now) = self.enter();
        let page = world.prebuilds.list(&world.place, &self.sandbox.pages, &request, now)?;
        Ok(written("prebuilds", page))
    }

    fn get_prebuild(&self) -> Answer {
        let request: OnePrebuild = self.read()?;
        let (world, now) = self.enter();
        let prebuild = world.prebuilds.get(&world.place, request.prebuild_id.as_deref(), now)?;
        Ok(json!({ "prebuild": prebuild }))
    }

    fn cancel_prebuild(&self) -> Answer {
        let request: OnePrebuild = self.read()?;
        let (mut world, now) = self.enter();
        let World { place, prebuilds, .. } = &mut *world;
        Ok(json!({ "prebuild": prebuilds.cancel(place, request.prebuild_id.as_deref(), now)? }))
    }

    fn delete_prebuild(&self) -> Answer {
        let request: OnePrebuild = self.read()?;
        let (mut world, now) = self.enter();
        let World { place, prebuilds, .. } = &mut *world;
        prebuilds.delete(&place.life, request.prebuild_id.as_deref(), now)?;
        Ok(json!({}))
    }

    fn create_prebuild_logs_token(&self) -> Answer {
        let request: OnePrebuild = self.read()?;
        let (mut world, now) = self.enter();
        Ok(json!({ "accessToken": world.create_logs_token(request.prebuild_id.as_deref(), now)? }))
    }

    fn create_warm_pool(&self) -> Answer {
        let request: CreateWarmPool = self.read()?;
        self.on_pool(|world, now| world.pools.create(&world.place, &request, now))
    }

    fn get_warm_pool(&self) -> Answer {
        let request: OneWarmPool = self.read()?;
        self.on_pool(|world, _| world.pools.find(request.warm_pool_id.as_deref()))
    }

    fn list_warm_pools(&self) -> Answer {
        let mut request: ListWarmPools = self.parse()?;
        request.pagination = Some(self.query.over(request.pagination.take())?);
        self.check(&request)?;
        let (mut world, now) = self.enter();
        world.settle(now);
        let page = world.pools.list(&world.place, &self.sandbox.pages, &request)?;
        Ok(written("warmPools", page))
    }

    fn update_warm_pool(&self) -> Answer {
        let request: UpdateWarmPool = self.read()?;
        self.on_pool(|world, now| world.pools.update(&world.place, &request, now))
    }

    fn delete_warm_pool(&self) -> Answer {
        let request: OneWarmPool = self.read()?;
        let (mut world, now) = self.enter();
        world.settle(now);
        world.pools.delete(request.warm_pool_id.as_deref(), now)?;
        Ok(json!({}))
    }

    fn get_authenticated_identity(&self) -> Answer {
        let Empty {} = self.read()?;
        Ok(json!(self.holder.tenant.world().identity(&self.holder.subject)))
    }

    /// Does something with the pools as they are now and shows the one that it was about, as it is then.
    fn on_pool(&self, act: impl FnOnce(&mut World, SystemTime) -> Result<u64, Refusal>) -> Answer {
        let (mut world, now) = self.enter();
        world.settle(now);
        let number = act(&mut world, now)?;
        world.settle(now);
        Ok(json!({ "warmPool": world.pools.show(&world.place, number)? }))
    }

    /// The caller's world and the time in it: read under the lock, so that calls are in the order of their times.
    fn enter(&self) -> (MutexGuard<'_, World>, SystemTime) {
        let world = self.holder.tenant.world();
        let now = self.sandbox.clock.now();
        (world, now)
    }

    fn read<T: DeserializeOwned + Check>(&self) -> Result<T, Refusal> {
        let request = self.parse()?;
        self.check(&request)?;
        Ok(request)
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let parsed: Result<Object<T>, _> = serde_json::from_slice(&self.body);
        parsed
            .map(|Object(request)| request)
            .map_err(|error| Refusal::plain(Code::INVALID_ARGUMENT, format!("unmarshal message: {error}")))
    }

    fn check(&self, request: &impl Check) -> Result<(), Refusal> {
        let mut found = Violations::default();
        if self.sandbox.rules == Rules::Official {
            request.check(&mut found);
        }
        found.into_result()
    }
}

impl Tenant {
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        // A call that panicked must not take its organization along: at worst one object of a test is odd.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reply of a List method: an empty list and a missing next token are left out.
fn written<T: Serialize>(items: &str, page: Page<T>) -> Value {
    let mut reply = json!({});
    if !page.items.is_empty() {
        reply[items] = json!(page.items);
    }
    if let Some(next) = page.next {
        reply["pagination"] = json!(next);
    }
    reply
}
