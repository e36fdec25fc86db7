use std::os::unix::fs::MetadataExt;

use runtime_api::WorkloadFile;

use crate::*;

const CANARIES: [&str; 3] = ["canary-environment-71af", "canary-file-90be", "canary\nlines-33cd"];

fn holds(content: &[u8], canary: &str) -> bool {
    content.windows(canary.len()).any(|window| window == canary.as_bytes())
}

fn search(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            search(&path, found);
        } else if kind.is_file() {
            let content = std::fs::read(&path).unwrap_or_default();
            if CANARIES.iter().any(|canary| holds(&content, canary)) {
                found.push(path);
            }
        }
    }
}

#[tokio::test]
async fn secrets_reach_the_workload_and_nothing_else() {
    let bench = Bench::new();
    let mut spec = shell(
        "c=canary; test \"$TOKEN\" = $c-environment-71af && echo token; \
         test \"$(cat $STEAD_SECRETS_DIR/sub/key)\" = $c-file-90be && echo key; \
         stat -c '%a %u' $STEAD_SECRETS_DIR $STEAD_SECRETS_DIR/sub/key; exec sleep 1000",
    );
    spec.environment.insert("TOKEN".into(), EnvValue::Secret(CANARIES[0].into()));
    spec.environment.insert("MORE".into(), EnvValue::Secret(CANARIES[2].into()));
    spec.files = vec![WorkloadFile {
        path: "sub/key".into(),
        content: CANARIES[1].as_bytes().to_vec(),
        secret: true,
        linked: false,
        mode: 0o400,
    }];
    let shown = format!("{spec:?}");
    assert!(CANARIES.iter().all(|canary| !shown.contains(canary)));
    let id = bench.start(spec).await;
    bench.line(&id, "key").await;
    let path = bench.path(&id);
    let shim = shim_pid(&path);

    let mut found = Vec::new();
    search(bench.dir.path(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    for file in ["cmdline", "environ", "comm"] {
        let content = std::fs::read(format!("/proc/{shim}/{file}")).unwrap_or_default();
        assert!(CANARIES.iter().all(|canary| !holds(&content, canary)), "{file}");
    }
    let listed = format!("{:?} {:?}", bench.driver, bench.driver.list().await.unwrap());
    assert!(CANARIES.iter().all(|canary| !listed.contains(canary)));
    let record = std::fs::read_to_string(path.join("spec.json")).unwrap();
    assert!(record.contains("TOKEN") && record.contains("\"secret\": true"), "{record}");

    let dir = status(&path).unwrap()["secrets_dir"].as_str().unwrap().to_owned();
    let meta = std::fs::metadata(&dir).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700);
    if is_root() {
        assert_eq!((meta.uid(), meta.gid()), USER);
    }
    let kind = std::process::Command::new("stat").args(["-f", "-c", "%T", &dir]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&kind.stdout).trim(), "tmpfs");

    bench.driver.stop(id.clone()).await.unwrap();
    assert!(!Path::new(&dir).exists());
    let mut found = Vec::new();
    search(bench.dir.path(), &mut found);
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn a_secret_is_found_at_its_path_and_stays_in_memory() {
    let bench = Bench::new();
    let mut spec = shell(
        "c=canary; test \"$(cat conf/app.ini)\" = $c-file-90be && echo read; \
         stat -L -c '%a %u' conf/app.ini; exec sleep 1000",
    );
    let file = |content: &[u8], secret| WorkloadFile {
        path: "conf/app.ini".into(),
        content: content.to_vec(),
        secret,
        linked: secret,
        mode: 0o600,
    };
    // A file of the release at the same path gives way.
    spec.files = vec![file(b"from the release", false), file(CANARIES[1].as_bytes(), true)];
    let id = bench.start(spec).await;
    bench.line(&id, "read").await;
    let owner = if is_root() { USER.0 } else { rustix::process::geteuid().as_raw() };
    bench.line(&id, &format!("600 {owner}")).await;
    let link = bench.path(&id).join("root/conf/app.ini");
    let target = std::fs::read_link(&link).unwrap();
    let meta = std::fs::symlink_metadata(&link).unwrap();
    assert_eq!(meta.uid(), owner);
    let mut found = Vec::new();
    search(bench.dir.path(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    bench.driver.stop(id).await.unwrap();
    assert!(!target.exists());
}

#[tokio::test]
async fn a_broken_specification_is_refused_without_quoting_it() {
    use std::{io::Write, process::Stdio};
    let dir = tempfile::tempdir().unwrap();
    for broken in [
        format!("{{\"version\":1,\"command\":\"{}\"", CANARIES[0]),
        format!("{{\"version\":1,\"id\":\"{}\"}}", CANARIES[0]),
        String::new(),
    ] {
        let mut shim = std::process::Command::new(env!("CARGO_BIN_EXE_runtime-testbed"))
            .args(["shim", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        shim.stdin.take().unwrap().write_all(broken.as_bytes()).unwrap();
        let out = shim.wait_with_output().unwrap();
        assert!(!out.status.success());
        let said = [out.stdout, out.stderr].concat();
        assert!(!said.is_empty() && !holds(&said, CANARIES[0]), "{}", String::from_utf8_lossy(&said));
    }
}
