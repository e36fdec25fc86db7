use std::{fs, os::unix::fs::PermissionsExt, time::Instant};

use runtime_api::{Error, Phase, Stop, WorkloadFile};

use crate::*;

#[tokio::test]
async fn exits_at_once_with_its_code_and_output() {
    let bench = Bench::new();
    let id = bench.start(shell("echo out; echo err >&2; printf tail; exit 3")).await;
    let exit = bench.exit(&id).await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (Some(3), None, "exited with 3"));
    let lines: Vec<_> = bench.lines(&id).await.into_iter().map(|l| (l.stderr, l.text)).collect();
    for expected in [(false, "out"), (true, "err"), (false, "tail")] {
        assert!(lines.contains(&(expected.0, expected.1.into())), "{lines:?}");
    }
    bench.driver.stop(id.clone()).await.unwrap();
    bench.driver.remove(id.clone()).await.unwrap();
    assert!(!bench.path(&id).exists());
    assert!(matches!(bench.driver.remove(id.clone()).await, Err(Error::NotFound(_))));
    assert!(matches!(bench.driver.stop(id).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_failure_to_start_says_exactly_why() {
    let bench = Bench::new();
    let file = |path: &str, content: &str, mode| WorkloadFile {
        path: path.into(),
        content: content.into(),
        secret: false,
        linked: false,
        mode,
    };
    let cases = [
        ("./absent", "no such file \"./absent\""),
        ("absent-program", "no such program \"absent-program\" in PATH \"/usr/bin:/bin\""),
        ("./plain", "\"./plain\" is not executable (mode 0644)"),
        ("./script", "asks for the interpreter \"/nowhere/python\", which does not exist"),
        ("./data", "neither a program for this machine nor a script"),
        ("./", "\"./\" is a directory"),
    ];
    for (program, expected) in cases {
        let mut spec = spec([program]);
        spec.files = vec![
            file("plain", "x", 0o644),
            file("script", "#!/nowhere/python\n", 0o755),
            file("data", "\x01\x02\x03", 0o755),
        ];
        let path = bench.path(&spec.id);
        let (exit, _) = bench.run(spec).await;
        until("the shim is gone", || !alive(shim_pid(&path))).await;
        assert!(exit.reason.starts_with("could not start: "), "{}", exit.reason);
        assert!(exit.reason.contains(expected), "{} for {program}", exit.reason);
        assert_eq!(exit.code, None);
    }
    let mut nowhere = shell("true");
    nowhere.working_directory = "/nowhere/at/all".into();
    let (exit, _) = bench.run(nowhere).await;
    assert!(exit.reason.contains("working directory \"/nowhere/at/all\" does not exist"), "{}", exit.reason);
}

#[tokio::test]
async fn a_directory_that_keeps_the_user_out_is_named() {
    if !is_root() {
        println!("SKIP a_directory_that_keeps_the_user_out_is_named: only root can start another user");
        return;
    }
    let bench = Bench::new();
    fs::set_permissions(bench.dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let (exit, _) = bench.run(shell("true")).await;
    let named = format!("may not enter {:?}", bench.dir.path().display().to_string());
    assert!(exit.reason.contains(&named), "{}", exit.reason);
}

#[tokio::test]
async fn no_workload_runs_as_root() {
    if !is_root() {
        println!("SKIP no_workload_runs_as_root: only root could");
        return;
    }
    let bench = Bench::new();
    for user in [None, Some((0, 0)), Some((0, USER.1)), Some((USER.0, 0))] {
        let mut spec = shell("id -u");
        spec.user = user;
        let refused = bench.driver.start(spec).await.unwrap_err();
        assert!(
            matches!(&refused, runtime_api::Error::Start { why, .. } if why.contains("root")),
            "{refused}"
        );
    }
    assert!(bench.driver.list().await.unwrap().is_empty());
    let mut role = shell("id -u; exec sleep 1000");
    role.user = None;
    role.restart = Restart::Always;
    let id = bench.start(role).await;
    assert_eq!(bench.line(&id, "0").await, "0");
    bench.driver.stop(id).await.unwrap();
}

#[tokio::test]
async fn runs_in_its_own_root_as_its_own_user() {
    let bench = Bench::new();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("app.txt"), "the release").unwrap();
    let data = bench.dir.path().join("data/db");
    let mut spec = shell(
        "id -u; id -G; cat app.txt; echo; echo new > made; pwd; umask; cat conf/x; echo; \
         grep NoNewPrivs /proc/self/status; grep SigBlk /proc/self/status; ulimit -Hc; \
         touch $DATA/file; ls /proc/self/fd | tr '\\n' ' '; env",
    );
    spec.source = Some(source.path().into());
    spec.data_directories = vec![data.clone()];
    spec.environment.insert("DATA".into(), EnvValue::Plain(data.display().to_string()));
    spec.files = vec![WorkloadFile {
        path: "conf/x".into(),
        content: b"conf".into(),
        secret: false,
        linked: false,
        mode: 0o400,
    }];
    let id = spec.id.clone();
    let (exit, lines) = bench.run(spec).await;
    let text: Vec<_> = lines.into_iter().map(|line| line.text).collect();
    assert_eq!(exit.reason, "exited with 0", "{text:?}");
    if is_root() {
        assert_eq!(&text[..2], [USER.0.to_string(), USER.1.to_string()]);
    }
    assert_eq!(text[2], "the release");
    assert_eq!(text[3], bench.path(&id).join("root").display().to_string());
    assert_eq!(&text[4..6], ["0022", "conf"]);
    assert!(text[6].ends_with('1') && text[7].ends_with("0000000000000000"), "{text:?}");
    // The blocks of a core file; a limit of one byte shows as none.
    assert_eq!(text[8], "0");
    // The directory that ls itself reads is the fourth.
    assert_eq!(text[9].split_whitespace().next(), Some("0"));
    assert!(text[9].starts_with("0 1 2 3 ") && !text[9].contains(" 4 "), "{}", text[9]);
    let environment: Vec<_> = text[9..].iter().filter(|line| line.contains('=')).collect();
    assert!(environment.iter().any(|line| line.ends_with(&format!("STEAD_REPLICA={id}"))), "{environment:?}");
    assert!(environment.iter().all(|line| !line.contains("CARGO")), "{environment:?}");
    // The release itself is untouched, data outlive the replica.
    assert_eq!(fs::read_dir(source.path()).unwrap().count(), 1);
    assert!(bench.path(&id).join("root/made").exists());
    bench.driver.remove(id).await.unwrap();
    assert!(data.join("file").exists());
}

#[tokio::test]
async fn stopping_ends_by_the_signal_and_is_idempotent() {
    let bench = Bench::new();
    let id = bench.start(shell("trap 'echo bye; exit 0' INT; echo up; while :; do sleep 0.05; done")).await;
    bench.line(&id, "up").await;
    bench.driver.stop(id.clone()).await.unwrap();
    assert_eq!(bench.exit(&id).await.reason, "stopped by SIGTERM");
    bench.driver.stop(id).await.unwrap();

    let mut spec = shell("trap 'echo bye; exit 7' INT; echo up; while :; do sleep 0.05; done");
    spec.stop.signal = "SIGINT".into();
    let id = bench.start(spec).await;
    bench.line(&id, "up").await;
    assert!(matches!(bench.driver.remove(id.clone()).await, Err(Error::StillRunning(_))));
    let (a, b) = tokio::join!(bench.driver.stop(id.clone()), bench.driver.stop(id.clone()));
    a.and(b).unwrap();
    assert_eq!(bench.exit(&id).await.reason, "exited with 7");
    assert_eq!(bench.lines(&id).await.last().unwrap().text, "bye");
}

#[tokio::test]
async fn what_whoever_started_stead_ignores_is_not_ignored_by_workloads() {
    // As a shell does for what runs in its background. It stays so for the other tests of this
    // process, which is what they are to bear, too.
    // SAFETY: SIG_IGN is no handler; nothing runs at the signal.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_IGN) };
    let bench = Bench::new();
    let id = bench.start(shell("grep SigIgn /proc/$$/status; exit 0")).await;
    let line = bench.line(&id, "SigIgn").await;
    let ignored = u64::from_str_radix(line.trim_start_matches("SigIgn:").trim(), 16).unwrap();
    // Two signals above these are the C library's own and are left as they are.
    assert_eq!(ignored & 0x7fff_ffff, 0, "{line}");
    bench.exit(&id).await;
}

#[tokio::test]
async fn what_ignores_the_signal_is_killed_with_all_it_started() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let mut spec = shell(
            "trap '' TERM; setsid sh -c 'echo escaped $$; while :; do sleep 0.05; done' & \
             echo up; while :; do sleep 0.05; done",
        );
        spec.stop = Stop { signal: "TERM".into(), grace: Duration::from_millis(300) };
        let id = bench.start(spec).await;
        let escaped: u32 = bench.line(&id, "escaped").await[8..].parse().unwrap();
        assert!(alive(escaped));
        let began = Instant::now();
        bench.driver.stop(id.clone()).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(300));
        assert_eq!(bench.exit(&id).await.reason, "killed by SIGKILL: it did not end within 300ms of SIGTERM");
        assert!(!alive(escaped));
    }
}

#[tokio::test]
async fn what_forks_twice_is_ended_with_the_program() {
    for bench in [Bench::new(), Bench::without_cgroups()] {
        let id = bench
            .start(shell(
                "(setsid sh -c 'trap \"\" TERM; echo daemon $$; exec sleep 1000' &); sleep 0.3; exit 0",
            ))
            .await;
        let daemon: u32 = bench.line(&id, "daemon").await[7..].parse().unwrap();
        let exit = bench.exit(&id).await;
        assert_eq!(exit.reason, "exited with 0; 1 process that it left behind was killed");
        assert!(!alive(daemon));
    }
}

#[tokio::test]
async fn an_id_is_started_once_and_nonsense_is_refused() {
    let bench = Bench::new();
    let spec = shell("sleep 1000");
    let id = bench.start(spec.clone()).await;
    assert!(matches!(bench.driver.start(spec).await, Err(Error::Exists(_))));
    assert!(matches!(
        bench.driver.list().await.unwrap().as_slice(),
        [seen] if seen.labels["port"] == "1234" && seen.usage.processes > 0
    ));
    bench.driver.stop(id).await.unwrap();

    let mut bad = shell("true");
    bad.stop.signal = "TRM".into();
    assert!(bench.driver.start(bad).await.unwrap_err().to_string().contains("\"TRM\" is not a signal"));
    let mut bad = shell("true");
    bad.environment.insert("A=B".into(), EnvValue::Plain(String::new()));
    assert!(bench.driver.start(bad).await.is_err());
    assert!(matches!(bench.driver.start(super::spec::<&str>([])).await, Err(Error::Start { .. })));
    assert_eq!(bench.driver.list().await.unwrap().len(), 1, "what was refused leaves nothing");
}

#[tokio::test]
async fn a_shim_program_that_is_no_shim_is_an_error() {
    for program in ["/bin/true", "/bin/absent", "/bin/echo"] {
        let bench = Bench::with(|options| options.shim_program = program.into());
        let error = bench.driver.start(shell("true")).await.unwrap_err();
        assert!(matches!(error, Error::Start { .. }), "{error}");
        assert_eq!(fs::read_dir(bench.replicas()).unwrap().count(), 0);
    }
}

/// Starts must be far below what a person notices; the figures are for whoever reads the output.
#[tokio::test]
async fn a_start_is_quick_and_a_shim_small() {
    let bench = Bench::new();
    let mut took = Vec::new();
    for _ in 0..10 {
        let began = Instant::now();
        bench.start(shell("exec sleep 1000")).await;
        took.push(began.elapsed());
    }
    took.sort();
    let began = Instant::now();
    let seen = bench.driver.list().await.unwrap();
    let listed = began.elapsed();
    let anonymous: Vec<u64> = seen.iter().map(|s| anonymous_kib(shim_pid(&bench.path(&s.id)))).collect();
    println!("start: median {:?}, worst {:?}; list of ten: {listed:?}", took[5], took[9]);
    println!("anonymous memory of shims in KiB: {anonymous:?}");
    assert!(took[5] < Duration::from_millis(500), "{took:?}");
    assert!(anonymous.iter().all(|kib| *kib < 1024), "{anonymous:?}");
    for seen in seen {
        bench.driver.stop(seen.id).await.unwrap();
    }
}

/// Memory that a process shares with nobody and no file, zero when we may not know.
fn anonymous_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// All of this without root: no other user, no control groups.
#[test]
fn works_without_root() {
    use std::os::unix::process::CommandExt;
    if !is_root() {
        println!("SKIP works_without_root: this whole run is without root");
        return;
    }
    let exe = std::env::current_exe().unwrap();
    let run = std::process::Command::new(&exe)
        .args(["--skip", "works_without_root", "life::", "privacy::", "exec::", "roles::a_listening"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .uid(USER.0)
        .gid(USER.1)
        .current_dir("/")
        .output();
    match run {
        Err(error) => println!("SKIP works_without_root: {}: {error}", exe.display()),
        Ok(out) => assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout)),
    }
}

#[tokio::test]
async fn twenty_at_once() {
    let bench = Bench::new();
    let specs: Vec<_> = (0..20).map(|n| shell(&format!("echo {n}; exit {n}"))).collect();
    let ids: Vec<_> = specs.iter().map(|spec| spec.id.clone()).collect();
    let started = futures_util::future::join_all(specs.into_iter().map(|s| bench.driver.start(s))).await;
    assert!(started.iter().all(Result::is_ok), "{started:?}");
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(bench.exit(id).await.code, Some(n as i32));
    }
    let seen = bench.driver.list().await.unwrap();
    assert!(seen.iter().all(|s| matches!(s.phase, Phase::Exited { .. })));
}
