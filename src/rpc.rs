//! The method table: what is known of each RPC before any call of it is made.
//!
//! A row is the only place, besides the fronts, that knows a method's Rust types. A new RPC is the proto, a row here
//! and the two `impl`s that its messages need in `rpc/request.rs` and `rpc/facts.rs`. The table is held against the descriptors by a test.

use std::fmt;

use bytes::Bytes;
use prost::DecodeError;

use crate::proto::gitpod::v1 as pb;

mod facts;
mod request;
mod schema;
#[cfg(test)]
mod tests;

pub use facts::{Facts, Fill, Filter, Object, Part, Response, Seen, Sizes, Timeout, Turn};
pub use request::Request;
pub use schema::{EnumSchema, Field, Form, Kind, MessageSchema, Schema};

/// What is known of one RPC.
#[derive(Debug)]
pub struct MethodSpec {
    /// Full name of the service, `gitpod.v1.PrebuildService`.
    pub service: &'static str,
    pub name: &'static str,
    /// `/<service>/<name>`, the same in gRPC, gRPC-Web and Connect.
    pub path: &'static str,
    pub class: Class,
    /// `option idempotency_level = NO_SIDE_EFFECTS`.
    pub no_side_effects: bool,
    /// Starts machines, or makes them stay.
    pub expensive: bool,
    /// Facts that must be there.
    pub requires: &'static [Required],
    /// The read that shows the object which an id-addressed call is about.
    pub lookup: Option<Lookup>,
    /// What it leaves running upstream.
    pub adds: Option<Adds>,
    /// Full name of the request message.
    pub input: &'static str,
    /// Full name of the response message.
    pub output: &'static str,
    /// The descriptors that `input` and `output` are found in.
    pub schema: fn() -> &'static Schema,
    /// Whether a reply is about one object, which then has to be there.
    pub shows_one: bool,
    decode: Decode<(Bytes, Facts)>,
    state: fn(&Facts) -> Bytes,
    view: Decode<Seen>,
    recode: Decode<Bytes>,
    part: fn(&[u8], Part) -> Result<Bytes, DecodeError>,
    fill: fn(&[u8], Fill) -> Decoded,
    retain: fn(&[u8], &[bool]) -> Result<Bytes, DecodeError>,
    lead: fn(&[u8], Option<&str>) -> Result<Bytes, DecodeError>,
}

/// A method's names, as [`MethodSpec`] has them.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    pub service: &'static str,
    pub name: &'static str,
    pub path: &'static str,
    pub input: &'static str,
    pub output: &'static str,
}

/// A request with the facts that it states.
type Decoded = Result<(Bytes, Facts), DecodeError>;

/// Decodes a message of the row.
type Decode<T> = fn(&[u8]) -> Result<T, DecodeError>;

/// What a call does upstream, as far as durability, retries and rights are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Changes nothing; may be cancelled and tried again.
    Read,
    /// Changes something; sent at most once.
    Mutate,
    /// Returns a secret; treated like a mutation.
    Secret,
}

/// A fact that a method insists on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    Project,
    Class,
    Prebuild,
    Pool,
    Spec,
}

/// What a call adds to the work that is outstanding upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adds {
    /// A prebuild that runs.
    Prebuild,
    /// Instances of a warm pool, a new one's or one more of a present one's.
    Instances,
}

/// How to look up the object that a call is about. The read of an object is its own look-up.
#[derive(Clone, Copy)]
pub struct Lookup {
    pub method: &'static MethodSpec,
    /// The look-up's canonical request, from the facts of the call.
    pub request: fn(&Facts) -> Bytes,
}

impl fmt::Debug for Lookup {
    /// By name: a row that is its own look-up has no end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lookup").field(&self.method.name).finish()
    }
}

impl Class {
    pub const ALL: [Self; 3] = [Self::Read, Self::Mutate, Self::Secret];

    /// As config and refusals spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Mutate => "mutate",
            Self::Secret => "secret",
        }
    }
}

impl MethodSpec {
    /// A row for the messages `Q` and `R`, which `names` calls `input` and `output`.
    pub const fn new<Q: Request, R: Response>(
        names: Names,
        class: Class,
        schema: fn() -> &'static Schema,
    ) -> Self {
        let Names { service, name, path, input, output } = names;
        Self {
            service,
            name,
            path,
            class,
            no_side_effects: matches!(class, Class::Read),
            expensive: false,
            requires: &[],
            lookup: None,
            adds: None,
            input,
            output,
            schema,
            decode: decode::<Q>,
            state: state::<Q>,
            view: view::<R>,
            recode: recode::<R>,
            part: part::<Q>,
            fill: fill::<Q>,
            retain: retain::<R>,
            shows_one: R::SHOWS_ONE,
            lead: lead::<R>,
        }
    }

    const fn requires(mut self, requires: &'static [Required]) -> Self {
        self.requires = requires;
        self
    }

    const fn adds(mut self, adds: Adds) -> Self {
        self.adds = Some(adds);
        self
    }

    const fn expensive(mut self) -> Self {
        self.expensive = true;
        self
    }

    const fn resolved_by(mut self, method: &'static Self, request: fn(&Facts) -> Bytes) -> Self {
        self.lookup = Some(Lookup { method, request });
        self
    }

    /// Decodes a request and encodes it anew: the canonical bytes, and the facts that they state.
    ///
    /// # Errors
    /// The bytes are not the method's request message.
    pub fn decode(&self, wire: &[u8]) -> Result<(Bytes, Facts), DecodeError> {
        (self.decode)(wire)
    }

    /// A request that states these facts, in canonical bytes; of what is no field of its message it says nothing.
    pub fn state(&self, facts: &Facts) -> Bytes {
        (self.state)(facts)
    }

    /// What the stages need to know of a reply.
    ///
    /// # Errors
    /// The bytes are not the method's response message.
    pub fn view(&self, wire: &[u8]) -> Result<Seen, DecodeError> {
        (self.view)(wire)
    }

    /// The canonical encoding of a reply: fields in order, unknown ones left out.
    ///
    /// # Errors
    /// The bytes are not the method's response message.
    pub fn recode(&self, wire: &[u8]) -> Result<Bytes, DecodeError> {
        (self.recode)(wire)
    }

    /// A reply with those of its listed objects that `keep` says, by position; beyond its end they go.
    ///
    /// # Errors
    /// The bytes are not the method's response message.
    pub fn retain(&self, wire: &[u8], keep: &[bool]) -> Result<Bytes, DecodeError> {
        (self.retain)(wire, keep)
    }

    /// A request for a part of the list that it asks for. Of a method that lists nothing it stays as it is.
    ///
    /// # Errors
    /// The bytes are not the method's request message.
    pub fn part(&self, wire: &[u8], part: Part) -> Result<Bytes, DecodeError> {
        (self.part)(wire, part)
    }

    /// A request that says what it does not say yet: the canonical bytes, and the facts that they state.
    ///
    /// # Errors
    /// The bytes are not the method's request message.
    pub fn fill(&self, wire: &[u8], fill: Fill) -> Result<(Bytes, Facts), DecodeError> {
        (self.fill)(wire, fill)
    }

    /// A page of a list with another token for the next one; with none it is the last.
    ///
    /// # Errors
    /// The bytes are not the method's response message.
    pub fn lead(&self, wire: &[u8], token: Option<&str>) -> Result<Bytes, DecodeError> {
        (self.lead)(wire, token)
    }

    /// The list of objects in a reply, where it has one.
    pub fn listed(&self) -> Option<&'static Field> {
        let is_list = |field: &&Field| field.repeated && matches!(field.kind, Kind::Message(_));
        self.output()?.fields.iter().find(is_list)
    }

    /// Where a reply says how its list goes on: `pagination`, and in it `next_token`.
    pub fn paged(&self) -> Option<(&'static Field, &'static Field)> {
        let page = named(self.output()?, "pagination")?;
        let Kind::Message(index) = page.kind else { return None };
        Some((page, named((self.schema)().message_at(index), "next_token")?))
    }

    /// Whether a request can state the field of this proto path.
    pub fn takes(&self, path: &str) -> bool {
        let mut message = self.input();
        path.split('.').all(|name| {
            let field = message.and_then(|message| named(message, name));
            message = match field.map(|field| field.kind) {
                Some(Kind::Message(index)) => Some((self.schema)().message_at(index)),
                _ => None,
            };
            field.is_some()
        })
    }

    /// Whether it is the read of one object, so that it is its own look-up.
    pub fn is_look_up(&'static self) -> bool {
        self.lookup.is_some_and(|lookup| std::ptr::eq(lookup.method, self))
    }

    /// The schema of the request message. `None` only if a row names a message that its descriptors lack.
    pub fn input(&self) -> Option<&'static MessageSchema> {
        (self.schema)().message(self.input)
    }

    /// The schema of the response message. `None` only if a row names a message that its descriptors lack.
    pub fn output(&self) -> Option<&'static MessageSchema> {
        (self.schema)().message(self.output)
    }
}

fn named(message: &'static MessageSchema, name: &str) -> Option<&'static Field> {
    message.fields.iter().find(|field| field.name == name)
}

fn decode<Q: Request>(wire: &[u8]) -> Result<(Bytes, Facts), DecodeError> {
    let request = Q::decode(wire)?;
    Ok((request.encode_to_vec().into(), request.facts()))
}

fn state<Q: Request>(facts: &Facts) -> Bytes {
    Q::stating(facts).encode_to_vec().into()
}

fn view<R: Response>(wire: &[u8]) -> Result<Seen, DecodeError> {
    R::decode(wire).map(Response::seen)
}

fn recode<R: Response>(wire: &[u8]) -> Result<Bytes, DecodeError> {
    Ok(R::decode(wire)?.encode_to_vec().into())
}

fn part<Q: Request>(wire: &[u8], part: Part) -> Result<Bytes, DecodeError> {
    let mut request = Q::decode(wire)?;
    request.narrow(part);
    Ok(request.encode_to_vec().into())
}

fn fill<Q: Request>(wire: &[u8], fill: Fill) -> Result<(Bytes, Facts), DecodeError> {
    let mut request = Q::decode(wire)?;
    let written = request.fill(fill).into_iter().collect();
    Ok((request.encode_to_vec().into(), Facts { written, ..request.facts() }))
}

fn lead<R: Response>(wire: &[u8], token: Option<&str>) -> Result<Bytes, DecodeError> {
    let mut reply = R::decode(wire)?;
    reply.lead(token);
    Ok(reply.encode_to_vec().into())
}

fn retain<R: Response>(wire: &[u8], keep: &[bool]) -> Result<Bytes, DecodeError> {
    let mut reply = R::decode(wire)?;
    reply.retain(keep);
    Ok(reply.encode_to_vec().into())
}

macro_rules! methods {
    (
        $(#[$service_doc:meta])* $service:ident = $full_name:literal;
        $(#[$table_doc:meta])* $table:ident:
        $($constant:ident = $name:ident, $class:ident, $request:ident -> $response:ident $(, .$with:ident($($argument:expr),*))*;)*
    ) => {
        $(#[$service_doc])*
        pub const $service: &str = $full_name;

        $(
            pub static $constant: MethodSpec = MethodSpec::new::<pb::$request, pb::$response>(
                Names {
                    service: $service,
                    name: stringify!($name),
                    path: concat!("/", $full_name, "/", stringify!($name)),
                    input: concat!("gitpod.v1.", stringify!($request)),
                    output: concat!("gitpod.v1.", stringify!($response)),
                },
                Class::$class,
                Schema::gitpod,
            )$(.$with($($argument),*))*;
        )*

        $(#[$table_doc])*
        pub static $table: &[&MethodSpec] = &[$(&$constant),*];
    };
}

methods! {
    /// The name by which health checks and routes know the service.
    PREBUILD_SERVICE = "gitpod.v1.PrebuildService";
    /// All of `gitpod.v1.PrebuildService`, in the order of the proto.
    PREBUILD_METHODS:
    CREATE_PREBUILD = CreatePrebuild, Mutate, CreatePrebuildRequest -> CreatePrebuildResponse,
        .requires(&[Required::Project, Required::Spec]),
        .adds(Adds::Prebuild),
        .expensive();
    LIST_PREBUILDS = ListPrebuilds, Read, ListPrebuildsRequest -> ListPrebuildsResponse;
    GET_PREBUILD = GetPrebuild, Read, GetPrebuildRequest -> GetPrebuildResponse,
        .requires(&[Required::Prebuild]),
        .resolved_by(&GET_PREBUILD, request::get_prebuild);
    CANCEL_PREBUILD = CancelPrebuild, Mutate, CancelPrebuildRequest -> CancelPrebuildResponse,
        .requires(&[Required::Prebuild]),
        .resolved_by(&GET_PREBUILD, request::get_prebuild);
    DELETE_PREBUILD = DeletePrebuild, Mutate, DeletePrebuildRequest -> DeletePrebuildResponse,
        .requires(&[Required::Prebuild]),
        .resolved_by(&GET_PREBUILD, request::get_prebuild);
    CREATE_PREBUILD_LOGS_TOKEN = CreatePrebuildLogsToken, Secret,
        CreatePrebuildLogsTokenRequest -> CreatePrebuildLogsTokenResponse,
        .requires(&[Required::Prebuild]),
        .resolved_by(&GET_PREBUILD, request::get_prebuild);
    CREATE_WARM_POOL = CreateWarmPool, Mutate, CreateWarmPoolRequest -> CreateWarmPoolResponse,
        .requires(&[Required::Project, Required::Class]),
        .adds(Adds::Instances),
        .expensive();
    GET_WARM_POOL = GetWarmPool, Read, GetWarmPoolRequest -> GetWarmPoolResponse,
        .requires(&[Required::Pool]),
        .resolved_by(&GET_WARM_POOL, request::get_warm_pool);
    LIST_WARM_POOLS = ListWarmPools, Read, ListWarmPoolsRequest -> ListWarmPoolsResponse;
    UPDATE_WARM_POOL = UpdateWarmPool, Mutate, UpdateWarmPoolRequest -> UpdateWarmPoolResponse,
        .requires(&[Required::Pool]),
        .resolved_by(&GET_WARM_POOL, request::get_warm_pool),
        .adds(Adds::Instances),
        .expensive();
    DELETE_WARM_POOL = DeleteWarmPool, Mutate, DeleteWarmPoolRequest -> DeleteWarmPoolResponse,
        .requires(&[Required::Pool]),
        .resolved_by(&GET_WARM_POOL, request::get_warm_pool);
}

methods! {
    /// The service that SDKs and Terraform ask whose key they hold.
    IDENTITY_SERVICE = "gitpod.v1.IdentityService";
    /// Of `gitpod.v1.IdentityService` what is about the caller alone; the gateway answers it itself.
    IDENTITY_METHODS:
    GET_AUTHENTICATED_IDENTITY = GetAuthenticatedIdentity, Read,
        GetAuthenticatedIdentityRequest -> GetAuthenticatedIdentityResponse;
}

/// Every method that is served.
pub fn methods() -> impl Iterator<Item = &'static MethodSpec> {
    PREBUILD_METHODS.iter().chain(IDENTITY_METHODS).copied()
}
