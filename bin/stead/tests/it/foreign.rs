//! Somebody else's applications, as they are published, delivered with `stead init` and `stead up`.

use std::{path::Path, process::Command};

use crate::{
    installation::{Stead, finish, up},
    load::{address, get},
};

fn fetched(test: &str, stead: &Stead, name: &str) -> Option<String> {
    for program in ["npm", "node"] {
        if !Path::new("/usr/bin").join(program).exists() {
            println!("SKIP {test}: /usr/bin/{program} is missing (Debian package {program})");
            return None;
        }
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/foreign/fetch.sh");
    let folder = stead.path().join(name);
    let done = Command::new("sh").arg(script).arg(name).arg(&folder).output().unwrap();
    if !done.status.success() {
        println!("SKIP {test}: the npm registry is out of reach: {}", String::from_utf8_lossy(&done.stderr));
        return None;
    }
    Some(folder.display().to_string())
}

#[test]
fn an_application_with_a_procfile_is_delivered_as_it_is() {
    let stead = Stead::new();
    let Some(folder) = fetched("foreign::cors_anywhere", &stead, "cors-anywhere") else { return };
    let init = stead.run(&["init", &folder]);
    assert_eq!(init.code, 0, "{init}");
    assert!(init.err.contains("assumed:") && init.err.contains("Procfile"), "{init}");
    // What it is developed with is ten times what it runs with.
    let mut command = stead.command(&up(&folder));
    command.env("npm_config_omit", "dev");
    let done = finish(command, b"");
    assert_eq!(done.code, 0, "{done}{}", stead.said());
    let answer: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let gateway = address(answer["gateway"].as_str().unwrap());
    let said = get(&gateway, "/").unwrap();
    assert_eq!(said.status, 200, "{said:?}");
    assert!(said.body.contains("CORS"), "{said:?}");
}

const RUST_SERVER: &str = r#"
use std::{io::{Read, Write}, net::TcpListener};

fn main() {
    let port = std::env::var("PORT").unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nfrom rust");
    }
}
"#;

#[test]
fn a_rust_program_is_built_and_delivered_as_it_is() {
    let stead = Stead::new();
    let manifest = "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    let folder = stead.project("small", &[("Cargo.toml", manifest), ("src/main.rs", RUST_SERVER)]);
    stead.ok(&["init", &folder]);
    // Where this machine has its builds elsewhere, the service's is in its folder all the same.
    let mut command = stead.command(&up(&folder));
    command.env("CARGO_TARGET_DIR", stead.path().join("elsewhere"));
    // rustup finds its toolchains from the home of who builds.
    command.env("HOME", std::env::var_os("HOME").unwrap());
    let done = finish(command, b"");
    assert_eq!(done.code, 0, "{done}{}", stead.said());
    let answer: serde_json::Value = serde_json::from_str(&done.out).unwrap();
    let gateway = address(answer["gateway"].as_str().unwrap());
    assert_eq!(get(&gateway, "/").unwrap().body, "from rust");
    // Of all that the build left, the program alone is part of the release.
    let pinned = stead.service("small")["releases"][0]["artifact"].as_str().unwrap().replace("sha256:", "");
    let mut files: Vec<String> = walk(&stead.data().join("trees").join(pinned));
    files.sort();
    assert_eq!(files, ["Cargo.lock", "Cargo.toml", "src/main.rs", "stead.yaml", "target/release/small"]);
}

fn walk(folder: &Path) -> Vec<String> {
    let inner = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(inner(&path)) }
        }
    }
    found
}
