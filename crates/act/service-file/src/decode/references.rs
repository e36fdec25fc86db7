//! Checks what templates refer to, once everything that can be referred to is known.

use super::{Context, Pending};
use crate::{
    model::{NeedKind, Service},
    suggest,
    template::Reference,
};

pub(crate) fn check(cx: &mut Context<'_>, service: &Service) {
    for pending in std::mem::take(&mut cx.pending) {
        for (reference, _) in pending.template.references() {
            if let Some((message, hint)) = problem(reference, &pending, service) {
                let at = cx.find_reference(pending.range, reference);
                cx.found.push(crate::Diagnostic::new(message).at(cx.source, at).hint_if(hint));
            }
        }
    }
}

/// What is wrong with a reference where it stands, and what to do.
fn problem(reference: &Reference, pending: &Pending, service: &Service) -> Option<(String, Option<String>)> {
    let rules = pending.rules;
    match reference {
        Reference::Need { need, output } => {
            let Some(found) = service.needs.get(need.as_str()) else {
                let names: Vec<&str> = service.needs.keys().map(|name| name.as_str()).collect();
                return Some(absent("need", need, &names, "declare it in `needs`"));
            };
            let outputs = found.kind.outputs();
            match outputs.iter().find(|(name, _)| name == output) {
                Some((_, true)) if !rules.secrets => Some(on_command_line(reference)),
                Some(_) => None,
                None => {
                    let names: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
                    let kind = match &found.kind {
                        NeedKind::Service { .. } => "a service",
                        other => other.name(),
                    };
                    Some((
                        format!("need `{need}` is {kind} and gives no `{output}`"),
                        suggest::hint(output, &names),
                    ))
                }
            }
        }
        Reference::Config(_) if !rules.config => {
            let hint = "refer to what it is made of instead";
            Some(("a config value cannot use another one".to_owned(), Some(hint.to_owned())))
        }
        Reference::Config(name) => match service.config.values.get(name) {
            Some(value) if !rules.secrets && is_secret(value, service) => Some(on_command_line(reference)),
            Some(_) => None,
            None => {
                let names: Vec<&str> = service.config.values.keys().map(String::as_str).collect();
                Some(absent("config value", name, &names, "declare it in `config.values`"))
            }
        },
        Reference::Secret(name) => match service.secrets.get(name) {
            Some(_) if !rules.secrets => Some(on_command_line(reference)),
            Some(_) => None,
            None => {
                let names: Vec<&str> = service.secrets.keys().map(String::as_str).collect();
                Some(absent("secret", name, &names, "declare it in `secrets`"))
            }
        },
        Reference::Service(field) if Reference::SERVICE_FIELDS.contains(&field.as_str()) => None,
        Reference::Service(field) => Some((
            format!("a service has no `{field}` to refer to"),
            suggest::hint(field, Reference::SERVICE_FIELDS),
        )),
        Reference::Port(_) if !rules.ports => {
            let hint = "only the service's own processes listen on ports";
            Some(("a job has no port".to_owned(), Some(hint.to_owned())))
        }
        Reference::Port(name) => {
            let ports = service.run.as_ref().map(|run| &run.ports)?;
            match name {
                None if ports.is_empty() => {
                    Some(("the service has no port".into(), Some("give it one with `run.port`".into())))
                }
                None => None,
                Some(name) if ports.contains_key(name) => None,
                Some(name) => {
                    let names: Vec<&str> = ports.keys().map(String::as_str).collect();
                    Some(absent("port", name, &names, "declare it in `run.ports`"))
                }
            }
        }
    }
}

fn absent(kind: &str, name: &str, names: &[&str], declare: &str) -> (String, Option<String>) {
    let hint = match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => declare.to_owned(),
    };
    (format!("no {kind} is called `{}`", super::shorten(name)), Some(hint))
}

fn on_command_line(reference: &Reference) -> (String, Option<String>) {
    (
        format!("`${{{reference}}}` is secret and cannot stand on a command line"),
        Some("pass it in the environment; command lines are visible to every user of the machine".into()),
    )
}

fn is_secret(template: &crate::Template, service: &Service) -> bool {
    template.references().any(|(reference, _)| match reference {
        Reference::Secret(_) => true,
        Reference::Need { need, output } => service
            .needs
            .get(need.as_str())
            .is_some_and(|need| need.kind.outputs().iter().any(|(name, secret)| name == output && *secret)),
        _ => false,
    })
}
