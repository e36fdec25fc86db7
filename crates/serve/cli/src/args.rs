//! Everything that the command line takes. No other module names a flag or a variable.

use std::{fmt, path::PathBuf};

use base::units::{Bytes, Span};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, builder::BoolishValueParser};

/// As in `docs/reference/exit-statuses.md`.
const EXIT_STATUSES: &str = "Exit statuses:
  0  done, or all is as it should be
  1  something failed that should not (a bug, a ledger that is not intact, a plan that was declined)
  2  what was asked is wrong: arguments, service files, settings
     (`plan --detailed-exitcode`: the plan would change something)
  3  not signed in, or not allowed
  4  there is no such thing
  5  it conflicts with what is there, or a plan failed and was undone
  6  a limit is reached
  7  no server, or no answer in time
  8  `status`: something is not healthy; `doctor`: something is missing";

/// Delivers services from one file each, and keeps them running.
#[derive(Debug, Parser)]
#[command(name = "stead", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_long_help = EXIT_STATUSES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Clone, Args)]
pub struct Global {
    /// Data directory of the server on this machine
    #[arg(long, global = true, env = "STEAD_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of another server, such as https://stead.example.com
    #[arg(long, global = true, env = "STEAD_SERVER", value_name = "URL")]
    pub server: Option<String>,
    /// API token for that server
    #[arg(long, global = true, env = "STEAD_TOKEN", hide_env_values = true, hide = true)]
    pub token: Option<String>,
    /// SHA-256 fingerprint of that server's own certificate
    #[arg(long, global = true, env = "STEAD_FINGERPRINT", value_name = "HEX")]
    pub fingerprint: Option<String>,
    /// Environment
    #[arg(long, short = 'e', global = true, env = "STEAD_ENVIRONMENT", default_value = "default")]
    pub environment: String,
    /// Form of the output
    #[arg(long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Speak plain HTTP off loopback: anybody on the way can read and change everything
    #[arg(long, global = true, env = "STEAD_INSECURE_PLAINTEXT", value_parser = BoolishValueParser::new())]
    pub insecure_plaintext: bool,
}

impl fmt::Debug for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Global")
            .field("data", &self.data)
            .field("server", &self.server)
            .field("token", &self.token.as_ref().map(|_| "<secret>"))
            .field("fingerprint", &self.fingerprint)
            .field("environment", &self.environment)
            .field("output", &self.output)
            .field("insecure_plaintext", &self.insecure_plaintext)
            .finish()
    }
}

impl Global {
    /// The data directory: as told, else `/var/lib/stead` for root and `~/.local/share/stead`.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        if let Some(data) = &self.data {
            return std::path::absolute(data).unwrap_or_else(|_| data.clone());
        }
        match std::env::var_os("HOME") {
            Some(home) if home != "/root" => PathBuf::from(home).join(".local/share/stead"),
            _ => PathBuf::from("/var/lib/stead"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Deliver the services of a folder: plan, ask, apply, wait until they are healthy
    Up(Up),
    /// Show what `up` would do
    Plan(Plan),
    /// Take services down; data is kept unless told otherwise
    Down(Down),
    /// Write a first stead.yaml by looking at a folder
    Init(Init),
    /// Show services and their health; exit status 8 when something is not healthy
    Status(Status),
    /// Show what a service prints
    Logs(Logs),
    /// Show what changed, by whom and why
    Events(Events),
    /// Query metrics and look at what is stored
    #[command(subcommand)]
    Metrics(Metrics),
    /// Check the ledger
    #[command(subcommand)]
    Audit(Audit),
    /// Replace the replicas of a service by fresh ones
    Restart(Restart),
    /// Change the number of replicas
    Scale(Scale),
    /// Run a command beside a replica
    Exec(Exec),
    /// Run a job of a service now
    Job(Job),
    /// Set, list and remove secrets
    #[command(subcommand)]
    Secret(Secret),
    /// Print a one-time link to sign in to the web interface
    Open,
    /// Say what this machine lacks and what that costs; exit status 8 when something is missing
    Doctor,
    /// Print a completion script
    Completion { shell: clap_complete::Shell },
    /// Run Stead as a system service
    #[command(subcommand)]
    Service(Service),
    /// Back up Stead's own state
    Backup,
    /// Put a backup in place of the state; no server may run
    Restore {
        /// The file that `stead backup` named
        file: PathBuf,
    },
    /// Go over to another version of Stead; gateway and workloads stay up
    Upgrade {
        /// The new program; the one that runs this command unless told
        program: Option<PathBuf>,
    },
    /// Stop the server; workloads and gateway go on unless told otherwise
    Stop(Stop),
    /// Run the server in the foreground
    Serve(Serve),
    /// Run the gateway (started by the server)
    #[command(hide = true)]
    Gateway(Gateway),
}

#[derive(Debug, Clone, Args)]
pub struct Listen {
    /// Address of API and web interface
    #[arg(long, env = "STEAD_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address on which services are reached
    #[arg(long, env = "STEAD_GATEWAY_LISTEN", value_name = "ADDRESS")]
    pub gateway_listen: Option<String>,
    /// TLS certificate (PEM) for addresses off loopback; without one, Stead makes its own
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    pub tls_certificate: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, requires = "tls_certificate", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    #[arg(from_global)]
    pub insecure_plaintext: bool,
}

#[derive(Debug, Args)]
pub struct Up {
    /// A folder with a stead.yaml or with several in its subfolders, or one such file
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Apply without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Return once everything is healthy instead of following logs
    #[arg(long, short = 'd')]
    pub detach: bool,
    /// Do not run the services' build commands
    #[arg(long)]
    pub no_build: bool,
    #[command(flatten)]
    pub listen: Listen,
}

#[derive(Debug, Args)]
pub struct Plan {
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Exit with 2 when something would change
    #[arg(long)]
    pub detailed_exitcode: bool,
    #[command(flatten)]
    pub listen: Listen,
}

#[derive(Debug, Subcommand)]
pub enum Metrics {
    /// Evaluate a PromQL expression, over a time with a small graph or at one moment
    Query(MetricsQuery),
    /// List metrics, or the values of one label
    Labels {
        /// A label, such as job; metrics when left out
        #[arg(default_value = "__name__")]
        label: String,
        /// Only of series that this selector finds, such as '{job="node"}'
        #[arg(long = "match", value_name = "SELECTOR")]
        selector: Option<String>,
    },
    /// Show what makes the number of series
    Cardinality {
        /// Rows of each table
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
    /// Show what is scraped, and whether it answers
    Targets,
    /// Have the server read the scrape configuration again (prometheus.yml in the data directory)
    Reload,
}

#[derive(Debug, Args)]
pub struct MetricsQuery {
    /// The expression, such as 'sum by (service) (rate(stead_gateway_requests_total[1m]))'
    pub expression: String,
    /// Length of the time shown, such as 30m or 6h; 0 asks for one moment
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    pub since: String,
    /// End of that time, or the moment: RFC 3339 or seconds since 1970; now when left out
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Distance of two points; chosen by the width when left out
    #[arg(long, value_name = "DURATION")]
    pub step: Option<String>,
    /// Series drawn and listed at most
    #[arg(long, default_value_t = 10)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct Down {
    /// Services; all of the environment when none is named
    pub services: Vec<String>,
    /// Delete the data of databases and services too; this cannot be undone
    #[arg(long)]
    pub delete_data: bool,
    /// Apply without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
}

#[derive(Debug, Args)]
pub struct Init {
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Replace a stead.yaml that is there
    #[arg(long)]
    pub force: bool,
    /// Print it instead of writing it
    #[arg(long)]
    pub print: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// One service in detail
    pub service: Option<String>,
    /// Show again whenever something changes
    #[arg(long, short = 'w')]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct Logs {
    pub service: String,
    /// Stay and print new lines
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Lines from before
    #[arg(long, short = 'n', default_value_t = 100)]
    pub tail: u64,
    /// Only lines since this time (RFC 3339) or for this long (10m)
    #[arg(long)]
    pub since: Option<String>,
    /// Only lines with this text
    #[arg(long)]
    pub contains: Option<String>,
    /// One replica, by the end of its id
    #[arg(long)]
    pub replica: Option<String>,
    /// Runs of this job
    #[arg(long)]
    pub job: Option<String>,
}

#[derive(Debug, Args)]
pub struct Events {
    /// Stay and print new ones
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// How many from before
    #[arg(long, short = 'n', default_value_t = 30)]
    pub limit: u64,
    /// Start of the kind, such as stead.release.
    #[arg(long)]
    pub kind: Option<String>,
    /// A service by name, or an entity id
    #[arg(long)]
    pub subject: Option<String>,
    #[arg(long)]
    pub actor: Option<String>,
    /// Only those since this time (RFC 3339) or for this long (10m)
    #[arg(long)]
    pub since: Option<String>,
    /// Only those before this time, or longer ago than this
    #[arg(long)]
    pub until: Option<String>,
    /// All environments
    #[arg(long)]
    pub all: bool,
    /// Print every entry as a line of JSON, oldest first
    #[arg(long)]
    pub export: bool,
}

#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check that the ledger is as it was written
    Verify,
}

#[derive(Debug, Args)]
pub struct Restart {
    pub service: String,
    /// Why, for the ledger
    #[arg(long)]
    pub why: Option<String>,
}

#[derive(Debug, Args)]
pub struct Scale {
    pub service: String,
    pub replicas: u32,
    /// Why, for the ledger
    #[arg(long)]
    pub why: Option<String>,
}

#[derive(Debug, Args)]
pub struct Exec {
    pub service: String,
    /// One replica, by the end of its id
    #[arg(long)]
    pub replica: Option<String>,
    /// Seconds it may take
    #[arg(long, default_value_t = 60)]
    pub timeout: u32,
    /// The command and its arguments, after --
    #[arg(required = true, last = true)]
    pub command: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Job {
    pub service: String,
    pub job: String,
}

#[derive(Debug, Subcommand)]
pub enum Secret {
    /// Set a secret; the value comes from standard input or a prompt, never from an argument
    Set {
        name: String,
        /// Read the value from this file
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// List names and versions; values cannot be read
    List,
    /// Remove a secret; releases that use it keep their version
    Remove { name: String },
    /// Give the database or cache of a service a new password, without an interruption
    Rotate {
        service: String,
        /// Its name under `needs`; may be left out when there is only one
        need: Option<String>,
        /// Apply without asking
        #[arg(long, short = 'y')]
        yes: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum Service {
    /// Write a systemd unit that runs the server
    Install {
        #[command(flatten)]
        listen: Listen,
    },
}

#[derive(Debug, Args)]
pub struct Stop {
    /// Gateway and workloads too
    #[arg(long)]
    pub everything: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Serve {
    #[command(flatten)]
    pub listen: Listen,
    #[command(flatten)]
    pub metrics: MetricsSettings,
}

/// How the server keeps metrics. A server that `up` starts takes them from the environment.
#[derive(Debug, Clone, Args)]
pub struct MetricsSettings {
    /// How long samples are kept
    #[arg(long, env = "STEAD_METRICS_RETENTION", default_value = "30d", value_name = "DURATION")]
    pub metrics_retention: Span,
    /// Memory for samples not yet on disk and for what is read
    #[arg(long, env = "STEAD_METRICS_MEMORY", default_value = "512MiB", value_name = "SIZE")]
    pub metrics_memory: Bytes,
    /// How long samples gather before one sync to disk; whoever sends them waits for it
    #[arg(long, env = "STEAD_METRICS_SYNC_INTERVAL", default_value = "0s", value_name = "DURATION")]
    pub metrics_sync_interval: Span,
    /// Do not measure the host, what runs and Stead itself
    #[arg(long, env = "STEAD_NO_VITALS", value_parser = BoolishValueParser::new())]
    pub no_vitals: bool,
}

#[derive(Debug, Clone, Args)]
pub struct Gateway {
    /// Threads that serve; one per core unless told
    #[arg(long, default_value_t = 0)]
    pub threads: usize,
}

/// Prints the completion script of a shell.
pub(crate) fn completion(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "stead", &mut std::io::stdout());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_token_does_not_show() {
        let cli = Cli::try_parse_from(["stead", "status", "--token", "canary"]).unwrap();
        assert_eq!(cli.global.token.as_deref(), Some("canary"));
        assert!(!format!("{cli:?} {cli:#?}").contains("canary"));
    }

    #[test]
    fn plain_http_is_asked_for_once_for_server_and_client() {
        for line in ["stead up . --insecure-plaintext", "stead --insecure-plaintext up ."] {
            let cli = Cli::try_parse_from(line.split(' ')).unwrap();
            let Command::Up(up) = cli.command else { panic!() };
            assert!(cli.global.insecure_plaintext && up.listen.insecure_plaintext, "{line}");
        }
        let cli = Cli::try_parse_from(["stead", "serve"]).unwrap();
        let Command::Serve(serve) = cli.command else { panic!() };
        assert!(!cli.global.insecure_plaintext && !serve.listen.insecure_plaintext);
    }

    #[test]
    fn the_forms_that_scripts_rely_on() {
        let line = "stead up . --yes --detach --data D --listen 127.0.0.1:0 --gateway-listen 127.0.0.1:0 --output json";
        let cli = Cli::try_parse_from(line.split(' ')).unwrap();
        assert_eq!(cli.global.output, Output::Json);
        assert!(matches!(cli.command, Command::Up(Up { yes: true, detach: true, .. })));
    }
}
