//! The gateway as a program of its own, for tests that kill it and for benchmarks. The product
//! runs it as `stead gateway`.
//!
//! `gateway-alone SNAPSHOT ADMIN_SOCKET [THREADS [ACCESS_LOG]]`; the descriptor store comes from
//! the environment.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[allow(clippy::print_stderr)] // a program's own words
fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(snapshot), Some(socket)) = (arguments.next(), arguments.next()) else {
        eprintln!("error: usage: gateway-alone SNAPSHOT ADMIN_SOCKET [THREADS [ACCESS_LOG]]");
        return ExitCode::from(2);
    };
    let mut options = gateway::Options::new(snapshot, socket);
    options.threads = arguments.next().and_then(|text| text.to_str()?.parse().ok()).unwrap_or(0);
    options.access_log = arguments.next().map(Into::into);
    match gateway::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let problem = base::Problem::from_fault(&error);
            eprintln!("error: {}", problem.message);
            ExitCode::FAILURE
        }
    }
}
