//! Secrets: set from standard input or a file, listed by name, removed.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    process::ExitCode,
};

use api_types::SetSecret;
use base::{Class, Problem};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use client::Client;
use delivery_api::Rotation;

use crate::{
    args::{Global, Secret},
    failed, json, print_json, render,
    terminal::Unseen,
    up,
};

/// Largest value.
const VALUE_BYTES_MAX: u64 = 64 << 10;
/// Exit status after Ctrl-C, as shells have it.
const INTERRUPTED: i32 = 130;

pub(crate) async fn run(client: &Client, global: &Global, args: Secret) -> Result<ExitCode, Problem> {
    match args {
        Secret::Set { name, from_file } => {
            let bytes = match from_file {
                Some(path) => read_file(&path)?,
                None => ask(&name).await?,
            };
            let version = client.put_secret(&name, &wire(bytes)).await.map_err(failed)?;
            eprintln!("`{name}` is at version {version}; services take it up with their next `stead up`");
        }
        Secret::List => {
            let secrets = client.get_secrets().await.map_err(failed)?;
            if json(global) {
                print_json(&secrets);
            } else if secrets.is_empty() {
                eprintln!("no secrets yet; `stead secret set NAME` reads one from standard input");
            } else {
                let rows = secrets
                    .iter()
                    .map(|secret| {
                        let by =
                            if secret.generated { "generated".to_owned() } else { secret.updated_by.clone() };
                        vec![
                            secret.name.clone(),
                            secret.version.to_string(),
                            secret.updated_at.clone(),
                            by,
                            secret.used_by.join(", "),
                        ]
                    })
                    .collect();
                print!("{}", render::table(&["NAME", "VERSION", "SET", "BY", "USED BY"], rows));
            }
        }
        Secret::Rotate { service, need, yes } => {
            return up::rotate(client, global, Rotation { service, need }, yes).await;
        }
        Secret::Remove { name } => {
            client.delete_secret(&name).await.map_err(failed)?;
            eprintln!("`{name}` is removed; releases that use it keep their version until they go");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Text as it is, other bytes in base64.
fn wire(bytes: Vec<u8>) -> SetSecret {
    match String::from_utf8(bytes) {
        Ok(value) => SetSecret { value, base64: false },
        Err(error) => SetSecret { value: STANDARD.encode(error.as_bytes()), base64: true },
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Problem> {
    let failed = |error: io::Error| invalid(format!("{}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    read(file).map_err(failed)?.ok_or_else(|| too_large(&path.display().to_string()))
}

/// The value from standard input, without the newline that `echo` adds. At a terminal it is not shown.
async fn ask(name: &str) -> Result<Vec<u8>, Problem> {
    let unseen = Unseen::on(io::stdin()).ok();
    if unseen.is_some() {
        eprintln!("value of `{name}` (it does not show), then Enter and Ctrl-D:");
    }
    let reading = tokio::task::spawn_blocking(|| read(io::stdin()));
    let bytes = tokio::select! {
        bytes = reading => bytes.map_err(io::Error::other).flatten(),
        _ = tokio::signal::ctrl_c() => {
            drop(unseen);
            // The reading thread waits for a line that nobody will type.
            std::process::exit(INTERRUPTED);
        }
    };
    drop(unseen);
    let bytes = bytes.map_err(|error| invalid(format!("standard input: {error}")))?;
    let mut bytes = bytes.ok_or_else(|| too_large("standard input"))?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Err(invalid("the value is empty".into()));
    }
    Ok(bytes)
}

/// All bytes, or none when they are more than a secret may have.
fn read(from: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One more for the newline, one more to see that it is too much.
    from.take(VALUE_BYTES_MAX + 2).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= VALUE_BYTES_MAX + 1).then_some(bytes))
}

fn invalid(message: String) -> Problem {
    Problem::new(Class::Invalid, "cli.secret", message)
}

fn too_large(what: &str) -> Problem {
    invalid(format!("{what} holds more than the {} KiB of a secret", VALUE_BYTES_MAX >> 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_ends_soon_after_the_largest_value() {
        let home = std::env::temp_dir().join(base::id::fresh("secret"));
        let largest = usize::try_from(VALUE_BYTES_MAX).unwrap();
        std::fs::write(&home, vec![b'x'; largest]).unwrap();
        assert_eq!(read_file(&home).unwrap().len(), largest);
        std::fs::write(&home, vec![b'x'; largest + 2]).unwrap();
        let problem = read_file(&home).unwrap_err();
        std::fs::remove_file(&home).unwrap();
        assert!(problem.message.ends_with("holds more than the 64 KiB of a secret"), "{problem}");
        // It never ends.
        assert!(read_file(Path::new("/dev/zero")).is_err());
    }

    #[test]
    fn bytes_that_are_no_text_go_as_base64() {
        let sent = wire(vec![0xff, 0x00]);
        assert_eq!((sent.value.as_str(), sent.base64), ("/wA=", true));
        let sent = wire(b"text".to_vec());
        assert_eq!((sent.value.as_str(), sent.base64), ("text", false));
    }
}
