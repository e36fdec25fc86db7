//! Relabelling: rules that change the labels of a target or a series, or drop it.
//!
//! Source: `relabel_config` of prometheus.io/docs/prometheus/latest/configuration/configuration;
//! the hash of `hashmod` is the last eight bytes of MD5, as upstream has it, so that shards agree.

use std::collections::BTreeMap;

use md5::{Digest as _, Md5};
use regex::{Regex, RegexBuilder};

/// Labels while rules change them, in order of name. An empty value is no label.
pub type LabelMap = BTreeMap<String, String>;

/// Bytes a compiled expression may take.
pub const REGEX_SIZE_BYTES_MAX: usize = 4 << 20;

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    /// Names as in a configuration; upper and lower case mean the same.
    pub const NAMES: [(&'static str, Self); 11] = [
        ("replace", Self::Replace),
        ("keep", Self::Keep),
        ("drop", Self::Drop),
        ("keepequal", Self::KeepEqual),
        ("dropequal", Self::DropEqual),
        ("hashmod", Self::HashMod),
        ("labelmap", Self::LabelMap),
        ("labeldrop", Self::LabelDrop),
        ("labelkeep", Self::LabelKeep),
        ("lowercase", Self::Lowercase),
        ("uppercase", Self::Uppercase),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES.iter().find(|(_, action)| *action == self).map_or("", |(name, _)| name)
    }
}

/// A rule as it is written; what is not given has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    pub source_labels: Vec<String>,
    pub separator: Option<String>,
    pub regex: Option<String>,
    pub modulus: Option<u64>,
    pub target_label: Option<String>,
    pub replacement: Option<String>,
    pub action: Option<Action>,
}

/// A rule that is checked.
#[derive(Debug, Clone)]
pub struct Rule {
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: Action,
}

/// Rules are the same when they are written the same.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        let key = |rule: &Self| {
            (rule.action, rule.modulus, rule.regex.as_str().to_owned(), rule.source_labels.clone())
        };
        key(self) == key(other)
            && self.separator == other.separator
            && self.target_label == other.target_label
            && self.replacement == other.replacement
    }
}

impl Rule {
    /// # Errors
    /// Why this is no rule: an expression that is none, a part that is missing or does not belong.
    pub fn new(spec: Spec) -> Result<Self, String> {
        let action = spec.action.unwrap_or(Action::Replace);
        let name = action.as_str();
        check_parts(&spec, action)?;
        let target_label = spec.target_label.unwrap_or_default();
        let needs_target = !matches!(
            action,
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep
        );
        if needs_target && target_label.is_empty() {
            return Err(format!("the action `{name}` needs a `target_label`"));
        }
        let modulus = spec.modulus.unwrap_or(0);
        if action == Action::HashMod && modulus == 0 {
            return Err("the action `hashmod` needs a `modulus` that is not 0".to_owned());
        }
        let pattern = spec.regex.as_deref().unwrap_or("(.*)");
        let regex = RegexBuilder::new(&format!("^(?s:{})$", metrics_api::from_re2(pattern)))
            .size_limit(REGEX_SIZE_BYTES_MAX)
            .build()
            .map_err(|error| {
                let text = error.to_string();
                let last = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
                format!("`{pattern}` is not a regular expression: {last}")
            })?;
        Ok(Self {
            source_labels: spec.source_labels,
            separator: spec.separator.unwrap_or_else(|| ";".to_owned()),
            regex,
            modulus,
            target_label,
            replacement: spec.replacement.unwrap_or_else(|| "$1".to_owned()),
            action,
        })
    }

    /// Changes `labels`. False when the rule drops what they belong to.
    fn apply(&self, labels: &mut LabelMap) -> bool {
        let matches_name = |name: &str| self.regex.is_match(name);
        match self.action {
            Action::LabelDrop => {
                labels.retain(|name, _| !matches_name(name));
                return true;
            }
            Action::LabelKeep => {
                labels.retain(|name, _| matches_name(name));
                return true;
            }
            Action::LabelMap => {
                self.map_names(labels);
                return true;
            }
            _ => {}
        }
        let value = self.source_value(labels);
        let target = || labels.get(&self.target_label).map_or("", String::as_str);
        match self.action {
            Action::Drop => return !self.regex.is_match(&value),
            Action::Keep => return self.regex.is_match(&value),
            Action::DropEqual => return target() != value,
            Action::KeepEqual => return target() == value,
            Action::Replace => self.replace(&value, labels),
            Action::Lowercase => set(labels, &self.target_label, value.to_lowercase()),
            Action::Uppercase => set(labels, &self.target_label, value.to_uppercase()),
            Action::HashMod => {
                let digest: [u8; 16] = Md5::digest(value.as_bytes()).into();
                let [_, low] = [0, 8].map(|at| {
                    digest[at..at + 8].iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte))
                });
                set(labels, &self.target_label, (low % self.modulus.max(1)).to_string());
            }
            Action::LabelMap | Action::LabelDrop | Action::LabelKeep => {}
        }
        true
    }

    fn source_value(&self, labels: &LabelMap) -> String {
        let mut value = String::new();
        for (at, name) in self.source_labels.iter().enumerate() {
            if at > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.get(name).map_or("", String::as_str));
        }
        value
    }

    fn replace(&self, value: &str, labels: &mut LabelMap) {
        let Some(captures) = self.regex.captures(value) else { return };
        let (mut target, mut replacement) = (String::new(), String::new());
        captures.expand(&self.target_label, &mut target);
        captures.expand(&self.replacement, &mut replacement);
        if !target.is_empty() {
            set(labels, &target, replacement);
        }
    }

    fn map_names(&self, labels: &mut LabelMap) {
        let mapped: Vec<(String, String)> = labels
            .iter()
            .filter_map(|(name, value)| {
                let captures = self.regex.captures(name)?;
                let mut to = String::new();
                captures.expand(&self.replacement, &mut to);
                Some((to, value.clone()))
            })
            .collect();
        for (name, value) in mapped {
            if !name.is_empty() {
                set(labels, &name, value);
            }
        }
    }
}

/// Which parts an action does not look at; to give them is a mistake.
fn check_parts(spec: &Spec, action: Action) -> Result<(), String> {
    let given = [
        ("source_labels", !spec.source_labels.is_empty()),
        ("separator", spec.separator.is_some()),
        ("regex", spec.regex.is_some()),
        ("modulus", spec.modulus.is_some()),
        ("target_label", spec.target_label.is_some()),
        ("replacement", spec.replacement.is_some()),
    ];
    let allowed: &[&str] = match action {
        Action::KeepEqual | Action::DropEqual => &["source_labels", "target_label"],
        Action::LabelDrop | Action::LabelKeep => &["regex"],
        _ => return Ok(()),
    };
    match given.iter().find(|(name, given)| *given && !allowed.contains(name)) {
        Some((name, _)) => Err(format!("the action `{}` takes no `{name}`", action.as_str())),
        None => Ok(()),
    }
}

fn set(labels: &mut LabelMap, name: &str, value: String) {
    if value.is_empty() {
        labels.remove(name);
    } else {
        labels.insert(name.to_owned(), value);
    }
}

/// Runs `rules` over `labels` in order. False when one of them drops what they belong to; the rules
/// after it are not run then.
pub fn apply(rules: &[Rule], labels: &mut LabelMap) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a=1 b=2` through a rule; none when it is dropped.
    fn run(labels: &str, spec: Spec) -> Option<String> {
        let pairs = labels.split_whitespace().filter_map(|pair| pair.split_once('='));
        let mut labels: LabelMap = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let rule = Rule::new(spec).unwrap();
        apply(&[rule], &mut labels).then(|| {
            labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        })
    }

    fn spec(action: Action, source: &[&str], regex: &str, target: &str, replacement: &str) -> Spec {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Spec {
            action: Some(action),
            source_labels: source.iter().map(|name| (*name).to_owned()).collect(),
            regex: given(regex),
            target_label: given(target),
            replacement: given(replacement),
            ..Spec::default()
        }
    }

    #[test]
    fn every_action_does_what_upstream_does() {
        use Action::*;
        let two = ["a", "b"];
        for (labels, spec, want) in [
            ("a=foo b=bar", spec(Replace, &["a"], "f(.*)", "d", "ch${1}-$1"), Some("a=foo b=bar d=choo-oo")),
            ("a=foo b=bar", spec(Replace, &two, "(.*);(.*)", "$1", "$2"), Some("a=foo b=bar foo=bar")),
            ("a=foo", spec(Replace, &["a"], "oo", "d", "x"), Some("a=foo")),
            ("a=foo d=x", spec(Replace, &["a"], ".*", "d", "$9"), Some("a=foo")),
            ("a=foo", spec(Replace, &["a"], "(f).*", "d", "$1x"), Some("a=foo")),
            ("a=foo", spec(Replace, &[], "", "d", "x"), Some("a=foo d=x")),
            ("a=foo", spec(Keep, &["a"], "foo", "", ""), Some("a=foo")),
            ("a=foo", spec(Keep, &["a"], "fo", "", ""), None),
            ("a=foo", spec(Drop, &["a"], "f.*", "", ""), None),
            ("a=x b=x", spec(KeepEqual, &["a"], "", "b", ""), Some("a=x b=x")),
            ("a=x b=y", spec(KeepEqual, &["a"], "", "b", ""), None),
            ("a=x b=x", spec(DropEqual, &["a"], "", "b", ""), None),
            ("a=x b=y", spec(DropEqual, &["a"], "", "b", ""), Some("a=x b=y")),
            (
                "meta_x=1 meta_y=2",
                spec(LabelMap, &[], "meta_(.+)", "", ""),
                Some("meta_x=1 meta_y=2 x=1 y=2"),
            ),
            ("a=1 b=2", spec(LabelDrop, &[], "a", "", ""), Some("b=2")),
            ("a=1 b=2", spec(LabelKeep, &[], "a", "", ""), Some("a=1")),
            ("a=FoO", spec(Lowercase, &["a"], "", "b", ""), Some("a=FoO b=foo")),
            ("a=FoO", spec(Uppercase, &["a"], "", "b", ""), Some("a=FoO b=FOO")),
        ] {
            assert_eq!(run(labels, spec.clone()).as_deref(), want, "{labels} {spec:?}");
        }
    }

    #[test]
    fn hashmod_agrees_with_upstream() {
        let hash = |modulus| Spec { modulus: Some(modulus), ..spec(Action::HashMod, &["c"], "", "d", "") };
        assert_eq!(run("c=baz", hash(1000)).as_deref(), Some("c=baz d=976"));
        assert_eq!(run("a=foo", hash(1)).as_deref(), Some("a=foo d=0"));
    }

    #[test]
    fn rules_that_are_none_are_refused() {
        for bad in [
            spec(Action::Replace, &["a"], "(", "b", ""),
            spec(Action::Replace, &["a"], "", "", ""),
            spec(Action::HashMod, &["a"], "", "b", ""),
            spec(Action::KeepEqual, &["a"], "x", "b", ""),
            spec(Action::LabelDrop, &["a"], "x", "", ""),
            spec(Action::Lowercase, &["a"], "", "", ""),
            spec(Action::Keep, &["a"], &"(a{1000}){1000}".repeat(2), "", ""),
        ] {
            assert!(Rule::new(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
