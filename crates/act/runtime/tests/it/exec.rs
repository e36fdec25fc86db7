use runtime_api::{Error, ExecOutcome, ExecRequest};

use crate::*;

fn request(id: &ReplicaId, script: &str) -> ExecRequest {
    ExecRequest {
        replica: id.clone(),
        command: vec!["sh".into(), "-c".into(), script.into()],
        deadline: DEADLINE,
    }
}

#[tokio::test]
async fn runs_beside_the_replica_with_its_user_environment_and_directory() {
    let bench = Bench::new();
    let mut spec = shell("exec sleep 1000");
    spec.environment.insert("TOKEN".into(), EnvValue::Secret("s3cr3t".into()));
    let id = bench.start(spec).await;
    let script = "id -u; pwd; echo $TOKEN; echo err >&2; cat /proc/self/cgroup; exit 4";
    let outcome = bench.driver.exec(request(&id, script)).await.unwrap();
    assert_eq!((outcome.code, outcome.signal, outcome.stderr.as_str()), (Some(4), None, "err\n"));
    let lines: Vec<_> = outcome.stdout.lines().collect();
    if is_root() {
        assert_eq!(lines[0], USER.0.to_string());
    }
    assert_eq!(lines[1], bench.path(&id).join("root").display().to_string());
    assert_eq!(lines[2], "s3cr3t");
    if cgroup_has("memory") {
        assert!(outcome.stdout.contains(&format!("/stead/{id}")), "{}", outcome.stdout);
    }
    let missing = ExecRequest { command: vec!["absent".into()], ..request(&id, "") };
    let error = bench.driver.exec(missing).await.unwrap_err();
    assert!(error.to_string().contains("no such program \"absent\""), "{error}");
    bench.driver.stop(id.clone()).await.unwrap();
    assert!(matches!(bench.driver.exec(request(&id, "true")).await, Err(Error::NotRunning(_))));
    let nobody = request(&ReplicaId::new(), "true");
    assert!(matches!(bench.driver.exec(nobody).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn output_is_capped_and_background_processes_are_not_waited_for() {
    let bench = Bench::new();
    let id = bench.start(shell("exec sleep 1000")).await;
    let outcome =
        bench.driver.exec(request(&id, "sleep 1000 & yes | head -c 9000000; kill -9 $$")).await.unwrap();
    assert_eq!(outcome.signal, Some(9));
    assert_eq!(outcome.stdout.len(), ExecOutcome::OUTPUT_BYTES_MAX);
    assert!(outcome.stdout.ends_with("bytes]"), "{}", &outcome.stdout[outcome.stdout.len() - 40..]);
    assert!(running(&bench.wait(&id, "there", |_| true).await), "the replica goes on");
    bench.driver.stop(id).await.unwrap();
}

#[tokio::test]
async fn a_deadline_or_a_caller_that_goes_ends_the_command() {
    let bench = Bench::new();
    let id = bench.start(shell("exec sleep 1000")).await;
    let before = bench.wait(&id, "running", running).await.usage.processes;
    let mut late = request(&id, "trap '' TERM; echo $$ > pid; exec sleep 1000");
    late.deadline = Duration::from_millis(500);
    assert!(matches!(bench.driver.exec(late).await, Err(Error::Deadline { .. })));
    let pid: u32 = std::fs::read_to_string(bench.path(&id).join("root/pid")).unwrap().trim().parse().unwrap();
    until("killed", || !alive(pid)).await;

    let going = bench.driver.exec(request(&id, "echo $$ > pid2; exec sleep 1000"));
    let written = async {
        let file = bench.path(&id).join("root/pid2");
        loop {
            if let Ok(pid) = std::fs::read_to_string(&file).unwrap_or_default().trim().parse::<u32>() {
                break pid;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let pid = tokio::select! {
        _ = going => panic!("it does not end"),
        pid = written => pid,
    };
    until("killed", || !alive(pid)).await;
    bench.wait(&id, "alone", |seen| seen.usage.processes == before).await;
    bench.driver.stop(id).await.unwrap();
}

/// Connects to a replica's shim as the driver does, and sends `line`.
fn say(path: &Path, line: &str) -> Option<std::os::unix::net::UnixStream> {
    use std::io::Write;
    let mut stream = std::os::unix::net::UnixStream::connect(path.join("control.sock")).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(line.as_bytes()).ok()?;
    Some(stream)
}

fn answer(stream: Option<std::os::unix::net::UnixStream>) -> String {
    let mut text = String::new();
    if let Some(mut stream) = stream {
        let _ = std::io::Read::read_to_string(&mut stream, &mut text);
    }
    text
}

#[tokio::test]
async fn the_control_socket_bounds_its_callers() {
    let bench = Bench::new();
    let id = bench.start(shell("exec sleep 1000")).await;
    let path = bench.path(&id);
    assert!(answer(say(&path, "nonsense\n")).contains("not a request"));
    assert!(answer(say(&path, "{\"do\":\"status\"}\n")).contains("\"phase\":\"running\""));
    assert!(
        answer(say(&path, "{\"do\":\"exec\",\"command\":[\"true\"],\"deadline_ms\":9}\n"))
            .contains("without descriptors")
    );
    assert!(answer(say(&path, &"x".repeat((128 << 10) + 1))).contains("too long"));
    // Idle callers fill their places; one more is turned away, and when they go there is room again.
    let idle: Vec<_> = (0..16).map(|_| say(&path, "{").unwrap()).collect();
    assert_eq!(answer(say(&path, "{\"do\":\"status\"}\n")), "");
    drop(idle);
    until("room again", || answer(say(&path, "{\"do\":\"status\"}\n")).contains("running")).await;
    bench.driver.stop(id).await.unwrap();
}

#[tokio::test]
async fn a_specification_too_large_for_its_pipe_is_refused() {
    let bench = Bench::new();
    let mut spec = shell("true");
    spec.files = vec![runtime_api::WorkloadFile {
        path: "big".into(),
        content: vec![7; 24 << 20],
        secret: true,
        linked: false,
        mode: 0o400,
    }];
    let error = bench.driver.start(spec).await.unwrap_err();
    assert!(error.to_string().contains("larger than 25165824 bytes"), "{error}");
    assert!(bench.driver.list().await.unwrap().is_empty());
}
