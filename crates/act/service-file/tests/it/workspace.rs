//! Folders of services.

use std::{fs, path::Path};

use base::{Environment, id::NameId};
use service_file::{Options, Workspace, load, load_with};

use crate::{cases_folder, check};

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn names(workspace: &Workspace) -> Vec<&str> {
    workspace.services.iter().map(|file| file.base().name.as_str()).collect()
}

#[test]
fn cases() {
    let folder = cases_folder().join("workspace");
    let mut all: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    for case in all.into_iter().filter(|path| path.is_dir()) {
        let out = match load(&case) {
            Ok(workspace) => format!("order: {}\n", names(&workspace).join(", ")),
            Err(problems) => problems.render(false),
        };
        let shown = format!("{}/", case.display());
        check(
            &case.with_extension("txt"),
            &out.replace(&shown, "").replace(&case.display().to_string(), "."),
        );
    }
}

#[test]
fn a_file_a_folder_and_a_folder_of_folders() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("shop/Web Front/stead.yaml", "needs: {cart: service}\n"),
            ("shop/cart/stead.yaml", "run: {command: x}\n"),
            ("shop/cart/inner/stead.yaml", "name: not-looked-at\n"),
            ("shop/node_modules/x/stead.yaml", "name: not-looked-at\n"),
            ("shop/.git/x/stead.yaml", "name: not-looked-at\n"),
            ("shop/target/x/stead.yaml", "name: not-looked-at\n"),
        ],
    );
    let shop = folder.path().join("shop");
    assert_eq!(names(&load(&shop).unwrap()), ["cart", "web-front"]);
    assert_eq!(names(&load(shop.join("cart")).unwrap()), ["cart"]);
    assert_eq!(names(&load(shop.join("cart/stead.yaml")).unwrap()), ["cart"]);
}

#[test]
fn a_service_that_runs_already_may_be_needed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("stead.yaml", "name: web\nneeds: {payments: service}\n")]);
    assert!(load(folder.path()).is_err());
    let options =
        Options { known_services: [NameId::parse("payments").unwrap()].into(), ..Options::default() };
    assert!(load_with(folder.path(), &options).is_ok());
}

#[test]
fn links_in_a_circle_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("a/stead.yaml", "")]);
    std::os::unix::fs::symlink(folder.path(), folder.path().join("b")).unwrap();
    assert_eq!(names(&load(folder.path()).unwrap()), ["a"]);
}

#[test]
fn folders_deeper_than_the_limit_are_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[("1/2/3/4/5/6/stead.yaml", "name: six"), ("1/2/3/4/5/x/7/stead.yaml", "name: seven")],
    );
    assert_eq!(names(&load(folder.path()).unwrap()), ["six"]);
}

#[test]
fn environments_have_their_own_order() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[
            ("a/stead.yaml", "environments: {test: {needs: {b: service}}}"),
            ("b/stead.yaml", "needs: {a: service}\nenvironments: {test: {needs: {a: null}}}"),
        ],
    );
    let workspace = load(folder.path()).unwrap();
    assert_eq!(names(&workspace), ["a", "b"]);
    let test = workspace.in_environment(&Environment::parse("test").unwrap());
    assert_eq!(test.iter().map(|file| file.base().name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
}

#[test]
fn a_long_chain_and_a_long_cycle_need_no_stack() {
    let file = |count: usize, last: &str| {
        let mut text = String::new();
        for at in 0..count {
            let next = if at + 1 == count { last.to_owned() } else { format!("s{}", at + 1) };
            let needs =
                if next.is_empty() { String::new() } else { format!("needs: {{n: {{service: {next}}}}}\n") };
            text.push_str(&format!("---\nname: s{at}\n{needs}"));
        }
        text
    };
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("stead.yaml", &file(1_000, ""))]);
    assert_eq!(names(&load(folder.path()).unwrap())[0], "s999");
    write(folder.path(), &[("stead.yaml", &file(1_000, "s0"))]);
    let problems = load(folder.path()).unwrap_err();
    assert!(problems.items[0].message.contains("in a cycle: s0 -> s1 ->"), "{problems}");
}

/// The figure is printed; the bound is for a debug build.
#[test]
fn a_thousand_services_load_quickly() {
    let usual = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/shop/cart/stead.yaml"));
    for path in [usual, &cases_folder().join("good/whole.yaml")] {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(path).unwrap();
        for at in 0..1_000 {
            let own = text.replace("name: c", &format!("name: s{at}-c"));
            let own = own.replace("/checkout", &format!("/s{at}"));
            let conf = format!("s{at}/nginx.conf");
            write(folder.path(), &[(&format!("s{at}/stead.yaml"), &own), (&conf, "x")]);
        }
        let payments = NameId::parse("payments").unwrap();
        let options = Options { known_services: [payments].into(), ..Options::default() };
        let (workspace, took) = crate::processor_time(|| load_with(folder.path(), &options).unwrap());
        println!("1,000 services of {} bytes: {took:?}", text.len());
        assert_eq!(workspace.services.len(), 1_000);
        assert!(took.as_secs() < 5, "{took:?}");
    }
}

#[test]
fn texts_read_elsewhere_are_checked_the_same_way() {
    let documents = |web: &str| {
        [("web/stead.yaml", web), ("stead.yaml", "run: {command: x}")]
            .map(|(path, text)| (path.into(), text.to_owned()))
    };
    let options = Options { root_name: Some("Shop".into()), ..Options::default() };
    let workspace = Workspace::from_documents(documents("needs: {a: {service: shop}}"), &options).unwrap();
    assert_eq!(names(&workspace), ["shop", "web"]);
    assert_eq!(workspace.sources().len(), 2);
    let problems = Workspace::from_documents(documents("needs: {a: {service: shp}}"), &options).unwrap_err();
    assert!(problems.to_string().contains("web/stead.yaml:1:22"), "{problems}");
}

#[test]
fn the_example_is_good() {
    let shop = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../examples/shop"));
    let workspace = load(shop).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(workspace.services.len(), 5);
    assert_eq!(names(&workspace).last(), Some(&"web"), "the front comes after all it calls");
}
