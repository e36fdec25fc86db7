//! The gateway as a process: killed, replaced, told to end.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use gateway::client::Admin;
use gateway_api::Snapshot;

use crate::support::*;

struct Process(Child);

impl Process {
    fn start(dir: &Path, admin: &str) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_gateway-alone"))
            .args([dir.join("routes.json"), dir.join(admin), "2".into(), dir.join("access.log")])
            .env(handover::PATH_VARIABLE, dir.join("fds"))
            .spawn()
            .unwrap();
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prepare(dir: &Path, service: &Service) {
    let snapshot = Snapshot {
        version: 1,
        listeners: vec![listener("public")],
        routes: vec![route("web", &[service.address])],
    };
    gateway::snapshot::write(&dir.join("routes.json"), &snapshot).unwrap();
}

fn address(dir: &Path, admin: &str) -> SocketAddr {
    let admin = Admin::new(dir.join(admin));
    eventually("the gateway is up", || block_on(admin.status()).ok()?.listeners.first().map(|one| one.1))
}

#[test]
fn killed_and_restarted_it_serves_the_connections_that_queued() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start();
    prepare(dir.path(), &service);
    let store = handover::Store::start(&dir.path().join("fds")).unwrap();
    let mut first = Process::start(dir.path(), "admin.sock");
    let before = address(dir.path(), "admin.sock");
    assert_eq!(Wire::connect(before).get("/name").status, 200);
    assert_eq!(store.names(), ["listener:public"]);
    first.kill();

    // Nobody is there; the kernel queues.
    let mut queued: Vec<_> = (0..50).map(|_| Wire::connect(before)).collect();
    for wire in &mut queued {
        wire.write("GET /name HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    let from = std::time::Instant::now();
    let _second = Process::start(dir.path(), "admin.sock");
    assert!(queued.iter_mut().all(|wire| wire.reply().status == 200));
    assert!(from.elapsed() < std::time::Duration::from_secs(5), "{:?}", from.elapsed());
    assert_eq!(address(dir.path(), "admin.sock"), before);
}

#[test]
fn killed_again_and_again_under_load_it_refuses_no_connection() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start();
    prepare(dir.path(), &service);
    let _store = handover::Store::start(&dir.path().join("fds")).unwrap();
    let mut process = Process::start(dir.path(), "admin.sock");
    let at = address(dir.path(), "admin.sock");
    let stop = Arc::new(AtomicBool::new(false));
    let (done, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, done, refused) = (stop.clone(), done.clone(), refused.clone());
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    // A connection that the dead process held is lost, a new one never is.
                    let answered = TcpStream::connect(at).map(|stream| {
                        drop(stream);
                        std::panic::catch_unwind(|| Wire::connect(at).get("/name").status).ok()
                    });
                    refused.fetch_add(u64::from(answered.is_err()), SeqCst);
                    done.fetch_add(u64::from(matches!(answered, Ok(Some(200)))), SeqCst);
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let seen = done.load(SeqCst);
        eventually("load runs", || (done.load(SeqCst) > seen + 50).then_some(()));
        process.kill();
        process = Process::start(dir.path(), "admin.sock");
    }
    let seen = done.load(SeqCst);
    eventually("load goes on", || (done.load(SeqCst) > seen + 50).then_some(()));
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(refused.load(SeqCst), 0);
}

#[test]
fn an_upgrade_in_place_fails_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start();
    prepare(dir.path(), &service);
    let _store = handover::Store::start(&dir.path().join("fds")).unwrap();
    let mut old = Process::start(dir.path(), "one.sock");
    let at = address(dir.path(), "one.sock");
    let stop = Arc::new(AtomicBool::new(false));
    let (done, failed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, done, failed) = (stop.clone(), done.clone(), failed.clone());
            std::thread::spawn(move || {
                let mut wire = Wire::connect(at);
                while !stop.load(SeqCst) {
                    let reply = wire.get("/slow/1");
                    done.fetch_add(1, SeqCst);
                    failed.fetch_add(u64::from(reply.status != 200), SeqCst);
                    if reply.fields.get("connection").is_some_and(|value| value == "close") {
                        wire = Wire::connect(at);
                    }
                }
            })
        })
        .collect();
    eventually("load runs", || (done.load(SeqCst) > 50).then_some(()));
    let _new = Process::start(dir.path(), "two.sock");
    assert_eq!(address(dir.path(), "two.sock"), at);
    old.terminate();
    assert!(old.0.wait().unwrap().success());
    let seen = done.load(SeqCst);
    eventually("the new one serves", || (done.load(SeqCst) > seen + 50).then_some(()));
    stop.store(true, SeqCst);
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(failed.load(SeqCst), 0);
}

#[test]
fn without_a_store_it_says_that_a_crash_would_cost_the_port() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start();
    prepare(dir.path(), &service);
    let _process = Process::start(dir.path(), "admin.sock"); // names a store that is not there
    address(dir.path(), "admin.sock");
    let status = block_on(Admin::new(dir.path().join("admin.sock")).status()).unwrap();
    assert!(
        status.problems.iter().any(|problem| problem.contains("would not survive a crash")),
        "{status:?}"
    );
}
