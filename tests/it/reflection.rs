//! The schema, for known callers and where the config says so; its streams are bounded.

use futures_util::stream;
use prebuild_gateway::{config::Config, front::reflect};
use prost::Message as _;
use prost_types::FileDescriptorProto;
use tonic::{Code, Status, service::interceptor::InterceptedService, transport::Channel};
use tonic_reflection::pb::{
    v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    },
    v1alpha,
};

use crate::harness::{
    ACME_KEY, Bearer, Gateway, Told, Upstream,
    raw::{Raw, frame, framed},
    soon,
};

/// Streams that the gateway keeps at a time.
const STREAMS: usize = 16;
const SERVICES: [&str; 5] = [
    "gitpod.v1.IdentityService",
    "gitpod.v1.PrebuildService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

type Client = ServerReflectionClient<InterceptedService<Channel, Bearer>>;

fn on(config: &mut Config) {
    config.reflection = reflect::Config { enabled: true };
}

async fn gateway() -> Gateway {
    Gateway::with(Upstream::start([]).await.address, on).await
}

async fn client(gateway: &Gateway, key: &'static str) -> Client {
    ServerReflectionClient::with_interceptor(gateway.channel().await, Bearer::of(key))
}

fn asks(message: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(message) }
}

/// Asks one thing and reads to the end of the answers.
async fn ask(client: &mut Client, message: MessageRequest) -> Result<MessageResponse, Status> {
    let mut answers = client.server_reflection_info(stream::iter([asks(message)])).await?.into_inner();
    let answer = soon(answers.message()).await?.unwrap();
    assert!(soon(answers.message()).await.unwrap().is_none(), "one answer to one question");
    Ok(answer.message_response.unwrap())
}

async fn file_of(client: &mut Client, symbol: &str) -> FileDescriptorProto {
    let found = ask(client, MessageRequest::FileContainingSymbol(symbol.to_owned())).await.unwrap();
    let MessageResponse::FileDescriptorResponse(found) = found else { panic!("{found:?}") };
    FileDescriptorProto::decode(&found.file_descriptor_proto[0][..]).unwrap()
}

#[tokio::test]
async fn it_lists_what_is_served_and_describes_it() {
    let gateway = gateway().await;
    let mut client = client(&gateway, ACME_KEY).await;
    let listed = ask(&mut client, MessageRequest::ListServices(String::new())).await.unwrap();
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let mut names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, SERVICES);
    for (service, methods) in SERVICES.into_iter().zip([1..=1, 11..=11, 2..=3, 1..=1, 1..=1]) {
        let file = file_of(&mut client, service).await;
        let found = file.service.iter().find(|found| service.ends_with(found.name())).unwrap();
        assert!(methods.contains(&found.method.len()), "{service}: {:?}", found.method);
    }
    // Every import can be had, too.
    for import in file_of(&mut client, "gitpod.v1.PrebuildService").await.dependency {
        ask(&mut client, MessageRequest::FileByFilename(import)).await.unwrap();
    }
    let absent = MessageRequest::FileContainingSymbol("gitpod.v1.SecretService".to_owned());
    assert_eq!(ask(&mut client, absent).await.unwrap_err().code(), Code::NotFound);
    // It is no call: counted, but not on record.
    let series =
        "prebuild_gateway_requests_total{method=\"unknown\",code=\"OK\",org=\"acme\",decision=\"allowed\"}";
    assert!(gateway.counted(series).await > 0, "{}", gateway.metrics().await);
    assert!(gateway.end().await.0.is_empty());
}

#[tokio::test]
async fn v1alpha_is_served_too() {
    let gateway = gateway().await;
    let channel = gateway.channel().await;
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::with_interceptor(
        channel,
        Bearer::of(ACME_KEY),
    );
    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut answers = client.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
    let answer = soon(answers.message()).await.unwrap().unwrap();
    use v1alpha::server_reflection_response::MessageResponse;
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("{answer:?}")
    };
    assert_eq!(listed.service.len(), SERVICES.len());
}

#[tokio::test]
async fn a_stranger_is_refused_and_switched_off_it_is_no_method() {
    let list = || MessageRequest::ListServices(String::new());
    let gateway = gateway().await;
    let refused = ask(&mut client(&gateway, "pgw_nobody").await, list()).await.unwrap_err();
    assert_eq!(refused.reason().as_deref(), Some("UNAUTHENTICATED"));
    let off = Gateway::start(Upstream::start([]).await.address).await;
    let refused = ask(&mut client(&off, ACME_KEY).await, list()).await.unwrap_err();
    assert_eq!((refused.code(), refused.reason().as_deref()), (Code::Unimplemented, Some("UNKNOWN_METHOD")));
}

/// The head of a stream, by hand: no client ends it.
fn head(raw: &Raw) -> http::request::Builder {
    raw.bare("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", format!("Bearer {ACME_KEY}"))
}

#[tokio::test]
async fn an_idle_stream_ends_with_its_deadline() {
    let gateway = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = head(&raw).header("grpc-timeout", "200m");
    let answered = raw.begin(request, None).await.answered().await;
    assert_eq!(answered.grpc().code(), Code::DeadlineExceeded);
    assert!(answered.headers.contains_key("x-request-id"), "{answered:?}");
    // An unread stream does not outlive it either, and the connection goes on.
    let list = framed(&asks(MessageRequest::ListServices(String::new())));
    let answered = raw.call(head(&raw), list).await;
    assert_eq!(answered.grpc().code(), Code::Ok);
}

#[tokio::test]
async fn streams_are_bounded_and_their_places_are_given_back() {
    let gateway = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let mut open = Vec::new();
    for _ in 0..STREAMS {
        let request = head(&raw);
        let pending = raw.begin(request, None).await;
        let response = soon(pending.answer).await.unwrap();
        open.push((pending.stream, response.into_body()));
    }
    let list = framed(&asks(MessageRequest::ListServices(String::new())));
    let refused = raw.call(head(&raw), list.clone()).await.grpc();
    assert_eq!(refused.reason().as_deref(), Some("OVERLOADED"));
    drop(open.pop());
    soon(async {
        while raw.call(head(&raw), list.clone()).await.grpc().code() != Code::Ok {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_question_longer_than_a_name_is_not_read() {
    let gateway = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let answered = raw.call(head(&raw), frame(0, &[b'x'; 5 << 10])).await;
    assert!(answered.body.is_empty(), "{answered:?}");
}

#[tokio::test]
async fn an_idle_stream_does_not_hold_up_the_drain() {
    let gateway = gateway().await;
    let mut raw = Raw::connect(gateway.address).await;
    let request = head(&raw);
    let pending = raw.begin(request, None).await;
    let (ended, answered) = tokio::join!(gateway.app.drain(), pending.answered());
    assert_eq!(answered.grpc().code(), Code::Unavailable);
    assert_eq!(ended.requests_lost, 0);
}
