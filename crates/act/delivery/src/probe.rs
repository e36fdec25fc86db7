//! Health checks of replicas: HTTP, TCP, a command, and the greeting of a database.
//!
//! A check is one short exchange with a deadline. Counting failures and acting on them is the
//! caller's; nothing here keeps state between two checks.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base::id::ReplicaId;
use runtime_api::{Driver, ExecRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// GET `path`; statuses from the first to the second are good.
    Http {
        address: SocketAddr,
        path: String,
        statuses: (u16, u16),
    },
    Tcp {
        address: SocketAddr,
    },
    /// Exit status 0 is good.
    Exec {
        command: Vec<String>,
    },
    /// PostgreSQL answers a start-up message with a request for authentication once it accepts work.
    Postgres {
        address: SocketAddr,
    },
    /// Redis answers PING, if only with a request for authentication.
    Redis {
        address: SocketAddr,
    },
}

/// Why a check failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// In Stead's own words; it may go on record for good.
    pub why: String,
    /// What a command printed. It may hold anything, so it is shown while it is fresh and kept nowhere.
    pub said: Option<String>,
}

impl From<String> for Failed {
    fn from(why: String) -> Self {
        Self { why, said: None }
    }
}

/// At most this much of an answer is read.
const ANSWER_BYTES_MAX: usize = 4 << 10;
/// At most this much of what a command printed is shown.
const SAID_CHARS_MAX: usize = 200;

/// Asks once.
///
/// # Errors
/// What went wrong, in words that fit behind `readiness check failed: `.
pub async fn check(
    probe: &Probe,
    replica: &ReplicaId,
    driver: &Arc<dyn Driver>,
    limit: Duration,
) -> Result<(), Failed> {
    let asked = async {
        match probe {
            Probe::Http { address, path, statuses } => {
                http(*address, path, *statuses).await.map_err(Failed::from)
            }
            Probe::Tcp { address } => connect(*address).await.map(drop).map_err(Failed::from),
            Probe::Exec { command } => exec(command, replica, driver, limit).await,
            Probe::Postgres { address } => postgres(*address).await.map_err(Failed::from),
            Probe::Redis { address } => redis(*address).await.map_err(Failed::from),
        }
    };
    match timeout(limit, asked).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {}", base::units::Span::from_millis(millis(limit))).into()),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => format!("nothing listens on {address}"),
        _ => format!("cannot connect to {address}: {error}"),
    })
}

async fn http(address: SocketAddr, path: &str, good: (u16, u16)) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: stead-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.map_err(|error| format!("GET {path}: {error}"))?;
    let status = read_status(&mut stream).await.map_err(|why| format!("GET {path}: {why}"))?;
    if (good.0..=good.1).contains(&status) { Ok(()) } else { Err(format!("GET {path} answered {status}")) }
}

/// Reads the status of the first answer that is not informational.
async fn read_status(stream: &mut TcpStream) -> Result<u16, String> {
    let mut answer = Vec::with_capacity(512);
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        match response.parse(&answer) {
            Ok(_) => {
                if let Some(code) = response.code.filter(|code| *code >= 200) {
                    return Ok(code);
                }
            }
            Err(httparse::Error::TooManyHeaders) => {
                return response.code.ok_or_else(|| "answer is not HTTP".to_owned());
            }
            Err(_) => return Err("answer is not HTTP".into()),
        }
        if answer.len() >= ANSWER_BYTES_MAX {
            return Err("answer's headers are too long".into());
        }
        let mut part = [0; 512];
        match stream.read(&mut part).await {
            Ok(0) => return Err("connection closed without an answer".into()),
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) => return Err(error.to_string()),
        }
    }
}

async fn exec(
    command: &[String],
    replica: &ReplicaId,
    driver: &Arc<dyn Driver>,
    limit: Duration,
) -> Result<(), Failed> {
    let request = ExecRequest { replica: replica.clone(), command: command.to_vec(), deadline: limit };
    let outcome = driver.exec(request).await.map_err(|error| error.to_string())?;
    match (outcome.code, outcome.signal) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => {
            let said = outcome.stderr.lines().chain(outcome.stdout.lines()).next().unwrap_or_default();
            let said: String = said.chars().take(SAID_CHARS_MAX).collect();
            Err(Failed { why: format!("exited with {code}"), said: (!said.is_empty()).then_some(said) })
        }
        (None, signal) => Err(format!("killed by signal {}", signal.unwrap_or_default()).into()),
    }
}

/// PostgreSQL frontend/backend protocol 3.0: `R` asks for authentication, `E` refuses.
async fn postgres(address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(address).await?;
    let body = b"\0\x03\0\0user\0stead_probe\0database\0postgres\0\0";
    let length = u32::try_from(body.len() + 4).unwrap_or_default().to_be_bytes();
    stream.write_all(&[&length[..], &body[..]].concat()).await.map_err(|error| error.to_string())?;
    let mut answer = [0u8; 256];
    let count = stream.read(&mut answer).await.map_err(|error| error.to_string())?;
    match answer.first().filter(|_| count > 0) {
        Some(b'R') => Ok(()),
        Some(b'E') => {
            let text = String::from_utf8_lossy(&answer[5.min(count)..count]);
            let message = text.split('\0').find_map(|field| field.strip_prefix('M'));
            Err(message.unwrap_or("refused").to_owned())
        }
        _ => Err("answer is not PostgreSQL's".into()),
    }
}

async fn redis(address: SocketAddr) -> Result<(), String> {
    let mut stream = connect(address).await?;
    stream.write_all(b"PING\r\n").await.map_err(|error| error.to_string())?;
    let mut answer = [0u8; 256];
    let count = stream.read(&mut answer).await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer[..count]);
    if text.starts_with("+PONG") || text.starts_with("-NOAUTH") {
        Ok(())
    } else {
        Err(text.trim().trim_start_matches('-').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use runtime_api::ExecOutcome;

    use super::*;
    use crate::doubles::Machine;

    #[tokio::test]
    async fn what_a_command_prints_is_not_the_reason() {
        let outcome =
            ExecOutcome { code: Some(3), signal: None, stdout: "hunter2\n".into(), stderr: String::new() };
        let driver: Arc<dyn Driver> = Arc::new(Machine { exec: Some(outcome), ..Machine::default() });
        let probe = Probe::Exec { command: vec!["check".into()] };
        let failed = check(&probe, &ReplicaId::new(), &driver, Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(failed, Failed { why: "exited with 3".into(), said: Some("hunter2".into()) });
    }
}
