//! The command line's side of this machine: finding and starting the server.

use std::{path::PathBuf, time::Duration};

use api_types::Finding;
use base::{Class, Problem};
use cli::{Host, Server, ServerOptions};
use client::{Client, Endpoint};
use futures_util::{StreamExt, future::BoxFuture};
use runtime::ProcessDriver;
use runtime_api::{Driver, LogQuery};
use state::SqliteState;

use crate::{
    checkpoints, doctor,
    layout::Layout,
    machine::stop_all,
    roles::{self, CONTROL, GATEWAY},
    unit,
};

/// A server that was just started has so long to answer.
const UP_WITHIN: Duration = Duration::from_secs(30);
const ASK_EVERY: Duration = Duration::from_millis(20);

/// This machine.
#[derive(Debug)]
pub(crate) struct LocalHost;

impl Host for LocalHost {
    fn find(&self, data: PathBuf) -> BoxFuture<'_, Result<Option<Server>, Problem>> {
        Box::pin(async move { find(&Layout::new(data)).await })
    }

    fn runs(&self, data: &std::path::Path) -> bool {
        Layout::new(data.to_owned()).holder().is_some()
    }

    fn ensure(&self, options: ServerOptions) -> BoxFuture<'_, Result<(Server, bool), Problem>> {
        Box::pin(ensure(options))
    }

    fn doctor(&self, data: PathBuf) -> BoxFuture<'_, Vec<Finding>> {
        Box::pin(async move { doctor::look(&data) })
    }

    fn restore(&self, data: PathBuf, backup: PathBuf) -> BoxFuture<'_, Result<String, Problem>> {
        Box::pin(async move {
            let layout = Layout::new(data);
            layout.make()?;
            let _lock = layout.lock()?;
            let contents = SqliteState::restore(&backup, &layout.state())
                .map_err(|error| Problem::from_fault(&error))?;
            let mut said = format!("restored {}: {contents:?}", backup.display());
            if let Some(kept) = checkpoints::set_aside(&layout, base::time::SystemClock::shared().now())? {
                said.push_str(&format!("\ncheckpoints from before are in {}", kept.display()));
            }
            Ok(said)
        })
    }

    fn install_service(&self, options: ServerOptions) -> Result<String, Problem> {
        unit::install(&options, &roles::program()?)
    }

    fn stop_everything(&self, data: PathBuf) -> BoxFuture<'_, Result<(), Problem>> {
        Box::pin(async move {
            let layout = Layout::new(data);
            let roles = roles::driver(&layout)?;
            for role in [CONTROL, GATEWAY] {
                if let Some(found) = roles::running(&roles, role).await? {
                    roles.stop(found.id).await.map_err(|error| Problem::from_fault(&error))?;
                }
            }
            let replicas = ProcessDriver::new(runtime::Options::new(layout.replicas(), roles::program()?))
                .map_err(|error| Problem::from_fault(&error))?;
            stop_all(&replicas).await
        })
    }
}

/// The server that holds the directory, once it answers.
async fn find(layout: &Layout) -> Result<Option<Server>, Problem> {
    let Some(pid) = layout.holder() else { return Ok(None) };
    let deadline = tokio::time::Instant::now() + UP_WITHIN;
    loop {
        if let Some(server) = reachable(layout).await {
            return Ok(Some(server));
        }
        if layout.holder().is_none() {
            return Ok(None);
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Problem::new(
                Class::Timeout,
                "bin.silent",
                format!("the server of {} (pid {pid}) does not answer", layout.root.display()),
            )
            .with_hint("look at its log in the directory `roles`, or end it and start it again"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

async fn reachable(layout: &Layout) -> Option<Server> {
    let file = layout.server().filter(|file| layout.holder() == Some(file.pid))?;
    let token = std::fs::read_to_string(layout.token()).ok()?;
    let endpoint = Endpoint {
        url: file.url,
        token: token.trim().to_owned(),
        fingerprint: file.fingerprint,
        environment: "default".into(),
        // Whatever its address is, it is this machine's.
        insecure_plaintext: true,
    };
    let client = Client::new(endpoint.clone()).with_timeout(Duration::from_secs(2));
    drop(client.get_ready().await.ok()?);
    Some(Server { endpoint, token_file: layout.token(), pid: file.pid })
}

async fn ensure(options: ServerOptions) -> Result<(Server, bool), Problem> {
    let layout = Layout::new(options.data.clone());
    if let Some(server) = find(&layout).await? {
        return Ok((server, false));
    }
    layout.make()?;
    let _starting = match starting(&layout).await? {
        Starting::Ours(lock) => lock,
        Starting::Other(server) => return Ok((*server, false)),
    };
    let driver = roles::driver(&layout)?;
    let id = match roles::running(&driver, CONTROL).await? {
        Some(found) => found.id,
        None => roles::start(&driver, &layout, CONTROL, &arguments(&options)).await?,
    };
    let deadline = tokio::time::Instant::now() + UP_WITHIN;
    loop {
        if let Some(server) = reachable(&layout).await {
            return Ok((server, true));
        }
        let restarts = driver
            .list()
            .await
            .ok()
            .and_then(|seen| seen.into_iter().find(|one| one.id == id))
            .map_or(0, |one| one.restarts);
        if restarts >= 2 || tokio::time::Instant::now() >= deadline {
            let said = last_words(&driver, &id).await;
            let _ = driver.stop(id.clone()).await;
            let _ = driver.remove(id).await;
            return Err(said);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Who starts the server, of several who want to at the same time.
enum Starting {
    /// This process, as long as it holds this.
    Ours(std::fs::File),
    /// Another was quicker.
    Other(Box<Server>),
}

async fn starting(layout: &Layout) -> Result<Starting, Problem> {
    let deadline = tokio::time::Instant::now() + UP_WITHIN;
    loop {
        let lock = layout.start_lock()?;
        if let Some(server) = find(layout).await? {
            return Ok(Starting::Other(Box::new(server)));
        }
        if let Some(lock) = lock {
            return Ok(Starting::Ours(lock));
        }
        if tokio::time::Instant::now() >= deadline {
            return Err(Problem::new(
                Class::Timeout,
                "bin.starting",
                format!("another command has been starting the server of {} for long", layout.root.display()),
            )
            .with_hint("see how that command fares, then try again"));
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

fn arguments(options: &ServerOptions) -> Vec<String> {
    let mut arguments = vec!["serve".to_owned()];
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value {
            arguments.extend([flag.to_owned(), value]);
        }
    };
    let absolute =
        |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string();
    add("--listen", options.listen.clone());
    add("--gateway-listen", options.gateway_listen.clone());
    add("--tls-certificate", options.tls_certificate.as_ref().map(absolute));
    add("--tls-key", options.tls_key.as_ref().map(absolute));
    if options.insecure_plaintext {
        arguments.push("--insecure-plaintext".into());
    }
    arguments
}

/// What the server said before it gave up.
async fn last_words(driver: &ProcessDriver, id: &base::id::ReplicaId) -> Problem {
    let query = LogQuery { replica: id.clone(), since: None, tail: 200, contains: None, follow: false };
    let lines: Vec<String> = match driver.logs(query).await {
        Ok(lines) => lines.map(|line| line.text).collect().await,
        Err(_) => Vec::new(),
    };
    let part =
        |prefix: &str| lines.iter().rev().find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
    let message = part("error: ").unwrap_or_else(|| {
        lines.last().cloned().unwrap_or_else(|| "it said nothing and did not answer".into())
    });
    let problem =
        Problem::new(Class::Unavailable, "bin.start", format!("the server did not start: {message}"));
    match part("hint: ") {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}
