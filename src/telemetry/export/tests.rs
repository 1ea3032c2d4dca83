//! The standard variables: what they ask for, and which make no sense.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Key;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use tokio::runtime::Handle;
use tracing::subscriber::set_default;

use super::{
    super::{
        Config, build,
        tests::{Kept, env},
    },
    Exporter, Protocol, Settings, provider, resource,
};

fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
    Settings::read(&env(variables)).map_err(|error| error.to_string())
}

const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

#[test]
fn nothing_is_exported_unless_an_endpoint_is_set_and_nothing_forbids_it() {
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
    assert_eq!(read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), Ok(None));
    assert_eq!(read(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
    assert!(
        read(&[ENDPOINT, ("OTEL_SDK_DISABLED", "no"), ("OTEL_TRACES_EXPORTER", "otlp")]).unwrap().is_some()
    );
}

#[test]
fn the_general_endpoint_is_a_base_url_and_the_one_for_traces_is_not() {
    let endpoint = |variables: &[_]| read(variables).unwrap().unwrap().endpoint;
    assert_eq!(endpoint(&[ENDPOINT]), "http://collector:4318/v1/traces");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1/x");
    assert_eq!(endpoint(&[ENDPOINT, traces]), "http://traces:1/x");
    assert_eq!(endpoint(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]), ENDPOINT.1);
}

#[test]
fn the_variable_for_traces_goes_before_the_general_one() {
    let general = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc");
    let timeout = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250");
    let settings = read(&[ENDPOINT, general, traces, timeout]).unwrap().unwrap();
    assert_eq!((settings.protocol, settings.timeout), (Protocol::Grpc, Duration::from_millis(250)));
    let settings = read(&[ENDPOINT]).unwrap().unwrap();
    assert_eq!((settings.protocol, settings.timeout), (Protocol::Http, Duration::from_secs(10)));
}

#[test]
fn a_value_that_makes_no_sense_is_an_error_that_names_its_variable() {
    for (key, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_TRACES_SAMPLER", "xray"),
    ] {
        let error = read(&[ENDPOINT, (key, value)]).unwrap_err();
        assert!(error.starts_with(key), "{error}");
    }
}

#[test]
fn an_export_without_a_runtime_is_an_error_not_a_panic() {
    assert!(provider(&env(&[ENDPOINT])).is_err());
}

#[tokio::test]
async fn an_endpoint_that_is_no_url_does_not_start() {
    for protocol in ["grpc", "http/protobuf"] {
        let variables =
            [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://no host"), ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)];
        assert!(provider(&env(&variables)).is_err(), "{protocol}");
    }
}

#[test]
fn the_resource_has_a_name_of_its_own_unless_a_variable_names_it() {
    let name =
        |variables: &[_]| resource(&env(variables)).get(&Key::new("service.name")).unwrap().to_string();
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "service.name=blue,broken, a = b ");
    assert_eq!(name(&[]), "prebuild-gateway");
    assert_eq!(name(&[attributes]), "blue");
    assert_eq!(name(&[attributes, ("OTEL_SERVICE_NAME", "green")]), "green");
    assert_eq!(resource(&env(&[attributes])).get(&Key::new("a")).unwrap().to_string(), "b");
}

/// Fails so many times, then works.
#[derive(Debug)]
struct Failing(AtomicUsize);

impl SpanExporter for Failing {
    async fn export(&self, _: Vec<SpanData>) -> OTelSdkResult {
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(OTelSdkError::InternalFailure("no\nroute".into())),
            Err(_) => Ok(()),
        }
    }
}

#[tokio::test]
async fn failing_exports_are_told_once_and_so_is_their_end() {
    let lines = Kept::default();
    let (subscriber, _telemetry) = build(&Config::default(), &env(&[]), lines.writer()).unwrap();
    let _guard = set_default(subscriber);
    let inner = Arc::new(Failing(AtomicUsize::new(3)));
    let exporter = Exporter { inner, runtime: Handle::current(), failing: AtomicBool::new(false) };
    for works in [false, false, false, true, true] {
        assert_eq!(exporter.export(Vec::new()).await.is_ok(), works);
    }
    let text = lines.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("trace export fails") && text.contains("trace export works again"), "{text}");
}
