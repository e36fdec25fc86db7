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
