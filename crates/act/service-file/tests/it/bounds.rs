//! Bad, huge, deep and cyclic input: refused fast, with a clear error, in bounded memory.

use std::fmt::Write;

use proptest::prelude::*;
use service_file::{DEPTH_MAX, Diagnostics, FILE_BYTES_MAX, NODES_MAX};

#[track_caller]
fn refused(text: &str, message: &str) -> Diagnostics {
    let (parsed, took) = crate::processor_time(|| service_file::parse("a/stead.yaml", text));
    assert!(took.as_secs() < 3, "took {took:?}");
    let found = parsed.problems.items.iter().any(|problem| problem.message.contains(message));
    assert!(found, "{:?}", parsed.problems);
    parsed.problems
}

#[test]
fn a_file_of_64_mib_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stead.yaml");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(64 << 20).unwrap();
    let problems = service_file::load(folder.path()).unwrap_err();
    assert!(problems.to_string().contains("is too large: 67108864 bytes"), "{problems}");
    refused(&"a: b\n".repeat((64 << 20) / 5), "is too large");
}

#[test]
fn a_file_at_the_size_limit_is_read_and_one_byte_more_is_not() {
    let mut text = "name: a\n#".to_owned();
    text.push_str(&"x".repeat(FILE_BYTES_MAX - text.len()));
    assert!(service_file::parse("a/stead.yaml", &text).problems.is_empty());
    text.push('x');
    refused(&text, "is too large");
}

#[test]
fn ten_thousand_levels_are_refused() {
    let deep = format!("nested deeper than {DEPTH_MAX} levels");
    refused(&"[".repeat(10_000), &deep);
    refused(&"{a: ".repeat(10_000), &deep);
    refused(&"- ".repeat(10_000), &deep);
    let mut steps = String::new();
    for depth in 0..1_000 {
        writeln!(steps, "{}a:", " ".repeat(depth)).unwrap();
    }
    refused(&steps, &deep);
    refused(&format!("{}a{}", "[".repeat(10_000), "]".repeat(10_000)), &deep);
}

#[test]
fn aliases_of_aliases_are_counted_with_what_they_bring() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..30 {
        let before = format!("*a{},", level - 1).repeat(9);
        writeln!(bomb, "a{level}: &a{level} [{before}]").unwrap();
    }
    let problems = refused(&bomb, &format!("more than {NODES_MAX} values"));
    assert_eq!(problems.items.iter().filter(|problem| problem.message.contains("values")).count(), 1);
}

#[test]
fn aliases_of_deep_things_count_their_depth() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    let problems = service_file::parse("a/stead.yaml", &text).problems;
    assert!(problems.to_string().contains("nested deeper"), "{problems}");
}

#[test]
fn a_file_cannot_contain_itself() {
    refused("name: a\nrun: &r\n  command: x\n  environment: *r\n", "alias `*r` stands inside what it names");
    refused("&a [*a]", "alias `*a` stands inside what it names");
}

#[test]
fn many_mistakes_are_counted_not_kept() {
    let mut text = "name: a\n".to_owned();
    for at in 0..20_000 {
        writeln!(text, "key{at}: 1").unwrap();
    }
    let problems = refused(&text, "unknown key `key0`");
    assert_eq!(problems.items.len(), Diagnostics::ITEMS_MAX);
    assert_eq!(problems.left_out, 20_000 - Diagnostics::ITEMS_MAX);
    assert!(problems.render(false).ends_with("… and 19900 more\n"));
}

#[test]
fn values_documents_and_words_have_their_limits() {
    refused(&format!("name: a\nx: [{}]", "1,".repeat(NODES_MAX)), &format!("more than {NODES_MAX} values"));
    refused(&"---\nname: a\n".repeat(1_100), "more than 1000 documents");
    refused(
        &format!("run: {{command: [{}]}}", "a,".repeat(1_001)),
        "`run.command` has 1001 entries, at most 1000 are possible",
    );
    let keys = |count: usize| (0..count).map(|at| format!("k{at}: 1, ")).collect::<String>();
    refused(&format!("run: {{command: x, environment: {{{}}}}}", keys(1_001)), "has 1001 entries");
    refused(&format!("run: {{command: x, ports: {{{}}}}}", keys(20_000)), "at most 100 are possible");
    refused(&format!("needs: {{{}}}", keys(101)), "at most 100 are possible");
    refused(&format!("environments: {{{}}}", keys(51)), "at most 50 are possible");
}

#[test]
fn wide_overlays_take_no_more_than_their_width() {
    let wide: String = (0..20_000).map(|at| format!("k{at}: 1, ")).collect();
    let text = format!("x: &x {{{wide}}}\nenvironments: {{a: {{x: {{{wide}}}}}}}");
    refused(&text, "more than 50000 values");
    let wide: String = (0..10_000).map(|at| format!("k{at}: 1, ")).collect();
    refused(&format!("x: {{{wide}}}\nenvironments: {{a: {{x: {{{wide}}}}}}}"), "unknown key `x`");
}

#[test]
fn bytes_that_are_not_utf8_are_pointed_at() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("stead.yaml"), b"name: a\nowner: \xff\xfe\n").unwrap();
    let problems = service_file::load(folder.path()).unwrap_err();
    let location = problems.items[0].location.as_ref().unwrap();
    assert_eq!((location.line, location.column), (2, 8));
}

#[test]
fn byte_order_mark_and_carriage_returns_change_nothing() {
    let plain = "name: a\nrun:\n  command: |\n    a\n    b\n";
    let canonical = |text: &str| {
        let parsed = service_file::parse("x/stead.yaml", text);
        assert!(parsed.problems.is_empty(), "{}", parsed.problems);
        parsed.services[0].base().canonical()
    };
    assert_eq!(canonical(&format!("\u{feff}{}", plain.replace('\n', "\r\n"))), canonical(plain));
}

#[test]
fn an_empty_file_is_a_service_without_sections() {
    for text in ["", "# nothing\n", "---\n", "{}\n", "---\n{}\n...\n"] {
        let parsed = service_file::parse("web/stead.yaml", text);
        assert!(parsed.problems.is_empty(), "{text:?} {}", parsed.problems);
        assert_eq!(parsed.services[0].base().name.as_str(), "web", "{text:?}");
    }
}

/// How much longer than usual to look.
fn soak() -> u32 {
    std::env::var("STEAD_SOAK").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Texts near to what people write: pieces of good files, cut and joined.
fn near_yaml() -> impl Strategy<Value = String> {
    let pieces: Vec<String> = crate::files(&crate::cases_folder().join("good"), "yaml")
        .iter()
        .chain(&crate::files(&crate::cases_folder().join("wrong"), "yaml"))
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>()
        })
        .chain(
            [
                "&a ", "*a", "<<: *a\n", "[", "]", "{", "}", "---\n", "\t", "\"", "'", ": ", "- ", "\u{0}",
                "ä", "!!x ",
            ]
            .map(str::to_owned),
        )
        .collect();
    prop::collection::vec(prop::sample::select(pieces), 0..25).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400 * soak()))]

    #[test]
    fn nothing_panics_and_places_are_in_range(text in near_yaml()) {
        service_file::fuzz(text.as_bytes());
    }

    #[test]
    fn nor_on_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        service_file::fuzz(&bytes);
    }
}
