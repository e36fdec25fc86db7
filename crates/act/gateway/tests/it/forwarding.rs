//! Routes, header fields, trace context.

use crate::support::*;

fn fields(reply: &Reply) -> Vec<(String, String)> {
    serde_json::from_value(reply.json()["fields"].clone()).unwrap()
}

fn field(reply: &Reply, name: &str) -> Option<String> {
    fields(reply).into_iter().find(|(one, _)| one == name).map(|(_, value)| value)
}

fn ask(gateway: &TestGateway, extra: &str) -> Reply {
    let mut wire = gateway.connect();
    wire.write(format!("GET /what?q=1 HTTP/1.1\r\nHost: shop.test:80\r\n{extra}\r\n"));
    wire.reply()
}

#[test]
fn host_and_path_choose_the_service() {
    let (web, api, other) = (Service::start(), Service::start(), Service::start());
    let mut routes =
        vec![route("web", &[web.address]), route("api", &[api.address]), route("other", &[other.address])];
    routes[1].path = "/api".into();
    routes[1].strip_prefix = true;
    routes[2].host = Some("*.other.test".into());
    let gateway = TestGateway::start(routes);
    let ask = |host: &str, path: &str| {
        let mut wire = gateway.connect();
        wire.write(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        wire.reply()
    };
    assert_eq!(ask("a", "/name").text(), web.address.port().to_string());
    assert_eq!(ask("a", "/api/name").text(), api.address.port().to_string());
    assert_eq!(ask("x.OTHER.test:8080", "/name").text(), other.address.port().to_string());
    for (path, expected) in [("/api", "/"), ("/api/x?y", "/x?y"), ("/api?z", "/?z"), ("/apix", "/apix")] {
        let reply = ask("a", path);
        assert_eq!(reply.json()["target"], expected);
        let prefix = (path != "/apix").then(|| "/api".to_owned());
        assert_eq!(field(&reply, "x-forwarded-prefix"), prefix);
    }
    assert_eq!(ask("x.other.test", "http://a/name").text(), web.address.port().to_string());
}

#[test]
fn without_a_route_or_a_replica_the_answer_says_so() {
    let mut only = route("only", &[]);
    only.path = "/only".into();
    let gateway = TestGateway::start(vec![only]);
    let mut wire = gateway.connect();
    let reply = wire.get("/");
    assert_eq!((reply.status, reply.code().as_str()), (404, "gateway.no_route"));
    assert_eq!(reply.fields["content-type"], "application/problem+json");
    assert!(!reply.json()["hint"].as_str().unwrap().is_empty());
    assert_eq!(reply.json()["trace_id"].as_str().unwrap().len(), 32);
    let reply = wire.get("/only");
    assert_eq!((reply.status, reply.code().as_str()), (503, "gateway.no_replica"));
    wire.write("HEAD /none HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(wire.try_reply(true).unwrap().status, 404);
    assert_eq!(wire.get("/only").status, 503, "the connection is still in step");
}

#[test]
fn fields_of_one_hop_end_here() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let reply = ask(
        &gateway,
        "Connection: x-named, keep-alive\r\nX-Named: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nTrailer: x\r\n\
         Proxy-Authorization: secret\r\nProxy-Connection: close\r\nUpgrade: websocket\r\nHTTP2-Settings: x\r\n\
         X-Kept: yes\r\nX-Kept: twice\r\n",
    );
    let names: Vec<_> = fields(&reply).into_iter().map(|(name, _)| name).collect();
    for gone in [
        "connection",
        "x-named",
        "keep-alive",
        "te",
        "trailer",
        "proxy-authorization",
        "proxy-connection",
        "upgrade",
        "http2-settings",
    ] {
        assert!(!names.iter().any(|name| name == gone), "{gone} in {names:?}");
    }
    assert_eq!(names.iter().filter(|name| *name == "x-kept").count(), 2);
    assert!(!reply.fields.contains_key("keep-alive"));
    assert_eq!(reply.fields["x-one"], "1");
    assert_eq!(reply.json()["target"], "/what?q=1");
}

#[test]
fn the_platforms_own_session_reaches_no_service() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let cookie = |given: &str| field(&ask(&gateway, given), "cookie");
    let given = "Cookie: cart=1; stead_session=stead_ses_x; theme=dark\r\n";
    assert_eq!(cookie(given).unwrap(), "cart=1; theme=dark");
    assert_eq!(cookie("cookie: __Host-stead_session=stead_ses_x\r\n"), None);
    assert_eq!(cookie("Cookie: cart=1;theme=dark\r\n").unwrap(), "cart=1;theme=dark", "byte for byte");
}

#[test]
fn forwarding_fields_are_the_gateways_own_unless_trusted() {
    let service = Service::start();
    let mut gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let given = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\
                 X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n";
    let reply = ask(&gateway, given);
    assert_eq!(field(&reply, "x-forwarded-for").unwrap(), "127.0.0.1");
    assert_eq!(field(&reply, "x-forwarded-proto").unwrap(), "http");
    assert_eq!(field(&reply, "x-forwarded-host").unwrap(), "shop.test:80");
    assert_eq!(field(&reply, "host").unwrap(), "shop.test:80");
    for gone in ["forwarded", "x-real-ip", "x-forwarded-port", "x_forwarded_for"] {
        assert_eq!(field(&reply, gone), None, "{gone}");
    }
    gateway.publish(|snapshot| snapshot.listeners[0].trust_forwarded = true);
    let reply = eventually("the listener trusts", || {
        let reply = ask(&gateway, given);
        (field(&reply, "x-forwarded-for").unwrap() == "6.6.6.6, 127.0.0.1").then_some(reply)
    });
    assert_eq!(field(&reply, "x-forwarded-proto").unwrap(), "https");
    assert_eq!(field(&reply, "x-forwarded-host").unwrap(), "evil");
    assert_eq!(field(&reply, "forwarded").unwrap(), "for=6.6.6.6, for=127.0.0.1");
    assert_eq!(fields(&reply).iter().filter(|(name, _)| name == "x-forwarded-proto").count(), 1);
}

#[test]
fn trace_context_continues_or_starts() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let reply =
        ask(&gateway, &format!("traceparent: {given}\r\ntracestate: a=b\r\nX-Request-Id: mine-7\r\n"));
    let passed = field(&reply, "traceparent").unwrap();
    assert_eq!(passed[..36], given[..36]);
    assert_ne!(passed, given);
    assert_eq!(field(&reply, "tracestate").unwrap(), "a=b");
    assert_eq!(field(&reply, "x-request-id").unwrap(), "mine-7");
    let reply = ask(&gateway, "traceparent: nonsense\r\ntracestate: a=b\r\nX-Request-Id: has blank\r\n");
    let passed = field(&reply, "traceparent").unwrap();
    assert_eq!(passed.len(), 55);
    assert_eq!(field(&reply, "tracestate"), None);
    assert_eq!(field(&reply, "x-request-id").unwrap(), passed[3..35]);
}

#[test]
fn connections_are_used_again_on_both_sides() {
    let service = Service::start();
    let gateway = TestGateway::with(vec![route("web", &[service.address])], |options| options.threads = 1);
    let mut wire = gateway.connect();
    for _ in 0..50 {
        assert_eq!(wire.get("/name").status, 200);
    }
    assert_eq!(service.connections.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn old_clients_are_served() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("GET /events/2 HTTP/1.0\r\n\r\n");
    let reply = wire.reply();
    assert!(!reply.fields.contains_key("transfer-encoding"), "{reply:?}");
    assert_eq!(reply.text(), "data: 0\n\ndata: 1\n\n");
    let mut wire = gateway.connect();
    for _ in 0..2 {
        wire.write("GET /name HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        let reply = wire.reply();
        assert_eq!(reply.fields["connection"], "keep-alive");
    }
    wire.write("GET /name HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(wire.reply().fields["connection"], "close");
    assert!(wire.closed());
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    let mut all = String::new();
    for at in 0..20 {
        all += &format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{at:02}");
    }
    wire.write(all);
    for at in 0..20 {
        assert_eq!(wire.reply().text(), format!("{at:02}"));
    }
}

#[test]
fn head_and_bodiless_answers_stay_in_step() {
    let service = Service::start();
    let gateway = TestGateway::start(vec![route("web", &[service.address])]);
    let mut wire = gateway.connect();
    wire.write("HEAD /big/5000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = wire.try_reply(true).unwrap();
    assert_eq!((reply.status, reply.fields["content-length"].as_str()), (200, "5000"));
    for status in [204, 304, 404, 418] {
        assert_eq!(wire.get(&format!("/status/{status}")).status, status);
    }
    assert_eq!(wire.get("/name").status, 200);
}
