//! The paths that a service's commands name: what a build made for it to run lies where build output
//! lies, which is otherwise left out of an artifact (`target/release/NAME`).

use std::path::{Component, Path};

use service_file::{
    ServiceFile,
    model::{Command, Service},
};

/// Never part of an artifact, whoever names them.
const NEVER: &[&str] = &[".git", ".stead"];

/// The relative paths of more than one name that its commands name and that are there.
pub(super) fn paths(file: &ServiceFile) -> Vec<String> {
    let folder = file.folder();
    let variants = file.environments().map(|environment| file.in_environment(environment));
    let mut found: Vec<String> = std::iter::once(file.base()).chain(variants).flat_map(of_service).collect();
    found.sort_unstable();
    found.dedup();
    found.retain(|path| folder.join(path).exists());
    found
}

fn of_service(service: &Service) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(run) = &service.run {
        of_command(&run.command, &run.working_directory, &mut found);
    }
    for job in service.jobs.values() {
        of_command(&job.command, job.working_directory.as_deref().unwrap_or("."), &mut found);
    }
    found
}

fn of_command(command: &Command, directory: &str, found: &mut Vec<String>) {
    let words: Vec<String> = match command {
        Command::Words(words) => {
            words.iter().filter_map(|word| word.as_literal()).map(str::to_owned).collect()
        }
        // Near enough: what is not there in the end is not taken.
        Command::Shell(line) => line.split_whitespace().map(str::to_owned).collect(),
    };
    found.extend(words.iter().filter_map(|word| inner(&Path::new(directory).join(word))));
}

/// A path that stays below the folder, as names separated by `/`.
fn inner(path: &Path) -> Option<String> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => names.push(name.to_str()?),
            _ => return None,
        }
    }
    (names.len() > 1 && !names.iter().any(|name| NEVER.contains(name))).then(|| names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let parsed = service_file::parse("stead.yaml", text);
        assert!(parsed.problems.items.is_empty(), "{}", parsed.problems.render(false));
        of_service(parsed.services[0].base())
    }

    #[test]
    fn programs_and_arguments_of_run_and_jobs_are_named() {
        let text = "name: a\nrun: {command: ./target/release/a --with target/classes --port $PORT}\n\
                    jobs: {tidy: {command: target/release/tidy}}\n";
        assert_eq!(named(text), ["target/release/a", "target/classes", "target/release/tidy"]);
        let text = "name: a\nrun: {command: ../bin/a b/c.js, working_directory: web}\n";
        assert_eq!(named(text), ["web/b/c.js"], "below the working directory, and nothing above the folder");
    }

    #[test]
    fn what_leads_out_or_is_one_name_or_stays_out_is_not() {
        for command in
            ["/usr/bin/node", "node server.js", "../target/release/a", "cat .git/config", ".stead/x/y"]
        {
            assert_eq!(named(&format!("name: a\nrun: {{command: \"{command}\"}}\n")), [""; 0], "{command}");
        }
    }
}
