//! The command line: flags, what is printed, exit statuses.
//!
//! Data goes to standard output, talk to standard error; nothing is said by colour alone. Every
//! command talks to a server through the generated client; starting one is the [`Host`]'s, which
//! `bin` implements. Enter at [`args::Cli`] and [`run`].

#![allow(clippy::print_stdout, clippy::print_stderr)] // this crate is the one that prints

pub mod args;
mod artifacts;
mod chart;
mod look;
mod metrics;
mod operate;
mod render;
mod secret;
mod source;
mod terminal;
mod up;

use std::{path::PathBuf, process::ExitCode};

use args::{Cli, Command, Output};
use base::{Class, Problem};
use client::{Client, Endpoint};
use futures_util::future::BoxFuture;

/// Exit status of a look that found something wanting: a service that is not healthy, software that is
/// missing. Unlike those of [`Class::exit_status`] it is an answer, not a failure to get one.
pub const NOT_AS_IT_SHOULD_BE: u8 = 8;

/// Where the server runs and how it is reached.
#[derive(Debug, Clone)]
pub struct Server {
    pub endpoint: Endpoint,
    pub token_file: PathBuf,
    pub pid: u32,
}

/// How a server is to be started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    pub data: PathBuf,
    pub listen: Option<String>,
    pub gateway_listen: Option<String>,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub insecure_plaintext: bool,
}

/// What the command line needs of the process it is part of.
pub trait Host: Sync {
    /// The server of this data directory, if one runs.
    fn find(&self, data: PathBuf) -> BoxFuture<'_, Result<Option<Server>, Problem>>;

    /// Whether a server holds the data directory, be it on its way up or down.
    fn runs(&self, data: &std::path::Path) -> bool;

    /// The server of this data directory; starts one in the background if none runs. True when it
    /// was started now.
    fn ensure(&self, options: ServerOptions) -> BoxFuture<'_, Result<(Server, bool), Problem>>;

    /// What this machine lacks.
    fn doctor(&self, data: PathBuf) -> BoxFuture<'_, Vec<api_types::Finding>>;

    /// Puts a backup in place of the state. No server may run.
    fn restore(&self, data: PathBuf, backup: PathBuf) -> BoxFuture<'_, Result<String, Problem>>;

    /// Writes a systemd unit and says what to do with it.
    fn install_service(&self, options: ServerOptions) -> Result<String, Problem>;

    /// Stops what the shims run, with no control there to ask.
    fn stop_everything(&self, data: PathBuf) -> BoxFuture<'_, Result<(), Problem>>;
}

/// Runs one command.
pub async fn run(cli: Cli, host: &dyn Host) -> ExitCode {
    match dispatch(cli, host).await {
        Ok(code) => code,
        Err(problem) => {
            complain(&problem);
            ExitCode::from(problem.class.exit_status())
        }
    }
}

async fn dispatch(cli: Cli, host: &dyn Host) -> Result<ExitCode, Problem> {
    let global = cli.global;
    match cli.command {
        Command::Up(args) => return up::up(&global, args, host).await,
        Command::Plan(args) => return up::plan(&global, args, host).await,
        Command::Down(args) => return up::down(&global, args, host).await,
        Command::Init(args) => operate::init(args)?,
        Command::Status(args) => return look::status(&connect(&global, host).await?, &global, args).await,
        Command::Logs(args) => look::logs(&connect(&global, host).await?, &global, args).await?,
        Command::Events(args) => look::events(&connect(&global, host).await?, &global, args).await?,
        Command::Metrics(args) => metrics::run(&connect(&global, host).await?, &global, args).await?,
        Command::Audit(args) => return look::audit(&connect(&global, host).await?, &global, args).await,
        Command::Restart(args) => operate::restart(&connect(&global, host).await?, args).await?,
        Command::Scale(args) => operate::scale(&connect(&global, host).await?, args).await?,
        Command::Exec(args) => return operate::exec(&connect(&global, host).await?, args).await,
        Command::Job(args) => operate::job(&connect(&global, host).await?, args).await?,
        Command::Secret(args) => return secret::run(&connect(&global, host).await?, &global, args).await,
        Command::Open => operate::open(&connect(&global, host).await?).await?,
        Command::Doctor => return look::doctor(&global, host.doctor(global.data()).await),
        Command::Completion { shell } => args::completion(shell),
        Command::Service(args) => operate::service(&global, args, host)?,
        Command::Backup => operate::backup(&connect(&global, host).await?).await?,
        Command::Restore { file } => println!("{}", host.restore(global.data(), file).await?),
        Command::Upgrade { program } => operate::upgrade(&connect(&global, host).await?, program).await?,
        Command::Stop(args) => operate::stop(&global, args, host).await?,
        Command::Serve(_) | Command::Gateway(_) => {
            return Err(Problem::new(Class::Internal, "cli.role", "a role is not run from here"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The running server, or a word on how to start one.
pub(crate) async fn connect(global: &args::Global, host: &dyn Host) -> Result<Client, Problem> {
    if let Some(url) = &global.server {
        let token = global.token.clone().ok_or_else(|| {
            Problem::new(Class::Unauthenticated, "cli.no_token", "a server is named but no token")
                .with_hint("set STEAD_TOKEN to an API token of that server")
        })?;
        return Ok(Client::new(Endpoint {
            url: url.trim_end_matches('/').to_owned(),
            token,
            fingerprint: global.fingerprint.clone(),
            environment: global.environment.clone(),
            insecure_plaintext: global.insecure_plaintext,
        }));
    }
    let data = global.data();
    let server = host.find(data.clone()).await?.ok_or_else(|| {
        Problem::new(Class::Unavailable, "cli.no_server", format!("no server runs on {}", data.display()))
            .with_hint("`stead up PATH` starts one and delivers what is in PATH")
    })?;
    let mut endpoint = server.endpoint;
    endpoint.environment.clone_from(&global.environment);
    Ok(Client::new(endpoint))
}

/// Prints a problem: what, why, what to do.
pub fn complain(problem: &Problem) {
    eprintln!("error: {}", problem.message);
    if let Some(hint) = &problem.hint {
        eprintln!("\nhint: {hint}");
    }
}

pub(crate) fn failed(error: client::Error) -> Problem {
    Problem::from_fault(&error)
}

/// Prints a value as JSON on one line.
pub(crate) fn print_json(value: &impl serde::Serialize) {
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}

pub(crate) fn json(global: &args::Global) -> bool {
    global.output == Output::Json
}
