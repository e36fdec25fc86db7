//! One binary, several roles: the command line, `serve` (control), `gateway`, and `shim`.

mod adapters;
mod checkpoints;
mod control;
mod doctor;
mod host;
mod http;
mod layout;
mod log;
mod machine;
mod metrics;
mod roles;
mod unit;

use std::process::ExitCode;

use clap::Parser;
use cli::args::{Cli, Command};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    // The shim comes before everything else: it has to stay tiny, one runs per replica.
    if arguments.next().is_some_and(|first| first == "shim") {
        return runtime::shim::main(arguments);
    }
    let cli = Cli::parse();
    let data = cli.global.data();
    match cli.command {
        Command::Serve(args) => log::told(control::run(data, args.listen, args.metrics)),
        Command::Gateway(args) => log::told(roles::run_gateway(&data, args.threads)),
        command => {
            let cli = Cli { global: cli.global, command };
            match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime.block_on(cli::run(cli, &host::LocalHost)),
                Err(error) => log::told(Err(base::Problem::new(
                    base::Class::Internal,
                    "bin.runtime",
                    format!("cannot start: {error}"),
                ))),
            }
        }
    }
}
