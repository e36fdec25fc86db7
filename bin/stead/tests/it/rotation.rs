//! A new password for what a service needs: under load, with control killed, and when it does not work.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::{
    installation::{Stead, wait},
    load::{Load, address, get},
    workload,
};

/// Signs in anew for each request: to Redis by hand, to PostgreSQL with `psql`.
const CLIENT: &str = r#"
import os, socket, subprocess, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlparse

if os.path.exists(os.environ["STEAD_DATA_DIR"] + "/refuse"):
    sys.exit("refused")

def redis(url):
    url = urlparse(url)
    s = socket.create_connection((url.hostname, url.port))
    for command in (("AUTH", url.password), ("INCR", "count")):
        s.sendall(("*%d\r\n" % len(command) + "".join("$%d\r\n%s\r\n" % (len(p), p) for p in command)).encode())
        out = s.recv(4096).decode()
        if out.startswith("-"): return 500, out
    return 200, out

def postgres(url, sql):
    done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url], input=sql, capture_output=True, text=True)
    return (200, done.stdout) if done.returncode == 0 else (500, done.stderr)

def other(url):
    """The need's address with the password of another replica."""
    return open(os.environ["STEAD_DATA_DIR"] + "/" + url).read()

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    def do_GET(self):
        e, path = os.environ, self.path
        if path == "/redis": status, text = redis(e["REDIS_URL"])
        elif path == "/redis/other": status, text = redis(other("redis"))
        elif path == "/make": status, text = postgres(e["DATABASE_URL"], "CREATE TABLE made_%s (n int); SELECT current_user" % e["STEAD_RELEASE"])
        elif path == "/owners": status, text = postgres(e["DATABASE_URL"], "SELECT string_agg(tablename || '=' || tableowner, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'")
        elif path == "/roles": status, text = postgres(e["DATABASE_URL"], "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolcanlogin")
        elif path == "/postgres": status, text = postgres(e["DATABASE_URL"], "SELECT 1")
        elif path == "/postgres/other": status, text = postgres(other("postgres"), "SELECT 1")
        elif path == "/keep":
            for name, url in (("redis", "REDIS_URL"), ("postgres", "DATABASE_URL")):
                open(e["STEAD_DATA_DIR"] + "/" + name, "w").write(e.get(url, ""))
            status, text = 200, "kept"
        elif path == "/refuse": status, text = 200, open(e["STEAD_DATA_DIR"] + "/refuse", "w").name
        elif path == "/allow": status, text = 200, str(os.unlink(e["STEAD_DATA_DIR"] + "/refuse"))
        else: status, text = 200, "ok"
        body = text.strip().encode()
        self.wfile.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)
    def log_message(self, *args): pass

class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

fn has(program: &str, package: &str, test: &str) -> bool {
    let there = Path::new(program).exists();
    if !there {
        println!("SKIP {test}: {program} is missing (Debian package {package})");
    }
    there && workload::python(test)
}

fn with_redis(test: &str) -> Option<(Stead, String)> {
    if !has("/usr/bin/redis-server", "redis-server", test) {
        return None;
    }
    let stead = Stead::new();
    let file = workload::service("web", 2, "needs: {cache: {redis: {}}}\n");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", CLIENT)]);
    let gateway = address(stead.up(&project)["gateway"].as_str().unwrap());
    Some((stead, gateway))
}

fn version(stead: &Stead, need: &str) -> Value {
    let service = stead.service("web");
    let bindings = service["bindings"].as_array().unwrap();
    bindings.iter().find(|binding| binding["need"] == need).unwrap()["password_version"].clone()
}

fn kinds(stead: &Stead) -> Vec<String> {
    let kinds = stead.ledger().into_iter().map(|entry| entry["kind"].as_str().unwrap().to_owned());
    kinds.filter(|kind| kind.starts_with("stead.need.password-")).collect()
}

fn status(gateway: &str, path: &str) -> u16 {
    get(gateway, path).unwrap().status
}

#[test]
fn redis_gets_a_new_password_and_no_request_fails() {
    let Some((stead, gateway)) = with_redis("rotation::redis") else { return };
    assert_eq!(status(&gateway, "/keep"), 200);
    let refused = stead.run(&["secret", "rotate", "web"]);
    assert_ne!(refused.code, 0, "nobody said yes\n{refused}");
    assert!(refused.err.contains("password: version 1 -> a new version"), "{refused}");
    let load = Load::start(&gateway, "/redis", 4);
    stead.ok(&["secret", "rotate", "web", "cache", "--yes"]);
    load.more(50);
    let asked = load.end_without_failure();
    println!("{asked} requests during a rotation of Redis, none failed");
    assert_eq!(version(&stead, "cache"), 2);
    assert_eq!(status(&gateway, "/redis/other"), 500, "the old password is taken no more");
    let added = ["added", "switched", "retired"].map(|what| format!("stead.need.password-{what}.v1"));
    assert_eq!(kinds(&stead), added);
    let entries = stead.ledger();
    let applied = entries.iter().rfind(|entry| entry["kind"] == "stead.plan.applied.v1").unwrap();
    let caused = entries.iter().filter(|entry| entry["causation"] == applied["id"]);
    assert!(caused.count() >= 4, "each step is caused by the plan: {entries:?}");

    // A server that starts anew takes the new one alone, and the next rotation starts from there.
    let pid = stead.replica_pids("web-cache")[0];
    stead.kill(pid);
    wait("redis to come back", || (status(&gateway, "/redis") == 200).then_some(()));
    assert_eq!(status(&gateway, "/redis/other"), 500);
    stead.ok(&["secret", "rotate", "web", "--yes"]);
    assert_eq!(version(&stead, "cache"), 3);
    assert_eq!(status(&gateway, "/redis"), 200);
    let project = stead.path().join("app").display().to_string();
    let plan = stead.json(&["plan", &project]);
    assert_eq!(plan["summary"]["keep"], 2, "a rotation is no drift: {plan}");
    assert_eq!(stead.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn postgres_gets_a_new_password_and_no_request_fails() {
    let test = "rotation::postgres";
    if !Path::new("/usr/lib/postgresql").exists() {
        println!("SKIP {test}: /usr/lib/postgresql is missing (Debian package postgresql)");
        return;
    }
    if !has("/usr/bin/psql", "postgresql-client", test) {
        return;
    }
    let stead = Stead::new();
    let file = workload::service("web", 2, "needs: {db: {postgres: {}}}\n");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", CLIENT)]);
    let gateway = address(stead.up(&project)["gateway"].as_str().unwrap());
    assert_eq!(get(&gateway, "/make").unwrap().body, "app");
    assert_eq!(status(&gateway, "/keep"), 200);
    let load = Load::start(&gateway, "/postgres", 2);
    stead.ok(&["secret", "rotate", "web", "db", "--yes"]);
    load.more(20);
    let asked = load.end_without_failure();
    println!("{asked} requests during a rotation of PostgreSQL, none failed");
    assert_eq!(status(&gateway, "/postgres/other"), 500, "the old password is taken no more");
    assert_eq!(get(&gateway, "/make").unwrap().body, "app", "what a session makes belongs to one role");
    assert_eq!(get(&gateway, "/owners").unwrap().body, "made_1=app made_2=app");
    assert_eq!(get(&gateway, "/roles").unwrap().body, "app_v2 stead");
    assert_eq!(status(&gateway, "/keep"), 200);
    stead.ok(&["secret", "rotate", "web", "--yes"]);
    assert_eq!(get(&gateway, "/roles").unwrap().body, "app_v3 stead");
    assert_eq!(status(&gateway, "/postgres/other"), 500);
    let pid = stead.replica_pids("web-db")[0];
    stead.kill(pid);
    wait("postgres to come back", || (status(&gateway, "/postgres") == 200).then_some(()));
    let mut grep = Command::new("grep");
    let found = grep.args(["-rlE", "SCRAM-SHA|PASSWORD '", "."]).current_dir(stead.data()).output().unwrap();
    let found = String::from_utf8_lossy(&found.stdout);
    let logs: Vec<&str> = found.lines().filter(|path| path.contains("/log")).collect();
    assert!(logs.is_empty(), "{logs:?}");
}

#[test]
fn a_rotation_goes_on_after_control_was_killed() {
    let Some((stead, gateway)) = with_redis("rotation::killed") else { return };
    let load = Load::start(&gateway, "/redis", 2);
    for (round, step) in ["added", "switched", "retired"].into_iter().enumerate() {
        let kind = format!("stead.need.password-{step}.v1");
        let mut rotate = stead.command(&["secret", "rotate", "web", "--yes"]);
        let mut child = rotate.stdout(std::process::Stdio::null()).spawn().unwrap();
        let reached = || kinds(&stead).iter().filter(|seen| **seen == kind).count() > round;
        wait("the step", || reached().then_some(()));
        let control = stead.role("serve").unwrap();
        stead.kill(control);
        let _ = child.wait();
        wait("another control", || stead.role("serve").filter(|pid| *pid != control));
        wait("control to answer", || stead.answers().then_some(()));
        let all = 3 * (round + 1);
        wait("the rotation to end", || (kinds(&stead).len() == all).then_some(()));
        wait("the run to end", || {
            let plan = stead.run(&["secret", "rotate", "web", "--output", "json"]);
            (!plan.err.contains("under way")).then_some(())
        });
        assert_eq!(version(&stead, "cache"), round + 2, "{:?}", kinds(&stead));
        load.more(20);
    }
    load.end_without_failure();
    assert_eq!(stead.json(&["audit", "verify"])["intact"], true);
}

#[test]
fn a_rotation_that_fails_goes_back_to_the_old_password() {
    let Some((stead, gateway)) = with_redis("rotation::undone") else { return };
    assert_eq!(status(&gateway, "/refuse"), 200);
    let load = Load::start(&gateway, "/redis", 2);
    let done = stead.run(&["secret", "rotate", "web", "--yes"]);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("was undone"), "{done}");
    load.more(20);
    load.end_without_failure();
    assert_eq!(version(&stead, "cache"), 1);
    let what = ["added", "withdrawn"].map(|what| format!("stead.need.password-{what}.v1"));
    assert_eq!(kinds(&stead), what);
    assert_eq!(
        stead.service("web")["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["state"] == "ready")
            .count(),
        2
    );
    // The one that was given up is not taken, and another attempt works.
    assert_eq!(status(&gateway, "/allow"), 200);
    stead.ok(&["secret", "rotate", "web", "--yes"]);
    assert_eq!(version(&stead, "cache"), 3);
    assert_eq!(status(&gateway, "/redis"), 200);
    assert!(fs::metadata(stead.data()).is_ok());
}
