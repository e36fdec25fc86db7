//! Secrets: set from standard input or a file, listed by name, removed.

use std::io::{IsTerminal, Read};

use api_types::SetSecret;
use base::{Class, Problem};
use client::Client;

use crate::{
    args::{Global, Secret},
    failed, json, print_json, render,
};

/// Largest value.
const VALUE_BYTES_MAX: u64 = 64 << 10;

pub(crate) async fn run(client: &Client, global: &Global, args: Secret) -> Result<(), Problem> {
    match args {
        Secret::Set { name, from_file } => {
            let value = match from_file {
                Some(path) => std::fs::read_to_string(&path).map_err(|error| {
                    Problem::new(Class::Invalid, "cli.secret", format!("{}: {error}", path.display()))
                })?,
                None => ask(&name)?,
            };
            let version = client.put_secret(&name, &SetSecret { value }).await.map_err(failed)?;
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
        Secret::Remove { name } => {
            client.delete_secret(&name).await.map_err(failed)?;
            eprintln!("`{name}` is removed; releases that use it keep their version until they go");
        }
    }
    Ok(())
}

/// The value from standard input, without the newline that `echo` adds.
fn ask(name: &str) -> Result<String, Problem> {
    if std::io::stdin().is_terminal() {
        eprintln!("value of `{name}`, then Ctrl-D (it shows as you type; `--from-file` avoids that):");
    }
    let mut value = String::new();
    std::io::stdin()
        .take(VALUE_BYTES_MAX + 1)
        .read_to_string(&mut value)
        .map_err(|error| Problem::new(Class::Invalid, "cli.secret", format!("standard input: {error}")))?;
    if let Some(trimmed) = value.strip_suffix('\n') {
        value.truncate(trimmed.len());
    }
    if value.is_empty() {
        return Err(Problem::new(Class::Invalid, "cli.secret", "the value is empty"));
    }
    Ok(value)
}
