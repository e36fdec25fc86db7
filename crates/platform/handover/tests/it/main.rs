//! The store over real sockets, with clients that crash and misbehave.
#![allow(clippy::unwrap_used)] // what is set up for a test may fail it

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use handover::{CLIENTS_MAX, Client, Error, FDS_MAX, Store};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

fn store() -> (tempfile::TempDir, PathBuf, Store) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fds");
    let store = Store::start(&path).unwrap();
    (dir, path, store)
}

fn raw(path: &std::path::Path) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

#[test]
fn a_socket_comes_back_under_its_name_and_stays_in_the_store() {
    let (_dir, path, store) = store();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    Client::connect(&path).unwrap().put("public", listener.as_fd()).unwrap();
    drop(listener);

    // Nobody accepts: the kernel queues.
    let mut waiting = TcpStream::connect(address).unwrap();
    waiting.write_all(b"hello").unwrap();

    for _ in 0..2 {
        let mut all = Client::connect(&path).unwrap().take_all().unwrap();
        assert_eq!(all.len(), 1);
        let (name, fd) = all.pop().unwrap();
        assert_eq!(name, "public");
        assert_eq!(TcpListener::from(fd).local_addr().unwrap(), address);
    }
    let (_, fd) = Client::connect(&path).unwrap().take_all().unwrap().pop().unwrap();
    let (mut accepted, _) = TcpListener::from(fd).accept().unwrap();
    let mut got = [0; 5];
    accepted.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"hello");
    assert_eq!(store.names(), ["public"]);
}

#[test]
fn a_name_used_again_replaces_and_a_removed_one_is_closed() {
    let (_dir, path, store) = store();
    let client = Client::connect(&path).unwrap();
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = TcpListener::bind("127.0.0.1:0").unwrap();
    client.put("one", first.as_fd()).unwrap();
    client.put("one", second.as_fd()).unwrap();
    let (first_at, second_at) = (first.local_addr().unwrap(), second.local_addr().unwrap());
    drop((first, second));
    assert!(TcpStream::connect(first_at).is_err(), "the replaced socket is closed");
    assert!(TcpStream::connect(second_at).is_ok());
    client.remove("one").unwrap();
    client.remove("never there").unwrap();
    assert!(TcpStream::connect(second_at).is_err());
    assert!(store.names().is_empty());
}

#[test]
fn the_number_of_descriptors_is_bounded() {
    let (_dir, path, store) = store();
    let client = Client::connect(&path).unwrap();
    let fd = TcpListener::bind("127.0.0.1:0").unwrap();
    for at in 0..FDS_MAX {
        client.put(&format!("n{at:03}"), fd.as_fd()).unwrap();
    }
    assert!(matches!(client.put("more", fd.as_fd()), Err(Error::Full)));
    client.put("n000", fd.as_fd()).unwrap(); // replacing needs no room
    assert_eq!(client.take_all().unwrap().len(), FDS_MAX);
    assert_eq!(store.names().len(), FDS_MAX);
}

#[test]
fn names_are_checked_on_both_sides() {
    let (_dir, path, store) = store();
    let client = Client::connect(&path).unwrap();
    let fd = TcpListener::bind("127.0.0.1:0").unwrap();
    for bad in ["", "a\nb", &"x".repeat(129)] {
        assert!(matches!(client.put(bad, fd.as_fd()), Err(Error::Name(_))), "{bad:?}");
    }
    let socket = raw(&path);
    rustix::net::send(&socket, b"1Ra\nb", SendFlags::NOSIGNAL).unwrap();
    let mut answer = [0; 64];
    let (len, _) = rustix::net::recv(&socket, &mut answer[..], rustix::net::RecvFlags::empty()).unwrap();
    assert_eq!(&answer[..len], b"1Enot a name");
    client.put("web->checkout", fd.as_fd()).unwrap();
    assert_eq!(store.names(), ["web->checkout"]);
}

#[test]
fn garbage_costs_its_sender_the_connection_and_nobody_else() {
    let (_dir, path, _store) = store();
    let client = Client::connect(&path).unwrap();
    for garbage in [&b"\xff"[..], b"1", b"2T", b"1Q", b"1R\xff\xfe", &[b'1'; 5_000]] {
        let socket = raw(&path);
        rustix::net::send(&socket, garbage, SendFlags::NOSIGNAL).unwrap();
        let mut answer = [0; 512];
        let (len, _) = rustix::net::recv(&socket, &mut answer[..], rustix::net::RecvFlags::empty()).unwrap();
        assert!(answer[..len].starts_with(b"1E"), "{:?}", &answer[..len]);
    }
    assert!(client.take_all().unwrap().is_empty());
}

#[test]
fn one_client_too_many_is_closed() {
    let (_dir, path, _store) = store();
    let clients: Vec<_> = (0..CLIENTS_MAX).map(|_| Client::connect(&path).unwrap()).collect();
    for client in &clients {
        client.take_all().unwrap();
    }
    let refused = Client::connect(&path).and_then(|client| client.take_all());
    assert!(matches!(refused, Err(Error::Broken(_))), "{refused:?}");
    drop(clients);
    // Room again as soon as the store has seen the others go.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while Client::connect(&path).and_then(|client| client.take_all()).is_err() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn a_dead_store_is_replaced_and_a_live_one_is_not() {
    let (_dir, path, store) = store();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(Store::start(&path), Err(Error::Socket { .. })));
    drop(store);
    assert!(!path.exists());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap()); // a stale socket file
    let again = Store::start(&path).unwrap();
    assert!(Client::connect(&path).unwrap().take_all().unwrap().is_empty());
    drop(again);
    assert!(matches!(Client::connect(&path), Err(Error::Socket { .. })));
}

/// The process that the crash test kills; without the variable it does nothing.
#[test]
fn child_process() {
    let Ok(path) = std::env::var("HANDOVER_TEST_STORE") else { return };
    let client = Client::connect(path.as_ref()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    client.put("public", listener.as_fd()).unwrap();
    println!("\nbound {}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn a_killed_client_loses_no_queued_connection() {
    let (_dir, path, store) = store();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_process", "--exact", "--nocapture"])
        .env("HANDOVER_TEST_STORE", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let address: std::net::SocketAddr = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(address) = line.strip_prefix("bound ") {
            break address.parse().unwrap();
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();

    let queued = TcpStream::connect(address).unwrap();
    let (_, fd) = Client::connect(&path).unwrap().take_all().unwrap().pop().unwrap();
    let (_, peer) = TcpListener::from(fd).accept().unwrap();
    assert_eq!(peer, queued.local_addr().unwrap());
    assert_eq!(store.names(), ["public"]);
}
