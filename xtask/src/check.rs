//! The fast gate: everything that can be said without running the product.

use crate::{
    arch, deny, generate,
    stage::{self, Stages, cargo, npm, npm_packages},
};

/// All checks, each as a stage of a longer task.
pub fn run_all(stages: &mut Stages) {
    stages.run("form (rustfmt)", || stage::run(cargo().args(["fmt", "--all", "--check"])));
    stages.run("architecture", || arch::run(false));
    stages.run("licences and fences", deny::run);
    stages.run("generated client", || generate::run(true));
    stages.run("lints (clippy)", || {
        stage::run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "-D",
            "warnings",
        ]))
    });
    stages.run("types of the interface", || {
        npm_packages("ui")?;
        stage::run(npm("ui").args(["run", "--silent", "check"]))
    });
    stages.run("types of the example", || {
        npm_packages("examples/shop")?;
        stage::run(npm("examples/shop").args(["run", "--silent", "check"]))
    });
}

/// `cargo xtask check`.
///
/// # Errors
/// One of the checks failed.
pub fn run() -> anyhow::Result<()> {
    let mut stages = Stages::new();
    run_all(&mut stages);
    stages.finish("check")
}
