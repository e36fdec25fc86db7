//! What the tests run: the shim, as the real binary would, and a few workloads that are hard to
//! write in shell.

use std::{io::Write, net::TcpListener, os::fd::AsFd, process::ExitCode};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let verb = arguments.next().unwrap_or_default();
    let number = |text: Option<std::ffi::OsString>| -> usize {
        text.and_then(|text| text.to_str()?.parse().ok()).unwrap_or_default()
    };
    match verb.to_str().unwrap_or_default() {
        "shim" => return runtime::shim::main(arguments),
        "eat" => eat(number(arguments.next())),
        "serve" => return serve(&arguments.next().unwrap_or_default().to_string_lossy()),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// Takes memory, a mebibyte at a time.
fn eat(mebibytes: usize) {
    let mut taken = Vec::new();
    for n in 0..mebibytes {
        taken.push(vec![u8::try_from(n % 250).unwrap_or(1) + 1; 1 << 20]);
    }
    let sum: u64 = taken.iter().map(|block| u64::from(block[block.len() / 2])).sum();
    let _ = writeln!(std::io::stdout(), "ate {sum}");
}

/// A role of Stead: one listening socket that outlives it, each connection answered with its version.
fn serve(version: &str) -> ExitCode {
    let Some(path) = std::env::var_os("STEAD_FD_STORE") else { return ExitCode::FAILURE };
    let Ok(store) = handover::Client::connect(path.as_ref()) else { return ExitCode::FAILURE };
    let kept = store.take_all().unwrap_or_default().into_iter().find(|(name, _)| name == "web");
    let listener = match kept {
        Some((_, fd)) => TcpListener::from(fd),
        None => {
            let Ok(listener) = TcpListener::bind("127.0.0.1:0") else { return ExitCode::FAILURE };
            let Ok(copy) = listener.try_clone() else { return ExitCode::FAILURE };
            if store.put("web", copy.as_fd()).is_err() {
                return ExitCode::FAILURE;
            }
            listener
        }
    };
    let Ok(address) = listener.local_addr() else { return ExitCode::FAILURE };
    let _ = writeln!(std::io::stdout(), "port {}", address.port());
    runtime::ready::say();
    for mut stream in listener.incoming().flatten() {
        let _ = stream.write_all(version.as_bytes());
    }
    ExitCode::SUCCESS
}
