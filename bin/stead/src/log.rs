//! What the roles say of themselves, on standard error; their shim keeps it.

use std::process::ExitCode;

use base::Problem;

/// Sets up logging for a role. `STEAD_LOG` chooses the level (`error`, `warn`, `info`, `debug`).
pub(crate) fn set_up() {
    let level = match std::env::var("STEAD_LOG").as_deref() {
        Ok("error") => tracing::Level::ERROR,
        Ok("warn") => tracing::Level::WARN,
        Ok("debug") => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    };
    // Set once per process; a second call is a test's.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
}

/// Ends a role: what went wrong goes to standard error.
pub(crate) fn told(outcome: Result<(), Problem>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            cli::complain(&problem);
            ExitCode::from(problem.class.exit_status())
        }
    }
}
