//! Secrets reach workloads and nothing else: canaries are planted and every byte is searched.

use std::{fs, path::Path};

use crate::{
    installation::{Stead, wait},
    load::{address, get},
    workload::{self, APP},
};

const TOKEN: &str = "canary-Wq7token9zX";
const KEY: &str = "canary-Kj3key-file5T";
const ROTATED: &str = "canary-Zr8rotated4P";

#[test]
fn a_secret_is_delivered_and_found_nowhere_else() {
    if !workload::python("secrets::delivered") {
        return;
    }
    let stead = Stead::new();
    let more = "secrets:\n  TOKEN:\n  cert: {as: file, path: tls/key.pem}\n  unused: {as: template}\n\
                config:\n  files:\n    app.ini: \"token = ${secrets.TOKEN}\"\n\
                jobs:\n  check: {command: /bin/sh -c 'test -n \"$TOKEN\"', when: before_release}\n";
    let redis = Path::new("/usr/bin/redis-server").exists();
    if !redis {
        println!("SKIP secrets::generated: /usr/bin/redis-server is missing (Debian package redis-server)");
    }
    let needs = if redis { "needs: {cache: {redis: {}}}\n" } else { "" };
    let file = workload::service("web", 1, &format!("{more}{needs}"));
    let project = stead.project("app", &[("stead.yaml", &file), ("app.py", APP), ("content.txt", "hello")]);
    stead.up(&stead.project("first", &[("stead.yaml", "name: known\nowner: somebody\n")]));
    for (name, value) in [("TOKEN", TOKEN), ("cert", KEY), ("unused", "canary-never-used")] {
        let done = stead.run_with_input(&["secret", "set", name], format!("{value}\n").as_bytes());
        assert_eq!(done.code, 0, "{done}");
        assert!(!done.out.contains(value) && !done.err.contains(value), "{done}");
    }
    let gateway = address(stead.up(&project)["gateway"].as_str().unwrap());
    assert_eq!(get(&gateway, "/env?name=TOKEN").unwrap().body, TOKEN);
    assert_eq!(get(&gateway, "/file?path=$STEAD_SECRETS_DIR/tls/key.pem").unwrap().body, KEY);
    assert_eq!(get(&gateway, "/file?path=app.ini").unwrap().body, format!("token = {TOKEN}"));

    // The next version arrives with the next `stead up`, and not before.
    stead.run_with_input(&["secret", "set", "TOKEN"], ROTATED.as_bytes());
    stead.ok(&["restart", "web"]);
    let before = stead.replica_pids("web");
    wait("a fresh replica alone", || (stead.replica_pids("web").len() == 1).then_some(()));
    assert_eq!(get(&gateway, "/env?name=TOKEN").unwrap().body, TOKEN, "{before:?}");
    stead.up(&project);
    assert_eq!(get(&gateway, "/env?name=TOKEN").unwrap().body, ROTATED);
    let listed = stead.json(&["secret", "list"]);
    let token = listed.as_array().unwrap().iter().find(|one| one["name"] == "TOKEN").unwrap();
    assert_eq!((&token["version"], &token["used_by"]), (&2.into(), &serde_json::json!(["web"])));

    let mut canaries = vec![TOKEN.to_owned(), KEY.to_owned(), ROTATED.to_owned(), "canary-never".to_owned()];
    if redis {
        let url = get(&gateway, "/env?name=REDIS_URL").unwrap().body;
        let password = url.split('@').next().unwrap().rsplit(':').next().unwrap().to_owned();
        assert!(password.len() > 15, "{url}");
        canaries.push(password);
    }
    // A crash of control with all of it in memory writes none of it down either.
    stead.kill(stead.role("serve").unwrap());
    wait("control to answer", || stead.answers().then_some(()));
    stead.ok(&["backup"]);

    let mut said = String::new();
    for command in [
        &["status", "web", "--output", "json"][..],
        &["events", "--export", "--all"],
        &["logs", "web"],
        &["logs", "web", "--job", "check"],
        &["plan", &project, "--output", "json"],
        &["secret", "list", "--output", "json"],
    ] {
        let done = stead.run(command);
        said.push_str(&done.out);
        said.push_str(&done.err);
    }
    for process in stead.processes() {
        said.push_str(&process.argv.join(" "));
    }
    for canary in &canaries {
        assert!(!said.contains(canary.as_str()), "a secret is shown");
        for place in [stead.data(), stead.checkpoints(), stead.path().join("home")] {
            search(&place, canary.as_bytes());
        }
    }
}

/// Reads every file below and fails at the first that has it.
fn search(place: &Path, canary: &[u8]) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            search(&entry.path(), canary);
        } else if kind.is_file() {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            let found = bytes.windows(canary.len()).any(|window| window == canary);
            assert!(!found, "{} holds a secret", entry.path().display());
        }
    }
}
