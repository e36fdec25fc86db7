//! The planner: from what is wanted and what is, to a plan. Pure: values in, values out.

mod diff;
mod rotation;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base::id::ReleaseId;
use delivery_api::{Action, FieldChange, Step, Summary};
use serde_json::Value;
use service_file::model::{NeedKind, Service};

use crate::{
    need::Need,
    record::{ReleaseRecord, ServiceRecord, Work},
};

pub use diff::changes;
pub use rotation::rotation;

/// One service as its file wants it.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub service: Service,
    pub artifact: Option<String>,
    /// Latest versions of the secrets it names.
    pub secrets: BTreeMap<String, u64>,
    /// Its platform services by need, versions pinned.
    pub needs: BTreeMap<String, Need>,
}

/// One service as the records have it.
#[derive(Debug, Clone)]
pub struct Actual {
    pub record: ServiceRecord,
    pub release: Option<Arc<ReleaseRecord>>,
}

/// What should go.
#[derive(Debug, Clone, Default)]
pub struct Going {
    pub services: BTreeSet<String>,
    pub delete_data: bool,
}

/// The steps, in an order that can be carried out, and what each takes.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub steps: Vec<Step>,
    pub work: Vec<Work>,
    pub warnings: Vec<String>,
}

impl Outcome {
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for step in &self.steps {
            *match step.action {
                Action::Create => &mut summary.create,
                Action::Change => &mut summary.change,
                Action::Replace => &mut summary.replace,
                Action::Remove => &mut summary.remove,
                Action::Keep => &mut summary.keep,
            } += 1;
        }
        summary
    }
}

/// Name of the platform service behind a need.
#[must_use]
pub fn need_name(service: &str, need: &str) -> String {
    format!("{service}-{need}")
}

/// Subject of a service's step.
#[must_use]
pub fn subject(record_is_need: bool, name: &str) -> String {
    if record_is_need { format!("need/{name}") } else { format!("service/{name}") }
}

/// Fields that need no new processes when they change.
const IN_PLACE: &[&str] = &["description", "owner", "tier", "links", "expose", "run.replicas"];

/// Makes the plan. `wanted` comes in the order of dependencies, callees first.
#[must_use]
pub fn plan(wanted: &[Wanted], actual: &BTreeMap<String, Actual>, going: &Going) -> Outcome {
    let mut outcome = Outcome::default();
    let mut kept_needs: BTreeSet<String> = BTreeSet::new();
    let changing: BTreeSet<&str> = wanted.iter().map(|wish| wish.service.name.as_str()).collect();
    for wish in wanted {
        let mut after = Vec::new();
        for (need, spec) in &wish.needs {
            let name = need_name(wish.service.name.as_str(), need);
            kept_needs.insert(name.clone());
            after.push(subject(true, &name));
            plan_need(&mut outcome, wish.service.name.as_str(), &name, spec, actual.get(&name));
        }
        for called in wish.service.called_services().filter(|called| changing.contains(called.as_str())) {
            after.push(subject(false, called.as_str()));
        }
        plan_service(&mut outcome, wish, actual.get(wish.service.name.as_str()), after);
    }
    plan_removals(&mut outcome, actual, going, &changing, &kept_needs);
    outcome
}

fn plan_need(outcome: &mut Outcome, service: &str, name: &str, need: &Need, actual: Option<&Actual>) {
    let definition = serde_json::to_value(need).unwrap_or_default();
    let present = actual.filter(|actual| actual.record.release.is_some() && !actual.record.removing);
    let (action, why, changes) = match present {
        None if actual.is_some() => {
            (Action::Create, format!("`{service}` needs it again; its data is still there"), Vec::new())
        }
        None => (Action::Create, format!("`{service}` needs it"), Vec::new()),
        Some(actual) if actual.record.definition == definition => {
            (Action::Keep, "as it is".into(), Vec::new())
        }
        Some(actual) => {
            (Action::Change, "its definition changed".into(), changes(&actual.record.definition, &definition))
        }
    };
    let mut warnings = Vec::new();
    if action == Action::Change {
        warnings.push(format!("`{name}` is restarted; `{service}` loses its connections for a moment"));
    }
    outcome.steps.push(Step {
        subject: subject(true, name),
        action,
        why,
        changes,
        after: Vec::new(),
        warnings,
        deletes_data: false,
        rotates_credentials: false,
    });
    if action != Action::Keep {
        outcome.work.push(Work::Provide {
            name: name.to_owned(),
            belongs_to: service.to_owned(),
            need: need.clone(),
        });
    }
}

fn plan_service(outcome: &mut Outcome, wish: &Wanted, actual: Option<&Actual>, after: Vec<String>) {
    let name = wish.service.name.as_str();
    let definition = wish.service.canonical();
    let subject = subject(false, name);
    let release = || Work::Release {
        name: name.to_owned(),
        release: ReleaseId::new(),
        definition: definition.clone(),
        artifact: wish.artifact.clone(),
        secrets: wish.secrets.clone(),
    };
    let running = actual
        .filter(|actual| !actual.record.removing)
        .and_then(|actual| Some((&actual.record, actual.release.as_ref()?)));
    let Some((record, current)) = running else {
        let why = if actual.is_some() { "it was taken down" } else { "it is new" };
        outcome.steps.push(Step {
            subject,
            action: Action::Create,
            why: why.into(),
            // They follow from the definition, see `PlanRecord::shown`.
            changes: Vec::new(),
            after,
            warnings: Vec::new(),
            deletes_data: false,
            rotates_credentials: false,
        });
        outcome.work.push(release());
        return;
    };
    let mut differences = changes(&record.definition, &definition);
    let mut why = Vec::new();
    if let Some(by_hand) = scaled_by_hand(record, &wish.service) {
        why.push(format!("it was scaled to {} by hand", record.replicas));
        differences.push(by_hand);
    }
    let needs_release = content_changes(current, wish, &mut differences, &mut why);
    let action = if differences.is_empty() { Action::Keep } else { Action::Change };
    if why.is_empty() {
        why.push(if action == Action::Keep {
            "as it is".into()
        } else {
            "its definition changed".to_owned()
        });
    }
    let mut warnings = Vec::new();
    if wish.service.run.as_ref().is_some_and(|run| run.replicas == 0) && record.replicas > 0 {
        warnings.push(format!("`{name}` stops serving: no replicas are asked for"));
    }
    outcome.steps.push(Step {
        subject,
        action,
        why: why.join("; "),
        changes: differences,
        after,
        warnings,
        deletes_data: false,
        rotates_credentials: false,
    });
    if action == Action::Keep {
        return;
    }
    let in_place = outcome.steps.last().is_some_and(|step| {
        !needs_release
            && step.changes.iter().all(|change| IN_PLACE.iter().any(|field| is_under(&change.path, field)))
    });
    outcome.work.push(if in_place { Work::Update { name: name.to_owned(), definition } } else { release() });
}

/// Whether artifact or secrets differ, which stands in no field of the definition.
fn content_changes(
    current: &ReleaseRecord,
    wish: &Wanted,
    differences: &mut Vec<FieldChange>,
    why: &mut Vec<String>,
) -> bool {
    let mut found = false;
    if current.artifact != wish.artifact {
        let short = |digest: &Option<String>| {
            digest.as_ref().map(|digest| Value::String(digest.chars().take("sha256:".len() + 12).collect()))
        };
        differences.push(FieldChange {
            path: "artifact".into(),
            before: short(&current.artifact),
            after: short(&wish.artifact),
        });
        why.push("its files changed".into());
        found = true;
    }
    for (secret, version) in &wish.secrets {
        let before = current.secrets.get(secret);
        if before != Some(version) {
            differences.push(FieldChange {
                path: format!("secrets.{secret}"),
                before: before.map(|version| Value::String(format!("version {version}"))),
                after: Some(Value::String(format!("version {version}"))),
            });
            why.push(format!("secret `{secret}` has a new version"));
            found = true;
        }
    }
    found
}

fn scaled_by_hand(record: &ServiceRecord, service: &Service) -> Option<FieldChange> {
    let asked_before = record.definition.pointer("/run/replicas").and_then(Value::as_u64)?;
    let asked = service.run.as_ref()?.replicas;
    (u64::from(record.replicas) != asked_before && record.replicas != asked).then(|| FieldChange {
        path: "run.replicas".into(),
        before: Some(record.replicas.into()),
        after: Some(asked.into()),
    })
}

fn is_under(path: &str, field: &str) -> bool {
    path.strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
}

fn plan_removals(
    outcome: &mut Outcome,
    actual: &BTreeMap<String, Actual>,
    going: &Going,
    changing: &BTreeSet<&str>,
    kept_needs: &BTreeSet<String>,
) {
    let leaves = |name: &str, record: &ServiceRecord| match &record.belongs_to {
        Some(owner) => {
            (going.services.contains(owner) || changing.contains(owner.as_str()))
                && !kept_needs.contains(name)
        }
        None => going.services.contains(name),
    };
    // A need that was given up keeps its data and may be asked to lose it later.
    let gone = |record: &ServiceRecord| record.release.is_none() && !going.delete_data;
    let leaving: Vec<&Actual> = actual
        .values()
        .filter(|actual| leaves(&actual.record.name, &actual.record) && !gone(&actual.record))
        .collect();
    for found in &leaving {
        let record = &found.record;
        let after = callers(record, &leaving);
        for caller in callers_that_stay(record, actual, &leaving) {
            outcome.warnings.push(format!("`{caller}` needs `{}` and stays", record.name));
        }
        let why = if record.is_platform_service() {
            "nothing needs it any more"
        } else if changing.is_empty() {
            "you asked for it"
        } else {
            "its file is gone from the project"
        };
        outcome.steps.push(Step {
            subject: subject(record.is_platform_service(), &record.name),
            action: Action::Remove,
            why: why.to_owned(),
            changes: Vec::new(),
            after,
            warnings: data_warning(record, going.delete_data).into_iter().collect(),
            deletes_data: going.delete_data,
            rotates_credentials: false,
        });
        outcome.work.push(Work::Remove {
            name: record.name.clone(),
            need: record.is_platform_service(),
            delete_data: going.delete_data,
        });
    }
}

/// What becomes of the data. A service may have some of its own in `STEAD_DATA_DIR`.
fn data_warning(record: &ServiceRecord, deleted: bool) -> Option<String> {
    let what = match (deleted, record.is_platform_service()) {
        (true, _) => "its data is DELETED; only a backup brings it back",
        (false, true) => "its data is kept; `stead up` brings it back, `stead down --delete-data` deletes it",
        (false, false) => return None,
    };
    Some(format!("`{}`: {what}", record.name))
}

/// Subjects that must go before this one: who calls it, and the service whose need it is.
fn callers(record: &ServiceRecord, leaving: &[&Actual]) -> Vec<String> {
    leaving
        .iter()
        .filter(|other| depends_on(&other.record, record))
        .map(|other| subject(other.record.is_platform_service(), &other.record.name))
        .collect()
}

fn callers_that_stay<'a>(
    record: &ServiceRecord,
    actual: &'a BTreeMap<String, Actual>,
    leaving: &[&Actual],
) -> Vec<&'a str> {
    if record.is_platform_service() {
        return Vec::new();
    }
    actual
        .values()
        .filter(|other| other.record.release.is_some() && depends_on(&other.record, record))
        .filter(|other| !leaving.iter().any(|gone| gone.record.name == other.record.name))
        .map(|other| other.record.name.as_str())
        .collect()
}

fn depends_on(caller: &ServiceRecord, callee: &ServiceRecord) -> bool {
    if callee.belongs_to.as_deref() == Some(caller.name.as_str()) {
        return true;
    }
    let needs = caller.definition.get("needs").and_then(Value::as_object);
    needs.is_some_and(|needs| {
        needs.values().any(|need| need.get("service").and_then(Value::as_str) == Some(callee.name.as_str()))
    })
}

/// The platform services that a service asks for.
#[must_use]
pub fn asked_needs(service: &Service) -> BTreeMap<String, NeedKind> {
    service
        .needs
        .iter()
        .filter(|(_, need)| !matches!(need.kind, NeedKind::Service { .. }))
        .map(|(name, need)| (name.to_string(), need.kind.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::delivered;

    #[test]
    fn a_plan_that_deletes_data_says_so_by_a_field_and_in_words() {
        let (_, record, release) = delivered("name: web\nrun: {command: serve}\n");
        let actual =
            BTreeMap::from([("web".to_owned(), Actual { record, release: Some(Arc::new(release)) })]);
        for delete_data in [true, false] {
            let going = Going { services: BTreeSet::from(["web".to_owned()]), delete_data };
            let outcome = plan(&[], &actual, &going);
            let [step] = outcome.steps.as_slice() else { panic!("{:?}", outcome.steps) };
            assert_eq!((step.action, step.deletes_data), (Action::Remove, delete_data));
            assert_eq!(step.warnings.iter().any(|text| text.contains("DELETED")), delete_data);
        }
    }
}
