//! Operating: restart, scale, exec, jobs, init, service unit, backup, upgrade, stop.

use std::{path::PathBuf, process::ExitCode};

use api_types::{Exec as ExecWish, ScaleTo, ShutDown, Upgrade, Why};
use base::{Class, Problem};
use client::Client;

use crate::{
    Host,
    args::{Exec, Global, Init, Job, Restart, Scale, Service, Stop},
    failed, json, up,
};

/// Stopping everything takes at most the longest grace of a workload, and a little.
const STOPPED_WITHIN: std::time::Duration = std::time::Duration::from_secs(120);

pub(crate) async fn restart(client: &Client, args: Restart) -> Result<(), Problem> {
    client.post_service_restart(&args.service, &Why { why: args.why }).await.map_err(failed)?;
    eprintln!("`{}` is being replaced, replica by replica; `stead status {0} -w` follows", args.service);
    Ok(())
}

pub(crate) async fn scale(client: &Client, args: Scale) -> Result<(), Problem> {
    let wish = ScaleTo { replicas: args.replicas, why: args.why };
    client.post_service_scale(&args.service, &wish).await.map_err(failed)?;
    eprintln!(
        "`{}` goes to {} replicas; the next `stead up` goes back to what its file says",
        args.service, args.replicas
    );
    Ok(())
}

/// Exits as the command did.
pub(crate) async fn exec(client: &Client, args: Exec) -> Result<ExitCode, Problem> {
    let wish = ExecWish { command: args.command, replica: args.replica, timeout_seconds: Some(args.timeout) };
    let client = client.clone().with_timeout(std::time::Duration::from_secs(u64::from(args.timeout) + 10));
    let outcome = client.post_service_exec(&args.service, &wish).await.map_err(failed)?;
    print!("{}", outcome.stdout);
    eprint!("{}", outcome.stderr);
    let code = outcome.code.unwrap_or_else(|| 128 + outcome.signal.unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

pub(crate) async fn job(client: &Client, args: Job) -> Result<(), Problem> {
    client.post_service_job_run(&args.service, &args.job, &Why::default()).await.map_err(failed)?;
    eprintln!("job `{}` runs; `stead logs {} --job {0} -f` follows", args.job, args.service);
    Ok(())
}

pub(crate) fn init(args: Init) -> Result<(), Problem> {
    let target = args.path.join(service_file::FILE_NAME);
    let failed = |error: std::io::Error| {
        Problem::new(Class::Invalid, "cli.init", format!("{}: {error}", target.display()))
    };
    let detected = service_file::detect(&args.path).map_err(failed)?;
    for assumption in &detected.assumptions {
        eprintln!("assumed: {assumption}");
    }
    if args.print {
        print!("{}", detected.text);
        return Ok(());
    }
    if target.exists() && !args.force {
        return Err(Problem::new(
            Class::Conflict,
            "cli.init",
            format!("{} exists already", target.display()),
        )
        .with_hint("look at what would be written with `stead init --print`; `--force` replaces the file"));
    }
    std::fs::write(&target, &detected.text).map_err(failed)?;
    eprintln!("\nwrote {}; look at it, then `stead up {}`", target.display(), args.path.display());
    Ok(())
}

pub(crate) async fn open(client: &Client) -> Result<(), Problem> {
    let link = client.post_person_link("owner").await.map_err(failed)?;
    println!("{}", link.url);
    eprintln!("good once, until {}", link.expires_at);
    Ok(())
}

pub(crate) fn service(global: &Global, args: Service, host: &dyn Host) -> Result<(), Problem> {
    let Service::Install { listen } = args;
    println!("{}", host.install_service(up::options(global, &listen))?);
    Ok(())
}

pub(crate) async fn backup(client: &Client) -> Result<(), Problem> {
    let client = client.clone().with_timeout(std::time::Duration::from_secs(600));
    let file = client.post_machine_backup().await.map_err(failed)?;
    println!("{}", file.path);
    eprintln!("it holds secrets in sealed form only: keep `secrets.key` of the data directory elsewhere");
    Ok(())
}

pub(crate) async fn upgrade(client: &Client, program: Option<PathBuf>) -> Result<(), Problem> {
    let program = match program {
        Some(program) => program,
        None => std::env::current_exe()
            .map_err(|error| Problem::new(Class::Internal, "cli.program", error.to_string()))?,
    };
    let program = program.canonicalize().map_err(|error| {
        Problem::new(Class::Invalid, "cli.program", format!("{}: {error}", program.display()))
    })?;
    client.post_machine_upgrade(&Upgrade { path: program.display().to_string() }).await.map_err(failed)?;
    eprintln!("going over to {}; services stay up", program.display());
    Ok(())
}

pub(crate) async fn stop(global: &Global, args: Stop, host: &dyn Host) -> Result<(), Problem> {
    let running = host.find(global.data()).await?;
    match running {
        Some(_) => {
            let client = crate::connect(global, host).await?;
            client.post_machine_shutdown(&ShutDown { everything: args.everything }).await.map_err(failed)?;
            gone(global, host).await?;
        }
        None if args.everything => host.stop_everything(global.data()).await?,
        None => {
            return Err(Problem::new(Class::NotFound, "cli.no_server", "no server runs here").with_hint(
                "`stead stop --everything` also stops workloads that an earlier server left running",
            ));
        }
    }
    if !json(global) {
        let what = if args.everything { "server, gateway and workloads" } else { "server" };
        eprintln!("{what} stopped; data is kept");
    }
    Ok(())
}

/// Waits until the server has ended.
async fn gone(global: &Global, host: &dyn Host) -> Result<(), Problem> {
    let deadline = tokio::time::Instant::now() + STOPPED_WITHIN;
    while host.runs(&global.data()) {
        if tokio::time::Instant::now() >= deadline {
            return Err(Problem::new(Class::Timeout, "cli.stop", "the server is still stopping what runs")
                .with_hint("`stead status` shows what is left; repeat the command to go on waiting"));
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(())
}
