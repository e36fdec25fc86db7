//! Redis from Debian's packages: one server per need, with a password and an append-only file.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use base::{Class, Problem, units::Bytes};
use runtime_api::{Stop, WorkloadFile};

use super::{Credentials, Login, Place, Workload, host};

/// Longest wait for a connection, and for each answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest answer that is read; those expected are a line.
const ANSWER_BYTES_MAX: u64 = 4 << 10;

/// The program, if it is installed.
#[must_use]
pub fn installed() -> Option<PathBuf> {
    host::find_program("redis-server", &[])
}

fn program() -> Result<PathBuf, Problem> {
    installed().ok_or_else(|| {
        Problem::new(Class::Unavailable, "need.software_missing", "Redis is not installed")
            .with_hint("apt-get install --no-install-recommends redis-server")
    })
}

/// The version to pin.
///
/// # Errors
/// It is not installed; the hint names the package.
pub fn pin() -> Result<String, Problem> {
    let program = program()?;
    let failed =
        |why: String| Problem::new(Class::Unavailable, "need.tool", format!("redis-server failed: {why}"));
    let output = std::process::Command::new(program)
        .arg("--version")
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace()
        .find_map(|word| word.strip_prefix("v="))
        .map(str::to_owned)
        .ok_or_else(|| failed(format!("`--version` said {said:?}")))
}

pub(super) fn prepare(place: &Place) -> Result<(), Problem> {
    program()?;
    host::make_directory(&place.directory, 0o711, None)?;
    host::make_directory(&place.directory.join("redis"), 0o700, place.user)
}

pub(super) fn workload(
    memory: Option<Bytes>,
    place: &Place,
    credentials: &Credentials,
) -> Result<Workload, Problem> {
    let access = match credentials.also.as_slice() {
        [] => format!("requirepass \"{}\"", credentials.current.password),
        _ => format!("user {}", rules(credentials)),
    };
    let mut text = format!(
        "bind 127.0.0.1\n\
         port {}\n\
         dir \"{}\"\n\
         {access}\n\
         appendonly yes\n\
         appendfsync everysec\n\
         daemonize no\n\
         logfile \"\"\n\
         protected-mode yes\n",
        place.port,
        place.directory.join("redis").display(),
    );
    if let Some(memory) = memory {
        text.push_str(&format!("maxmemory {}\nmaxmemory-policy noeviction\n", memory.get()));
    }
    // The configuration holds the password, so it lives with the secrets; the shell only finds it.
    let command = vec![
        "/bin/sh".into(),
        "-c".into(),
        format!("exec {} \"$STEAD_SECRETS_DIR/redis.conf\"", program()?.display()),
    ];
    let files = vec![WorkloadFile {
        path: "redis.conf".into(),
        content: text.into_bytes(),
        secret: true,
        linked: false,
        mode: 0o400,
    }];
    Ok(Workload { command, files, stop: Stop { signal: "TERM".into(), grace: Duration::from_secs(30) } })
}

/// The default user with the passwords it takes, as an access rule of Redis 6 or later.
fn rules(credentials: &Credentials) -> String {
    let passwords: Vec<String> = credentials.accepted().map(|login| format!(">{}", login.password)).collect();
    format!("default on ~* &* +@all resetpass {}", passwords.join(" "))
}

/// See [`super::settle`]. Connections that are open stay open: Redis asks for a password once.
pub(super) fn settle(place: &Place, credentials: &Credentials, retired: &[Login]) -> Result<(), Problem> {
    let failed = |why: String| {
        Problem::new(Class::Timeout, "need.redis", format!("redis on port {} {why}", place.port))
    };
    let io = |error: std::io::Error| failed(format!("did not answer: {error}"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, place.port));
    let stream = TcpStream::connect_timeout(&address, ANSWER_MAX).map_err(io)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(io)?;
    stream.set_write_timeout(Some(ANSWER_MAX)).map_err(io)?;
    let mut answers = BufReader::new(stream.try_clone().map_err(io)?);
    // A restart in between may have left it with any of them.
    let mut signed_in = false;
    for login in credentials.accepted().chain(retired) {
        signed_in = ask(&stream, &mut answers, &["AUTH", &login.password]).map_err(io)?.is_ok();
        if signed_in {
            break;
        }
    }
    if !signed_in {
        return Err(failed("takes no password that Stead knows".into())
            .with_hint("somebody changed it by hand; `stead restart` brings Stead's back"));
    }
    let rules = rules(credentials);
    let command: Vec<&str> = ["ACL", "SETUSER"].into_iter().chain(rules.split(' ')).collect();
    ask(&stream, &mut answers, &command).map_err(io)?.map_err(|said| {
        failed(format!("refused: {}", said.split_whitespace().next().unwrap_or_default()))
            .with_hint("rotation takes Redis 6 or later")
    })
}

/// Sends one command (RESP2) and reads one line; the inner error is what Redis said.
fn ask(mut to: &TcpStream, from: &mut impl BufRead, command: &[&str]) -> std::io::Result<Result<(), String>> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    to.write_all(&bytes)?;
    let mut line = String::new();
    std::io::Read::take(from, ANSWER_BYTES_MAX).read_line(&mut line)?;
    match line.trim_end().split_at_checked(1) {
        Some(("+", _)) => Ok(Ok(())),
        Some(("-", why)) => Ok(Err(why.to_owned())),
        _ => Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "it does not speak Redis' protocol")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_passwords_are_a_rule_and_one_is_as_it_was() {
        let place = Place { directory: "/data".into(), port: 7_000, user: None };
        let of = |version: u64| Login { version, password: format!("p{version}") };
        let credentials = |also| Credentials { current: of(2), also, superuser: None };
        let text = |credentials| match workload(None, &place, &credentials) {
            Ok(workload) => String::from_utf8(workload.files[0].content.clone()).unwrap(),
            Err(problem) => {
                println!("SKIP redis_configuration: {problem}");
                String::new()
            }
        };
        let one = text(credentials(Vec::new()));
        assert!(one.is_empty() || one.contains("requirepass \"p2\"\n"), "{one}");
        let two = text(credentials(vec![of(1)]));
        assert!(two.is_empty() || two.contains("user default on ~* &* +@all resetpass >p2 >p1\n"), "{two}");
    }
}
