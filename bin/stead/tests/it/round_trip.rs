//! Up, look, operate, down: the forms that scripts rely on; and who may hold a data directory.

use std::{collections::BTreeSet, thread};

use crate::{
    installation::{Stead, finish, is_alive, up, wait},
    load::{address, get},
    workload::{self, APP},
};

#[test]
fn a_service_is_delivered_looked_at_and_taken_down() {
    if !workload::python("round_trip::delivered") {
        return;
    }
    let stead = Stead::new();
    let file = workload::service("web", 2, "owner: team-a\ndescription: says hello\n");
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "hello")]);
    let answer = stead.up(&project);

    let names = ["api", "ui", "gateway", "token_file", "prometheus_url", "otlp_http_url", "otlp_grpc"];
    for name in names {
        assert!(answer[name].is_string(), "{name} of {answer}");
    }
    let web = &answer["services"][0];
    assert_eq!((web["name"].as_str(), web["state"].as_str()), (Some("web"), Some("healthy")));
    let gateway = address(answer["gateway"].as_str().unwrap());
    assert!(web["url"].as_str().unwrap().contains(&gateway), "{answer}");
    assert_eq!(get(&gateway, "/").unwrap().body, "hello");
    let uid: u32 = get(&gateway, "/uid").unwrap().body.parse().unwrap();
    assert_ne!(uid, 0, "a workload never runs as root");

    // The same again changes nothing.
    let pids = stead.replica_pids("web");
    assert_eq!(pids.len(), 2);
    stead.up(&project);
    assert_eq!(stead.replica_pids("web"), pids);
    let plan = stead.json(&["plan", &project]);
    assert_eq!((&plan["summary"]["keep"], &plan["summary"]["create"]), (&1.into(), &0.into()), "{plan}");
    assert_eq!(stead.run(&["plan", &project, "--detailed-exitcode"]).code, 0);

    let all = stead.json(&["status"]);
    assert_eq!(all[0]["name"], "web");
    assert_eq!((&all[0]["replicas_ready"], &all[0]["owner"]), (&2.into(), &"team-a".into()));
    let one = stead.service("web");
    assert_eq!(one["releases"][0]["state"], "active", "{one}");

    let lines = stead.lines(&["logs", "web"]);
    let texts: BTreeSet<(String, String)> = lines
        .iter()
        .map(|line| (line["stream"].as_str().unwrap().into(), line["text"].as_str().unwrap().into()))
        .collect();
    assert!(texts.contains(&("stderr".into(), "a word on stderr".into())), "{texts:?}");
    assert!(texts.iter().any(|(stream, text)| stream == "stdout" && text.starts_with("listening on")));
    assert_eq!(stead.lines(&["logs", "web", "--contains", "stderr"]).len(), 2);

    let kinds: Vec<String> =
        stead.lines(&["events"]).iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect();
    for kind in ["stead.release.created.v1", "stead.release.activated.v1"] {
        assert!(kinds.iter().any(|one| one == kind), "{kind} in {kinds:?}");
    }
    let of_web = stead.lines(&["events", "--subject", "web", "--kind", "stead.release."]);
    assert_eq!(of_web.len(), 2, "{of_web:?}");
    let verdict = stead.json(&["audit", "verify"]);
    assert_eq!(verdict["intact"], true, "{verdict}");

    let said = stead.run(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 5"]);
    assert_eq!((said.code, said.out.as_str()), (5, "out\n"), "{said}");
    assert!(said.err.contains("err"), "{said}");

    // Without a yes nothing is taken down.
    assert_ne!(stead.run(&["down"]).code, 0);
    assert_eq!(stead.replica_pids("web"), pids);
    stead.ok(&["down", "--yes"]);
    assert_eq!(stead.json(&["status"]), serde_json::json!([]));
    wait("the replicas to end", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
    assert_eq!(get(&gateway, "/").unwrap().status, 404);
    assert_eq!(stead.run(&["status", "web"]).code, 4, "{}", stead.run(&["status", "web"]));
}

#[test]
fn a_second_server_on_the_directory_names_the_first() {
    let stead = Stead::new();
    let project = stead.project("app", &[("stead.yaml", "name: known\nowner: somebody\n")]);
    stead.up(&project);
    let holder = stead.role("serve").unwrap();
    let second = stead.run(&["serve", "--listen", "127.0.0.1:0", "--gateway-listen", "127.0.0.1:0"]);
    assert_eq!(second.code, 1, "{second}");
    assert!(second.err.contains(&holder.to_string()), "{second}");
    assert!(stead.answers());

    // A lock file that nobody holds is no obstacle, whatever it says.
    stead.ok(&["stop", "--everything"]);
    wait("all to end", || stead.processes().is_empty().then_some(()));
    std::fs::write(stead.data().join("lock"), "1\n").unwrap();
    stead.up(&project);
}

#[test]
fn two_at_once_share_one_server() {
    let stead = Stead::new();
    let first = stead.project("a", &[("stead.yaml", "name: one\nrun: {command: sleep 600, port: none}\n")]);
    let second = stead.project("b", &[("stead.yaml", "name: two\nrun: {command: sleep 600, port: none}\n")]);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let runs: Vec<_> = [&first, &second]
            .map(|path| {
                let command = stead.command(&up(path));
                scope.spawn(move || finish(command, b""))
            })
            .into_iter()
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    for done in &outcomes {
        assert_eq!(done.code, 0, "{done}{}", stead.said());
    }
    let servers =
        stead.processes().iter().filter(|one| one.argv.get(1).is_some_and(|a| a == "serve")).count();
    assert_eq!(servers, 1, "{:?}", stead.processes());
    assert_eq!(stead.json(&["status"]).as_array().unwrap().len(), 2);
}
