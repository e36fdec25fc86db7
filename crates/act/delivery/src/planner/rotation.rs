//! The plan of a new password for a platform service.

use base::{Class, Problem, id::ReleaseId};
use delivery_api::{Action, FieldChange, Kind, Step};
use serde_json::Value;

use super::{Actual, Outcome, subject};
use crate::record::Work;

/// Plans a rotation. `need` is the need's name in the file of `service`.
///
/// # Errors
/// The platform service does not run, belongs to another, or is being rotated.
pub fn rotation(service: &Actual, need: &str, platform: &Actual) -> Result<Outcome, Problem> {
    let (owner, name) = (service.record.name.as_str(), platform.record.name.as_str());
    let wrong = |class, why: String| Problem::new(class, "delivery.rotation", why);
    if !platform.record.is_platform_service() || platform.record.belongs_to.as_deref() != Some(owner) {
        return Err(wrong(Class::Invalid, format!("`{need}` of `{owner}` has no password of its own"))
            .with_hint("PostgreSQL and Redis have; a need of another service has none"));
    }
    if platform.record.release.is_none() || platform.record.removing {
        return Err(
            wrong(Class::Conflict, format!("`{name}` does not run")).with_hint("`stead up` brings it back")
        );
    }
    if platform.record.password.as_ref().is_some_and(|password| !password.also.is_empty()) {
        return Err(wrong(Class::Conflict, format!("a rotation of `{name}` is under way"))
            .with_hint("wait for its run to end, or cancel it"));
    }
    let pinned = platform.release.as_ref().and_then(|release| {
        release.secrets.get(&format!("stead.need.{name}.{}", crate::need::PASSWORD)).copied()
    });
    let version = platform.record.password.as_ref().map(|password| password.current).or(pinned);
    let before = version.map(|version| Value::String(format!("version {version}")));
    let change = |path: String| FieldChange {
        path,
        before: before.clone(),
        after: Some(Value::String("a new version".into())),
    };
    let stays = match platform.record.kind {
        Kind::Redis => "connections that are open stay open until their replica ends",
        _ => "sessions of the old password that are left at the end are ended",
    };
    let mut steps = vec![Step {
        subject: subject(true, name),
        action: Action::Change,
        why: "a new password; the old one works until every replica has the new one".into(),
        changes: vec![change("password".into())],
        after: Vec::new(),
        warnings: vec![stays.into()],
        deletes_data: false,
        rotates_credentials: true,
    }];
    let runs = service.record.release.is_some() && !service.record.removing;
    if runs {
        steps.push(Step {
            subject: subject(false, owner),
            action: Action::Change,
            why: format!("a release with the new password of `{name}`; its replicas are replaced in turn"),
            changes: vec![change(format!("needs.{need}.password"))],
            after: vec![subject(true, name)],
            warnings: gap(service).into_iter().collect(),
            deletes_data: false,
            rotates_credentials: false,
        });
    }
    let work = Work::Rotate {
        name: name.to_owned(),
        belongs_to: owner.to_owned(),
        need: need.to_owned(),
        release: runs.then(ReleaseId::new),
    };
    Ok(Outcome { steps, work: vec![work], warnings: Vec::new() })
}

/// A port that two replicas cannot share leaves a gap.
fn gap(service: &Actual) -> Option<String> {
    let ports = service.record.definition.pointer("/run/ports").and_then(Value::as_object)?;
    let fixed =
        ports.values().any(|port| port.get("number").is_some_and(Value::is_number) || port.is_number());
    fixed.then(|| format!("`{}` has a fixed port and is away for a moment", service.record.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doubles::delivered, record::PasswordVersions};

    fn pair() -> (Actual, Actual) {
        let (_, record, release) = delivered("name: web\nrun: {command: serve}\n");
        let service = Actual { record, release: Some(release.into()) };
        let (_, mut record, mut release) = delivered("name: web-db\nrun: {command: serve}\n");
        record.kind = Kind::Postgres;
        record.belongs_to = Some("web".into());
        release.secrets.insert("stead.need.web-db.password".into(), 4);
        (service, Actual { record, release: Some(release.into()) })
    }

    #[test]
    fn the_server_comes_first_and_the_service_follows() {
        let (service, platform) = pair();
        let outcome = rotation(&service, "db", &platform).unwrap();
        let subjects: Vec<&str> = outcome.steps.iter().map(|step| step.subject.as_str()).collect();
        assert_eq!(subjects, ["need/web-db", "service/web"]);
        assert_eq!(outcome.steps[1].after, ["need/web-db"]);
        assert_eq!(outcome.steps[0].changes[0].before, Some("version 4".into()));
        assert!(outcome.steps[0].rotates_credentials);
        assert!(matches!(&outcome.work[..], [Work::Rotate { release: Some(_), .. }]));
    }

    #[test]
    fn a_service_that_does_not_run_is_left_alone() {
        let (mut service, platform) = pair();
        service.record.release = None;
        let outcome = rotation(&service, "db", &platform).unwrap();
        assert!(matches!(&outcome.work[..], [Work::Rotate { release: None, .. }]));
        assert_eq!(outcome.steps.len(), 1);
    }

    #[test]
    fn what_cannot_be_rotated_says_why() {
        let check = |change: &dyn Fn(&mut Actual), expected: &str| {
            let (service, mut platform) = pair();
            change(&mut platform);
            let problem = rotation(&service, "db", &platform).unwrap_err();
            assert!(problem.message.contains(expected), "{problem:?}");
        };
        check(&|platform| platform.record.release = None, "does not run");
        check(&|platform| platform.record.removing = true, "does not run");
        check(&|platform| platform.record.belongs_to = Some("other".into()), "no password of its own");
        check(&|platform| platform.record.kind = Kind::Service, "no password of its own");
        let busy = PasswordVersions { current: 4, also: vec![5] };
        check(&|platform| platform.record.password = Some(busy.clone()), "under way");
    }
}
