//! The suite's messages, as `conformance.proto` has them, and the rows of its service.

use std::{path::Path, sync::LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue};
use prebuild_gateway::{
    connect::metadata::AllowList,
    error::TYPE_URL_PREFIX,
    rpc::{Class, Facts, MethodSpec, Names, Request, Response, Schema},
};
use prost::Message;
use prost_types::Any;

const SERVICE: &str = "connectrpc.conformance.v1.ConformanceService";

/// The metadata that the suite's cases use.
const METADATA: [&str; 3] = ["x-conformance-test", "x-custom-header", "x-custom-trailer"];

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let descriptors = protox::compile(["conformance.proto"], [folder]).expect("conformance.proto compiles");
    Schema::from_descriptors(&descriptors.encode_to_vec())
});

macro_rules! row {
    ($(#[$doc:meta])* $constant:ident = $name:ident, $class:ident, $request:ident -> $response:ident) => {
        $(#[$doc])*
        pub static $constant: MethodSpec = MethodSpec::new::<$request, $response>(
            Names {
                service: SERVICE,
                name: stringify!($name),
                path: concat!("/connectrpc.conformance.v1.ConformanceService/", stringify!($name)),
                input: concat!("connectrpc.conformance.v1.", stringify!($request)),
                output: concat!("connectrpc.conformance.v1.", stringify!($response)),
            },
            Class::$class,
            schema,
        );
    };
}

row! {
    /// As the service has it.
    UNARY = Unary, Mutate, UnaryRequest -> UnaryResponse
}
row! {
    /// For the client: what became of a mutation may stay unknown, where the suite wants a plain client's verdict.
    UNARY_READ = Unary, Read, UnaryRequest -> UnaryResponse
}
row! { IDEMPOTENT_UNARY = IdempotentUnary, Read, IdempotentUnaryRequest -> IdempotentUnaryResponse }
row! { UNIMPLEMENTED = Unimplemented, Read, UnimplementedRequest -> UnimplementedResponse }

#[derive(Clone, PartialEq, Message)]
pub struct UnaryRequest {
    #[prost(message, optional, tag = "1")]
    pub response_definition: Option<Definition>,
    #[prost(bytes = "vec", tag = "2")]
    pub request_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UnaryResponse {
    #[prost(message, optional, tag = "1")]
    pub payload: Option<Payload>,
}

#[derive(Clone, PartialEq, Message)]
pub struct UnimplementedRequest {}

#[derive(Clone, PartialEq, Message)]
pub struct UnimplementedResponse {}

/// The same by another name.
pub type IdempotentUnaryRequest = UnaryRequest;
pub type IdempotentUnaryResponse = UnaryResponse;

/// `UnaryResponseDefinition`
#[derive(Clone, PartialEq, Message)]
pub struct Definition {
    #[prost(message, repeated, tag = "1")]
    pub response_headers: Vec<Header>,
    #[prost(oneof = "Answer", tags = "2, 3")]
    pub response: Option<Answer>,
    #[prost(message, repeated, tag = "4")]
    pub response_trailers: Vec<Header>,
    #[prost(message, optional, tag = "5")]
    pub raw_response: Option<RawResponse>,
    #[prost(uint32, tag = "6")]
    pub response_delay_ms: u32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    #[prost(bytes, tag = "2")]
    Data(Vec<u8>),
    #[prost(message, tag = "3")]
    Error(RpcError),
}

/// `ConformancePayload`
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    pub request_info: Option<RequestInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RequestInfo {
    #[prost(message, repeated, tag = "1")]
    pub request_headers: Vec<Header>,
    #[prost(int64, optional, tag = "2")]
    pub timeout_ms: Option<i64>,
    #[prost(message, repeated, tag = "3")]
    pub requests: Vec<Any>,
    #[prost(message, optional, tag = "4")]
    pub connect_get_info: Option<GetInfo>,
}

/// `ConnectGetInfo`
#[derive(Clone, PartialEq, Message)]
pub struct GetInfo {
    #[prost(message, repeated, tag = "1")]
    pub query_params: Vec<Header>,
}

/// `Error`
#[derive(Clone, PartialEq, Message)]
pub struct RpcError {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, optional, tag = "2")]
    pub message: Option<String>,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Header {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, repeated, tag = "2")]
    pub value: Vec<String>,
}

/// `RawHTTPResponse`
#[derive(Clone, PartialEq, Message)]
pub struct RawResponse {
    #[prost(uint32, tag = "1")]
    pub status_code: u32,
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<Header>,
    #[prost(message, optional, tag = "3")]
    pub unary: Option<Contents>,
    #[prost(message, optional, tag = "4")]
    pub stream: Option<Stream>,
    #[prost(message, repeated, tag = "5")]
    pub trailers: Vec<Header>,
}

/// `MessageContents`
#[derive(Clone, PartialEq, Message)]
pub struct Contents {
    #[prost(oneof = "Data", tags = "1, 2, 3")]
    pub data: Option<Data>,
    #[prost(int32, tag = "4")]
    pub compression: i32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Data {
    #[prost(bytes, tag = "1")]
    Binary(Vec<u8>),
    #[prost(string, tag = "2")]
    Text(String),
    #[prost(message, tag = "3")]
    BinaryMessage(Any),
}

/// `StreamContents`
#[derive(Clone, PartialEq, Message)]
pub struct Stream {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Item>,
}

/// `StreamItem`
#[derive(Clone, PartialEq, Message)]
pub struct Item {
    #[prost(uint32, tag = "1")]
    pub flags: u32,
    #[prost(uint32, optional, tag = "2")]
    pub length: Option<u32>,
    #[prost(message, optional, tag = "3")]
    pub payload: Option<Contents>,
}

impl Request for UnaryRequest {
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

impl Request for UnimplementedRequest {
    fn facts(&self) -> Facts {
        Facts::default()
    }
}

impl Response for UnaryResponse {}
impl Response for UnimplementedResponse {}

impl RequestInfo {
    pub const NAME: &str = "connectrpc.conformance.v1.ConformancePayload.RequestInfo";
}

pub fn schema() -> &'static Schema {
    &SCHEMA
}

/// The suite's own metadata and `more`.
pub fn allowed(more: Option<&'static str>) -> AllowList {
    AllowList::new(METADATA.into_iter().chain(more)).expect("no reserved names")
}

pub fn any(full_name: &str, value: Vec<u8>) -> Any {
    Any { type_url: format!("{TYPE_URL_PREFIX}{full_name}"), value }
}

/// Metadata as the suite writes it down: each name once, with all its values.
pub fn headers(map: &HeaderMap) -> Vec<Header> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let header = |name: &HeaderName| Header {
        name: name.as_str().to_owned(),
        value: map.get_all(name).iter().map(text).collect(),
    };
    map.keys().map(header).collect()
}

/// And back.
pub fn metadata(headers: &[Header]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for header in headers {
        let name: HeaderName = header.name.parse().expect("the suite's names are valid");
        for value in &header.value {
            map.append(name.clone(), value.parse().expect("the suite's values are valid"));
        }
    }
    map
}
