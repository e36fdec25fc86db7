//! The tasks of this repository's developers, run as `cargo xtask NAME`.
//!
//! `demo` and `test` are the two commands of the README and start from nothing; `check` is the fast
//! gate before a push. Nothing here is part of the product. Each task prints which stage it is in
//! and for how long.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)] // these are command-line tools for people

mod arch;
mod bench;
mod check;
mod conformance;
mod delivered;
mod demo;
mod deny;
mod drill;
mod generate;
mod install;
mod load;
mod spdx;
mod stage;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure Stead, by itself or against the products a team would use instead
    Bench(bench::Args),
    /// Build everything, deliver the example shop and say where it is
    Demo(demo::Args),
    /// Install what the tests need, then run every check and test
    Test(test::Args),
    /// The fast gate: form, lints, layers, licences, generated files, the interface's types
    Check,
    /// Check the layers and sizes of the crates and that ARCHITECTURE.md draws them as they are
    Arch {
        /// Draw them anew
        #[arg(long)]
        write: bool,
    },
    /// Check licences, banned crates and fences against deny.toml
    Deny,
    /// Run the product against other projects' test data
    Conformance(conformance::Args),
    /// Generate the Rust client from the API's description
    Generate {
        /// Only say whether it is current
        #[arg(long)]
        check: bool,
    },
    /// Kill parts of Stead and of the example shop while it takes orders; none may be lost
    Drill(drill::Args),
    /// Put an open-loop load on the example shop and count what its customers see
    Load(load::Args),
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    // Paths of tasks are relative to the repository, wherever the command was given.
    if !matches!(task, Task::Load(_)) {
        std::env::set_current_dir(stage::root())?;
    }
    match task {
        Task::Bench(args) => bench::run(args),
        Task::Demo(args) => demo::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Check => check::run(),
        Task::Arch { write } => arch::run(write),
        Task::Deny => deny::run(),
        Task::Generate { check } => generate::run(check),
        Task::Drill(args) => drill::run(&args),
        Task::Conformance(args) => conformance::run(&args),
        Task::Load(args) => load::run(args),
    }
}
