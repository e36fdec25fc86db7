use proptest::prelude::*;

use super::*;

/// The completion at `|`.
fn at(text: &str) -> Completion {
    let cursor = text.find('|').unwrap();
    complete(&text.replacen('|', "", 1), cursor)
}

fn words(text: &str) -> Vec<&'static str> {
    at(text)
        .wants
        .iter()
        .flat_map(|want| if let Want::Words(words) = want { *words } else { &[] })
        .copied()
        .collect()
}

/// Conditions of the series that a label or value is wanted of.
fn series(text: &str) -> String {
    let completion = at(text);
    let (Want::LabelName { series, .. } | Want::LabelValue { series, .. }) = &completion.wants[0] else {
        panic!("{text}: {completion:?}");
    };
    series.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_operand_is_a_metric_a_function_or_an_aggregation() {
    for text in [
        "|",
        "fo|",
        "a + |",
        "a + b|",
        "(|",
        "rate(|",
        "sum by (a) (|",
        "a == bool |",
        "a + on (b) |",
        "# c\n|",
    ] {
        let completion = at(text);
        assert_eq!(completion.wants[..3], [Want::Metric, Want::Function, Want::Aggregation], "{text}");
    }
    let completion = at("sum(ht|tp)");
    assert_eq!((completion.prefix.as_str(), completion.replaces), ("ht", Place::new(4, 8)));
    assert_eq!(at("rate(|").value_type, Some(ValueType::Matrix));
    assert_eq!(at("clamp(a, |").value_type, Some(ValueType::Scalar));
    assert_eq!(at("rate(a[5m], |").value_type, None);
    assert_eq!(functions_with_prefix("HISTOGRAM_Q").0.len(), 2);
    assert_eq!(functions_with_prefix("s").1.len(), 3);
}

#[test]
fn nothing_is_expected_in_comments_numbers_and_behind_mistakes() {
    for text in ["# a|", "a # b|", "12|", "a + 3|", "$ |", "'x|", "a ! |"] {
        assert_eq!(at(text).wants, [], "{text}");
    }
}

#[test]
fn labels_are_those_of_the_series() {
    for (text, found) in [
        ("a{|", "__name__=\"a\""),
        ("a{b='c', d|", "__name__=\"a\" b=\"c\""),
        ("{'x.y', |", "__name__=\"x.y\""),
        ("sum by (|) (rate(a{b!='c'}[5m]))", "__name__=\"a\" b!=\"c\""),
        ("sum by (x, y|) (a)", "__name__=\"a\""),
        ("sum(a:b) without (|", "__name__=\"a:b\""),
        ("a{b='c'} + on (|) d", "__name__=\"a\" b=\"c\""),
        ("a + on (x) group_left (|", "__name__=\"a\""),
        ("label_replace(a{b='c'}, \"|\"", "__name__=\"a\" b=\"c\""),
        ("a{b=~'c.*', d=\"|\"}", "__name__=\"a\" b=~\"c.*\""),
        ("a{b='c', d=~|", "__name__=\"a\" b=\"c\""),
    ] {
        assert_eq!(series(text), found, "{text}");
    }
    let completion = at("a{b=\"c|d\", e='f'}");
    assert_eq!((completion.prefix.as_str(), completion.replaces), ("c", Place::new(5, 7)));
    assert!(matches!(&completion.wants[0], Want::LabelValue { label, in_quotes: true, .. } if label == "b"));
    assert!(
        matches!(&at("a{\"b c\"=|").wants[0], Want::LabelValue { label, in_quotes: false, .. } if label == "b c")
    );
    assert!(matches!(&at("a{\"|").wants[0], Want::LabelName { in_quotes: true, .. }));
}

#[test]
fn keywords_follow_what_they_belong_to() {
    assert_eq!(words("a{b|"), [] as [&str; 0]);
    assert_eq!(words("a{b |"), MATCH_OPS);
    assert_eq!(words("a{b='c'|"), AFTER_MATCHER);
    assert_eq!(words("a |"), AFTER_OPERAND);
    assert_eq!(words("a[5m] |"), AFTER_OPERAND);
    assert_eq!(words("sum |"), GROUPING);
    assert!(words("sum(a) |").starts_with(GROUPING));
    assert_eq!(words("sum by (x) (a) |"), [GROUPING, AFTER_OPERAND].concat());
    assert_eq!(words("a > |"), COMPARED);
    assert_eq!(words("a and |"), MATCHING_SETS);
    assert_eq!(words("a + on (b) |"), AFTER_ON);
    assert_eq!(words("a @ |"), AT);
}

#[test]
fn durations_stand_in_brackets_and_after_offset() {
    for text in ["a[|", "a[5|", "a[5m:|", "a offset |", "a offset 5|", "a[5m + |", "a[(|"] {
        assert_eq!(at(text).wants[0], Want::Duration, "{text}");
    }
    assert_eq!(words("a[5m |"), [":", "]"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_text_and_cursor_will_do(text in "[a-c{}()\\[\\]\"'`=~!,:#@+5m é\n]{0,30}|.{0,30}", cursor in 0..40usize) {
        let completion = complete(&text, cursor);
        let replaced = text.get(completion.replaces.start..completion.replaces.end);
        prop_assert!(replaced.is_some_and(|replaced| replaced.starts_with(&completion.prefix)));
    }
}
