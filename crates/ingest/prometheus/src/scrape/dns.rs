//! DNS for `dns_sd_configs`: questions for SRV records over UDP, over TCP when the answer is cut
//! (RFC 1035, RFC 2782). Addresses are asked of the system's resolver.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Time for one server to answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// Servers of `/etc/resolv.conf` that are asked.
const SERVERS_MAX: usize = 3;
const SRV: u16 = 33;

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub(super) target: String,
    pub(super) port: u16,
}

/// Servers of the machine.
pub(super) fn system_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let address = line.trim().strip_prefix("nameserver")?.split_whitespace().next()?;
        Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, 53))
    });
    servers.take(SERVERS_MAX).collect()
}

/// The SRV records of `name`; none when there is no such name.
///
/// # Errors
/// No server answered, in words.
pub(super) async fn srv(name: &str, servers: &[SocketAddr]) -> Result<Vec<Srv>, String> {
    let mut why = "no name server is known".to_owned();
    for server in servers {
        match timeout(ANSWER_TIME_MAX, ask(name, *server)).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(error)) => why = format!("{server}: {error}"),
            Err(_) => why = format!("{server} did not answer in {ANSWER_TIME_MAX:?}"),
        }
    }
    Err(format!("{name}: {why}"))
}

async fn ask(name: &str, server: SocketAddr) -> Result<Vec<Srv>, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(|error| error.to_string())?;
    let question = question(name, id)?;
    let any: IpAddr = if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(said)?;
    socket.connect(server).await.map_err(said)?;
    socket.send(&question).await.map_err(said)?;
    let mut answer = [0; 4096];
    loop {
        let len = socket.recv(&mut answer).await.map_err(said)?;
        match read(&answer[..len], &question) {
            // Of somebody else, or to an older question.
            Err(Unread::NotOurs) => {}
            Err(Unread::Cut) => return over_tcp(&question, server).await,
            Err(Unread::Bad(why)) => return Err(why.to_owned()),
            Ok(found) => return Ok(found),
        }
    }
}

async fn over_tcp(question: &[u8], server: SocketAddr) -> Result<Vec<Srv>, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).await.map_err(said)?;
    let len = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes();
    stream.write_all(&[&len[..], question].concat()).await.map_err(said)?;
    let len = stream.read_u16().await.map_err(said)?;
    let mut answer = vec![0; usize::from(len)];
    stream.read_exact(&mut answer).await.map_err(said)?;
    read(&answer, question).map_err(|_| "the answer over TCP is none".to_owned())
}

fn question(name: &str, id: [u8; 2]) -> Result<Vec<u8>, String> {
    // Recursion desired, one question.
    let mut message = vec![id[0], id[1], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.trim_end_matches('.').split('.') {
        if label.is_empty() || label.len() > 63 || message.len() > 250 {
            return Err("it is no name of DNS".to_owned());
        }
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, SRV as u8, 0, 1]);
    Ok(message)
}

#[derive(Debug, PartialEq, Eq)]
enum Unread {
    NotOurs,
    Cut,
    Bad(&'static str),
}

fn read(answer: &[u8], question: &[u8]) -> Result<Vec<Srv>, Unread> {
    const SHORT: Unread = Unread::Bad("the answer is cut short");
    if answer.len() < 12 || answer[..2] != question[..2] || answer[2] & 0x80 == 0 {
        return Err(Unread::NotOurs);
    }
    if answer[2] & 2 != 0 {
        return Err(Unread::Cut);
    }
    match answer[3] & 15 {
        0 => {}
        3 => return Ok(Vec::new()),
        _ => return Err(Unread::Bad("the server refused or failed")),
    }
    let number =
        |at: usize| answer.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]])).ok_or(SHORT);
    let (questions, answers) = (number(4)?, number(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name(answer, at).ok_or(SHORT)?.1 + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        at = name(answer, at).ok_or(SHORT)?.1;
        let (kind, len) = (number(at)?, usize::from(number(at + 8)?));
        at += 10;
        if kind == SRV && len > 6 {
            let target = name(answer, at + 6).ok_or(SHORT)?.0;
            found.push(Srv { target, port: number(at + 4)? });
        }
        at += len;
    }
    Ok(found)
}

/// A name at `at` with its pointers followed, and where it ends.
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut end = None;
    // Each step reads on or jumps; this many suffice for the longest name.
    for _ in 0..256 {
        let len = usize::from(*message.get(at)?);
        if len & 0xc0 == 0xc0 {
            end.get_or_insert(at + 2);
            at = (len & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
        } else if len == 0 {
            return Some((text, end.unwrap_or(at + 1)));
        } else {
            let label = message.get(at + 1..at + 1 + len)?;
            text.push_str(&String::from_utf8_lossy(label));
            text.push('.');
            at += 1 + len;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer with one record whose owner is a pointer.
    fn answer(question: &[u8], flags: [u8; 2]) -> Vec<u8> {
        let mut message = question.to_vec();
        message[2..4].copy_from_slice(&flags);
        message[7] = 1;
        message.extend_from_slice(&[
            0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 9, 0, 11, 0, 0, 0, 0, 0x1f, 0x90, 1, b'h', 1, b'x', 0,
        ]);
        message
    }

    #[tokio::test]
    async fn records_are_asked_of_a_server() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let place = server.local_addr().unwrap();
        let serve = async {
            let mut buffer = [0; 512];
            let (len, from) = server.recv_from(&mut buffer).await.unwrap();
            server.send_to(b"noise", from).await.unwrap();
            server.send_to(&answer(&buffer[..len], [0x81, 0x80]), from).await.unwrap();
        };
        let (found, ()) = tokio::join!(srv("_a._tcp.x.", std::slice::from_ref(&place)), serve);
        assert_eq!(found, Ok(vec![Srv { target: "h.x.".to_owned(), port: 8080 }]));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let question = question("a.b", [1, 2]).unwrap();
        assert_eq!(read(&answer(&question, [0x83, 0x80]), &question), Err(Unread::Cut));
        assert_eq!(read(&answer(&question, [0x81, 0x83]), &question), Ok(Vec::new()));
        assert!(matches!(read(&answer(&question, [0x81, 0x82]), &question), Err(Unread::Bad(_))));
        let good = answer(&question, [0x81, 0x80]);
        for cut in 0..good.len() {
            let _ = read(&good[..cut], &question);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] = 0xff;
            let _ = read(&bad, &question);
        }
        for bad in ["", "a..b", &"x".repeat(64), &"a.".repeat(200)] {
            assert!(super::question(bad, [0, 0]).is_err(), "{bad}");
        }
    }
}
