//! Data outlives the need it was made for, until somebody says that it should go.

use std::{fs, path::Path};

use crate::{
    installation::{Stead, wait},
    load::{address, get},
    workload,
};

/// Says PING, SET and GET to Redis.
const CLIENT: &str = r#"
import os, socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

def ask(*commands):
    url = urlparse(os.environ["REDIS_URL"])
    s = socket.create_connection((url.hostname, url.port))
    out = ""
    for command in (("AUTH",) + ((url.username,) if url.username else ()) + (url.password,),) + commands:
        s.sendall(("*%d\r\n" % len(command) + "".join("$%d\r\n%s\r\n" % (len(p), p) for p in command)).encode())
        out = s.recv(4096).decode()
        assert not out.startswith("-"), out
    return out

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/set": text = ask(("SET", "order", "taken"), ("SAVE",))
        elif self.path == "/get": text = ask(("GET", "order"))
        else: text = "ok"
        body = text.encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
    def log_message(self, *args): pass

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

#[test]
fn removing_a_need_keeps_its_data() {
    let redis = Path::new("/usr/bin/redis-server").exists();
    if !redis {
        println!("SKIP needs::data: /usr/bin/redis-server is missing (Debian package redis-server)");
    }
    if !redis || !workload::python("needs::data") {
        return;
    }
    let stead = Stead::new();
    let with = workload::service("web", 1, "needs: {cache: {redis: {}}}\n");
    let without = workload::service("web", 1, "");
    let project = stead.project("app", &[("stead.yaml", &with), ("app.py", CLIENT)]);
    let gateway = address(stead.up(&project)["gateway"].as_str().unwrap());
    assert!(get(&gateway, "/set").unwrap().body.starts_with("+OK"));
    assert_eq!(get(&gateway, "/get").unwrap().body, "$5\r\ntaken\r\n");
    let kinds: Vec<_> =
        stead.json(&["status"]).as_array().unwrap().iter().map(|one| one["kind"].clone()).collect();
    assert!(kinds.contains(&"redis".into()), "{kinds:?}");

    fs::write(format!("{project}/stead.yaml"), without).unwrap();
    stead.up(&project);
    assert_eq!(stead.json(&["status"]).as_array().unwrap().len(), 1);
    fs::write(format!("{project}/stead.yaml"), &with).unwrap();
    stead.up(&project);
    assert_eq!(get(&gateway, "/get").unwrap().body, "$5\r\ntaken\r\n", "the data was kept");

    stead.ok(&["down", "--yes"]);
    stead.up(&project);
    assert_eq!(get(&gateway, "/get").unwrap().body, "$5\r\ntaken\r\n", "the data was kept");

    let refused = stead.run(&["down", "--delete-data"]);
    assert_ne!(refused.code, 0, "{refused}");
    stead.ok(&["down", "--yes", "--delete-data"]);
    let data = stead.data().join("data/default");
    let left =
        || fs::read_dir(&data).into_iter().flatten().flatten().map(|one| one.path()).collect::<Vec<_>>();
    wait("the data to go", || left().is_empty().then_some(()));
    stead.up(&project);
    assert_eq!(get(&gateway, "/get").unwrap().body, "$-1\r\n", "the data was deleted");
}
