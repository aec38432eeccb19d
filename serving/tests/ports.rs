//! gRPC ports and connections against each other over real sockets: health, reflection, TLS and mTLS, failover, the end.

mod authority;

use std::net::SocketAddr;
use std::time::Duration;

use authority::Authority;
use catchment_serving::grpc::{Backoff, ClientTls, Connector, GrpcServer, Running, ServerTls, Stopped};
use catchment_settings::{Endpoint, Value as _};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

const DEADLINE: Duration = Duration::from_secs(20);

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

async fn start(tls: &ServerTls) -> Running {
    GrpcServer::bind(local(), tls).await.expect("a port").start()
}

fn endpoint(scheme: &str, address: SocketAddr) -> Endpoint {
    Endpoint::parse(&format!("{scheme}://{address}")).expect("an endpoint")
}

fn connector(endpoints: &[Endpoint], tls: &ClientTls) -> Connector {
    let backoff = Backoff::new(Duration::from_millis(5), Duration::from_millis(50));
    Connector::new(endpoints, tls).expect("usable").with_backoff(backoff)
}

async fn refusal(endpoint: Endpoint, tls: &ClientTls) -> String {
    connector(&[endpoint], tls).try_connect().await.expect_err("refused").to_string()
}

async fn health(channel: Channel, service: &str) -> Result<ServingStatus, tonic::Code> {
    let question = HealthCheckRequest { service: service.to_owned() };
    let answer = HealthClient::new(channel).check(question).await;
    answer.map(|answer| answer.get_ref().status()).map_err(|status| status.code())
}

#[tokio::test]
async fn health_follows_what_the_port_says_of_itself() {
    let port = start(&ServerTls::default()).await;
    let mut connector = connector(&[endpoint("http", port.address())], &ClientTls::default());
    let channel = connector.connect().await.channel;
    assert_eq!(health(channel.clone(), "").await, Ok(ServingStatus::Serving));
    assert_eq!(health(channel.clone(), "no.such.Service").await, Err(tonic::Code::NotFound));
    port.health().not_serving().await;
    assert_eq!(health(channel, "").await, Ok(ServingStatus::NotServing));
    let why = connector.try_connect().await.expect_err("it wants no calls").to_string();
    assert!(why.ends_with("it says that it does not want calls now"), "{why}");
}

#[tokio::test]
async fn reflection_names_what_is_served_in_both_versions() {
    let port = start(&ServerTls::default()).await;
    let mut connector = connector(&[endpoint("http", port.address())], &ClientTls::default());
    let channel = connector.connect().await.channel;
    let served = [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ];

    let list = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers =
        client.server_reflection_info(tokio_stream::once(list)).await.expect("answered").into_inner();
    let answer = answers.next().await.expect("an answer").expect("no error").message_response;
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, served);

    let find = |symbol: &str| v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            symbol.to_owned(),
        )),
    };
    let symbols = ["catchment.flow.v1.FlowRecord", "grpc.health.v1.HealthCheckRequest"].map(find);
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(tokio_stream::iter(symbols)).await.expect("answered");
    let answers: Vec<_> = answers.into_inner().collect().await;
    for answer in &answers {
        let answer = answer.as_ref().expect("no error");
        let file = matches!(
            answer.message_response,
            Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        );
        assert!(file, "{answer:?}");
    }
    assert_eq!(answers.len(), 2);
}

#[tokio::test]
async fn tls_takes_the_right_authority_and_refuses_others() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let port = start(&ours.server("127.0.0.1", None)).await;
    let at = endpoint("https", port.address());
    let channel = connector(std::slice::from_ref(&at), &ours.client(None)).connect().await.channel;
    assert_eq!(health(channel, "").await, Ok(ServingStatus::Serving));

    let why = refusal(at.clone(), &other.client(None)).await;
    assert!(why.contains("UnknownIssuer") && why.contains("not signed by an authority"), "{why}");
    let named = ClientTls { server_name: Some("elsewhere.example".to_owned()), ..ours.client(None) };
    let why = refusal(at, &named).await;
    assert!(why.contains("elsewhere.example"), "{why}");
    // The server knows of both.
    authority::until(DEADLINE, || port.connections().counts().refused == 2).await;
    assert_eq!(port.connections().counts().accepted, 1);
}

#[tokio::test]
async fn plain_text_and_tls_do_not_meet_and_say_so() {
    let ours = Authority::new("ours");
    let plain = start(&ServerTls::default()).await;
    let why = refusal(endpoint("https", plain.address()), &ours.client(None)).await;
    assert!(why.contains("https://"), "{why}");

    let tls = start(&ours.server("127.0.0.1", None)).await;
    let why = refusal(endpoint("http", tls.address()), &ClientTls::default()).await;
    assert!(!why.is_empty());
    authority::until(DEADLINE, || tls.connections().counts().refused == 1).await;
}

#[tokio::test]
async fn mtls_takes_only_clients_with_a_certificate_of_its_authority() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let port = start(&ours.server("127.0.0.1", Some(&ours))).await;
    let at = endpoint("https", port.address());
    let channel = connector(std::slice::from_ref(&at), &ours.client(Some(&ours))).connect().await.channel;
    assert_eq!(health(channel, "").await, Ok(ServingStatus::Serving));

    let why = refusal(at.clone(), &ours.client(None)).await;
    assert!(why.contains("a client certificate is required"), "{why}");
    let why = refusal(at, &ours.client(Some(&other))).await;
    assert!(why.contains("does not know the authority"), "{why}");
    authority::until(DEADLINE, || port.connections().counts().refused == 2).await;
}

#[tokio::test]
async fn wrong_files_are_named_before_the_port_opens() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    let good = ours.server("127.0.0.1", None);
    let foreign = other.server("127.0.0.1", None);
    let bind = async |tls: ServerTls| GrpcServer::bind(local(), &tls).await.expect_err("refused").to_string();

    let why = bind(ServerTls { key_file: foreign.key_file.clone(), ..good.clone() }).await;
    let key = foreign.key_file.expect("set").display().to_string();
    assert!(why.contains(&key) && why.contains("cannot be used with the key"), "{why}");
    let why = bind(ServerTls { cert_file: Some("/nonexistent.pem".into()), ..good.clone() }).await;
    assert!(why.contains("cannot read /nonexistent.pem: "), "{why}");
    let why = bind(ServerTls { cert_file: good.key_file.clone(), ..good.clone() }).await;
    assert!(why.contains("holds no certificate: no PEM block CERTIFICATE"), "{why}");
    let why = bind(ServerTls { key_file: None, ..good.clone() }).await;
    assert!(why.ends_with("cert_file needs key_file"), "{why}");
    let why = bind(ServerTls { client_ca_file: good.cert_file, ..ServerTls::default() }).await;
    assert!(why.ends_with("client_ca_file needs cert_file"), "{why}");

    let at = endpoint("https", local_with_port(1));
    let why = Connector::new(&[at], &ClientTls::default()).expect_err("no authority").to_string();
    assert_eq!(why, "https:// needs ca_file");
}

fn local_with_port(port: u16) -> SocketAddr {
    SocketAddr::new(local().ip(), port)
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let port = start(&ServerTls::default()).await;
    let why = GrpcServer::bind(port.address(), &ServerTls::default()).await.expect_err("taken").to_string();
    assert!(why.starts_with(&format!("tcp {}: ", port.address())), "{why}");
}

#[tokio::test]
async fn a_connection_fails_over_and_every_reason_is_told() {
    let (first, second) = (start(&ServerTls::default()).await, start(&ServerTls::default()).await);
    let endpoints = [first.address(), second.address()].map(|address| endpoint("http", address));
    let mut connector = connector(&endpoints, &ClientTls::default());
    let (mut ports, mut seen) = (vec![first, second], Vec::new());
    while !ports.is_empty() {
        let connected = connector.connect().await.endpoint;
        let index = ports.iter().position(|port| endpoint("http", port.address()) == connected);
        ports.remove(index.expect("one that runs")).stop(DEADLINE).await;
        seen.push(connected);
    }
    seen.sort();
    let mut all = endpoints.to_vec();
    all.sort();
    assert_eq!(seen, all, "each was connected to once");
    let unreachable = connector.try_connect().await.expect_err("nobody is left");
    assert_eq!(unreachable.attempts.len(), 2);
    for (at, why) in &unreachable.attempts {
        assert!(why.contains("refused"), "{at}: {why}");
    }
    let text = unreachable.to_string();
    assert!(endpoints.iter().all(|at| text.contains(&at.to_string())), "{text}");
}

#[tokio::test]
async fn a_call_without_an_end_does_not_hold_up_the_end() {
    let port = start(&ServerTls::default()).await;
    let mut connector = connector(&[endpoint("http", port.address())], &ClientTls::default());
    let mut client = HealthClient::new(connector.connect().await.channel);
    let mut watched =
        client.watch(HealthCheckRequest::default()).await.expect("health can be watched").into_inner();
    let status = watched.next().await.expect("the state now").expect("no error").status();
    assert_eq!(status, ServingStatus::Serving);

    let began = std::time::Instant::now();
    assert_eq!(port.stop(Duration::from_millis(200)).await, Stopped::CutOff);
    assert!(began.elapsed() < DEADLINE);
    let status = watched.next().await.expect("the last word").expect("no error").status();
    assert_eq!(status, ServingStatus::NotServing, "a watcher is told");
}

#[tokio::test]
async fn an_idle_port_ends_gracefully() {
    let port = start(&ServerTls::default()).await;
    let mut connector = connector(&[endpoint("http", port.address())], &ClientTls::default());
    let connected = connector.connect().await;
    assert_eq!(port.stop(DEADLINE).await, Stopped::Gracefully);
    assert!(health(connected.channel, "").await.is_err(), "nobody is there any more");
}
