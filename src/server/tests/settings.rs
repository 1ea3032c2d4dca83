//! The config by itself.

use super::*;

type Spoil = fn(&mut Config);

#[test]
fn the_defaults_are_within_their_bounds() {
    assert_eq!(Config::default().check(), Ok(()));
    assert_eq!(Shutdown::default().check(), Ok(()));
}

#[test]
fn what_would_panic_or_block_later_is_refused_by_key() {
    let cases: [(&str, Spoil); 11] = [
        ("max_connections", |config| config.max_connections = 0),
        ("max_connections", |config| config.max_connections = usize::MAX),
        ("max_concurrent_streams", |config| config.max_concurrent_streams = 0),
        ("max_header_list_size", |config| config.max_header_list_size = 8191),
        ("max_frame_size", |config| config.max_frame_size = 16_383),
        ("max_frame_size", |config| config.max_frame_size = 16_777_216),
        ("max_send_buffer_size", |config| config.max_send_buffer_size = 0),
        ("initial_stream_window", |config| config.initial_stream_window = 1 << 31),
        ("initial_connection_window", |config| config.initial_connection_window = 65_534),
        ("linger", |config| config.linger = Duration::ZERO),
        ("max_connection_age", |config| config.max_connection_age = Duration::MAX),
    ];
    for (key, spoil) in cases {
        let mut config = Config::default();
        spoil(&mut config);
        assert_eq!(config.check().unwrap_err().key, key);
    }
    assert_eq!(Shutdown { grace: Duration::ZERO }.check().unwrap_err().key, "grace");
}

#[test]
fn settings_are_read_from_toml_and_unknown_keys_are_refused() {
    let config: Config = toml::from_str("idle_timeout = '90s'\nmax_connections = 7").unwrap();
    assert_eq!((config.idle_timeout, config.max_connections), (Duration::from_secs(90), 7));
    assert!(toml::from_str::<Config>("idle_timout = '90s'").unwrap_err().to_string().contains("idle_timout"));
}

#[tokio::test]
async fn a_server_answers_http1_and_http2_on_one_port_and_knows_the_peer() {
    let server = start(Config::default()).await;
    let mut tcp = server.connect().await;
    ask_http1(&mut tcp, "/").await;
    let answer = http1_answer(&mut tcp).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(server.client().await.call("/").await, StatusCode::OK);
    assert_eq!(server.connections.accepted_total(), 2);
}
