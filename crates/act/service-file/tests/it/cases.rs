//! One input, one expected text: what is wrong with it, or its canonical form.

use crate::{cases_folder, check, files};

#[test]
fn wrong_files_say_what_is_wrong() {
    for path in files(&cases_folder().join("wrong"), "yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let parsed = service_file::parse(format!("shop/{name}"), &text);
        assert!(!parsed.problems.is_empty(), "{name} was accepted");
        check(&path.with_extension("txt"), &parsed.problems.render(false));
        service_file::fuzz(text.as_bytes());
    }
}

#[test]
fn good_files_have_a_canonical_form() {
    for path in files(&cases_folder().join("good"), "yaml") {
        let text = std::fs::read_to_string(&path).unwrap();
        let parsed = service_file::parse("shop/stead.yaml", &text);
        assert!(parsed.problems.is_empty(), "{}\n{}", path.display(), parsed.problems);
        let mut out = serde_json::Map::new();
        for file in &parsed.services {
            let name = file.base().name.to_string();
            for environment in file.environments() {
                let changed = file.in_environment(environment).canonical();
                out.insert(format!("{name} in {environment}"), changed);
            }
            out.insert(name, file.base().canonical());
        }
        check(&path.with_extension("json"), &format!("{:#}\n", serde_json::Value::Object(out)));
        service_file::fuzz(text.as_bytes());
    }
}

#[test]
fn spelling_does_not_change_the_canonical_form() {
    let canonical = |text: &str| {
        let parsed = service_file::parse("shop/stead.yaml", text);
        assert!(parsed.problems.is_empty(), "{}", parsed.problems);
        parsed.services[0].base().canonical()
    };
    let short = "name: a\nrun: {command: node x, restart: always}\nneeds: {db: postgres}\nexpose: /x/\nsecrets: [S]\n";
    let long = "secrets: {S: {as: environment}}\nexpose: [{path: /x}]\nneeds:\n  db: {postgres: {}}\n\
                run:\n  # a comment\n  restart: {policy: always}\n  command: [node, x]\nname: a\r\n";
    assert_eq!(canonical(short).to_string(), canonical(long).to_string());
}

#[test]
fn places_are_found_again() {
    let text = "name: a\nneeds:\n  b: {service: c}\nenvironments:\n  x: {needs: {b: {service: d}}}\n";
    let parsed = service_file::parse("shop/stead.yaml", text);
    let file = &parsed.services[0];
    let environment = base::Environment::parse("x").unwrap();
    let at = |environment, path: &[&str]| {
        let location = file.locate(environment, path);
        (location.line, location.column)
    };
    assert_eq!(at(None, &["needs", "b", "service"]), (3, 16));
    assert_eq!(at(Some(&environment), &["needs", "b", "service"]), (5, 28));
    assert_eq!(at(Some(&environment), &["name"]), (1, 7));
    assert_eq!(at(None, &["needs", "b", "nothing"]), (3, 6));
}
