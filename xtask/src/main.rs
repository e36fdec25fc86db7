//! The tasks of this repository's developers, run as `cargo xtask NAME`.

#![forbid(unsafe_code)]

mod bench;
mod generate;
mod load;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of this repository")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure against the products a team would use instead
    Bench {
        /// What to measure: gateway
        name: String,
        /// Fewer and shorter rounds
        #[arg(long)]
        quick: bool,
        /// `json`, or a table
        #[arg(long, default_value = "table")]
        output: String,
    },
    /// Generate the Rust client from the API's description
    Generate {
        /// Only say whether it is current
        #[arg(long)]
        check: bool,
    },
    /// Put an open-loop load on the example shop and count what its customers see
    Load(load::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bench { name, quick, output } => bench::run(&name, quick, output == "json"),
        Task::Generate { check } => generate::run(check),
        Task::Load(args) => load::run(args),
    }
}
