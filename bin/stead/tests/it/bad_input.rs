//! Service files that are wrong, and workloads that misbehave.

use std::{fmt::Write as _, fs, net::TcpListener, time::Instant};

use crate::{
    installation::{Stead, wait},
    load::{address, get},
    workload::{self, APP},
};

/// `stead up` of such a file says `expected` and touches nothing.
fn refused(stead: &Stead, name: &str, text: &str, expected: &[&str]) {
    let project = stead.project(name, &[("stead.yaml", text)]);
    let done = stead.try_up(&project);
    assert_eq!(done.code, 2, "{name}: {done}");
    for part in expected {
        assert!(done.err.contains(part), "{name}: {part:?} in {done}");
    }
    assert!(!stead.data().exists(), "{name}: nothing is started for a file that is wrong");
}

#[test]
fn mistakes_are_named_with_line_and_column_and_start_nothing() {
    let stead = Stead::new();
    refused(
        &stead,
        "typos",
        "name: web\nrun:\n  comand: x\n  replicas: many\nneds: {}\n",
        &[
            ":3:3",
            "did you mean `command`?",
            ":4:13",
            "`many`",
            ":5:1",
            "did you mean `needs`?",
            "3 mistakes",
        ],
    );
    let cycle = "name: a\nrun: {command: x, port: none}\nneeds: {b: service}\n---\n\
                 name: b\nrun: {command: y, port: none}\nneeds: {a: service}\n";
    refused(&stead, "cycle", cycle, &["cycle: a -> b -> a", ":3:12"]);
    refused(&stead, "syntax", "name: [a\nrun: }\n", &["stead.yaml:2:"]);
    refused(
        &stead,
        "unknown-need",
        "name: a\nneeds: {db: {postgress: {}}}\n",
        &[":2:", "did you mean `postgres`?"],
    );
    refused(&stead, "later", "name: a\nslo: {availability: 99.9}\n", &[":2:1", "not available yet"]);
    refused(&stead, "deep", &format!("name: a\nrun: {}", "[".repeat(100_000)), &["stead.yaml:2:"]);
    let mut bomb = String::from("name: a\nx0: &x0 [a,a,a,a,a,a,a,a,a,a]\n");
    for level in 1..12 {
        let alias = vec![format!("*x{}", level - 1); 10].join(",");
        let _ = writeln!(bomb, "x{level}: &x{level} [{alias}]");
    }
    refused(&stead, "aliases", &bomb, &["stead.yaml:"]);
    let folder = stead.project("huge", &[("stead.yaml", "name: a\n")]);
    let file = fs::File::create(format!("{folder}/stead.yaml")).unwrap();
    file.set_len(64 << 20).unwrap();
    let asked_at = Instant::now();
    let done = stead.try_up(&folder);
    assert_eq!(done.code, 2, "{done}");
    assert!(done.err.contains("stead.yaml"), "{done}");
    println!("64 MiB were refused after {:?}", asked_at.elapsed());
    let empty = stead.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let done = stead.try_up(empty.to_str().unwrap());
    assert_eq!(done.code, 2, "{done}");
    assert!(done.err.contains("stead init"), "{done}");
}

#[test]
fn what_cannot_run_is_said_and_leaves_the_rest_alone() {
    let stead = Stead::new();
    let gone =
        stead.project("gone", &[("stead.yaml", "name: gone\nrun: {command: /no/such/binary, port: none}\n")]);
    let done = stead.try_up(&gone);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("no such file \"/no/such/binary\""), "{done}");
    assert_eq!(stead.service("gone")["releases"][0]["state"], "failed");

    // Somebody else's port.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let text = format!("name: fixed\nrun:\n  command: sleep 600\n  port: {port}\n");
    let fixed = stead.project("fixed", &[("stead.yaml", &text)]);
    let done = stead.try_up(&fixed);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains(&format!("port {port}")) && done.err.contains("in use"), "{done}");

    // A missing secret is asked for by name.
    let text = "name: wants\nrun: {command: sleep 600, port: none}\nsecrets: {API_KEY: }\n";
    let wants = stead.project("wants", &[("stead.yaml", text)]);
    let done = stead.try_up(&wants);
    assert_ne!(done.code, 0, "{done}");
    assert!(done.err.contains("`API_KEY`") && done.err.contains("stead secret set"), "{done}");
}

#[test]
fn not_healthy_and_no_server_are_told_apart_by_exit_status() {
    let stead = Stead::new();
    let text = "name: brief\nrun: {command: \"sh -c 'sleep 1; exit 3'\", port: none}\n";
    let project = stead.project("brief", &[("stead.yaml", text)]);
    assert_eq!(stead.run(&["status"]).code, 7, "nobody answers");
    stead.up(&project);
    wait("a service that ends to be not healthy", || (stead.run(&["status"]).code == 8).then_some(()));
    stead.ok(&["stop", "--everything"]);
    assert_eq!(stead.run(&["status", "brief"]).code, 7);
}

#[test]
fn an_address_in_use_is_a_clear_error() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap().to_string();
    for (listen, gateway) in [(taken.as_str(), "127.0.0.1:0"), ("127.0.0.1:0", taken.as_str())] {
        let stead = Stead::new();
        let project = stead.project("app", &[("stead.yaml", "name: known\nowner: somebody\n")]);
        let done = stead.run(&[
            "up",
            &project,
            "--yes",
            "--detach",
            "--listen",
            listen,
            "--gateway-listen",
            gateway,
        ]);
        assert_ne!(done.code, 0, "{listen} {gateway}: {done}");
        assert!(done.err.contains(&taken) && done.err.contains("hint:"), "{listen} {gateway}: {done}");
        // It can be started right after, elsewhere.
        stead.up(&project);
    }
}

#[test]
fn a_workload_that_floods_or_ignores_its_end_is_bounded() {
    if !workload::python("bad_input::flood") {
        return;
    }
    let stead = Stead::new();
    // 64 MiB at once, then it serves; SIGTERM does not impress it.
    let text = APP.replace(
        "print(\"listening",
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
         line = b\"x\" * 1023 + b\"\\n\"\n\
         for _ in range(1024): sys.stdout.buffer.write(line * 64)\n\
         print(\"listening",
    );
    let file = workload::service("web", 1, "").replace("grace: 3s", "grace: 1s");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", &text), ("content.txt", "hello")]);
    let gateway = address(stead.up(&project)["gateway"].as_str().unwrap());
    assert_eq!(get(&gateway, "/").unwrap().body, "hello");
    let kept = size(&stead.data().join("replicas"));
    assert!(kept < 48 << 20, "{kept} bytes of output are kept");
    let lines = stead.lines(&["logs", "web", "--tail", "5"]);
    assert_eq!(lines.len(), 5);
    assert!(lines.iter().any(|line| line["text"].as_str().unwrap().starts_with("listening")), "{lines:?}");
    let pid = stead.replica_pids("web")[0];
    stead.ok(&["down", "--yes"]);
    wait("the end of a replica that ignores SIGTERM", || (!crate::installation::is_alive(pid)).then_some(()));
    let ends: Vec<_> =
        stead.ledger().into_iter().filter(|one| one["kind"] == "stead.service.removed.v1").collect();
    assert_eq!(ends.len(), 1, "{:?}", stead.ledger());
}

#[test]
fn a_thousand_services_are_planned() {
    let stead = Stead::new();
    let mut text = String::new();
    for index in 0..1_000 {
        let needs = if index % 10 == 9 {
            format!("needs: {{before: {{service: s{}}}}}\n", index - 1)
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "name: s{index}\nowner: team-{}\nrun: {{command: ./serve --n {index}, replicas: 2, limits: {{memory: 64MiB}}}}\n\
             expose: /s{index}\n{needs}---\n",
            index % 7
        );
    }
    let project = stead.project("many", &[("stead.yaml", &text), ("serve", "#!/bin/sh\n")]);
    let first = stead.project("one", &[("stead.yaml", "name: known\nowner: somebody\n")]);
    stead.up(&first); // So that a server runs.
    let mut took = Vec::new();
    for _ in 0..3 {
        let asked_at = Instant::now();
        let plan = stead.json(&["plan", &project]);
        took.push(asked_at.elapsed());
        assert_eq!(plan["summary"]["create"], 1_000);
    }
    took.sort();
    println!("`stead plan` of 1,000 services: {:?} (median of 3), goal 200ms in release", took[1]);
}

fn size(folder: &std::path::Path) -> u64 {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
