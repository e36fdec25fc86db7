use base::Scope;
use state::{EntryQuery, State};

use super::*;
use crate::doubles::{Keep, Machine, delivered, ports};

async fn everything_on_record(state: &Arc<dyn State>) -> String {
    let query = EntryQuery {
        tenant: base::Tenant::default(),
        environment: None,
        subject: None,
        kind_prefix: None,
        actor: None,
        correlation: None,
        from: None,
        to: None,
        after: None,
        descending: false,
        limit: 100,
    };
    serde_json::to_string(&state.entries(query).await.unwrap().items).unwrap()
}

#[tokio::test]
async fn what_a_job_prints_is_not_on_record() {
    let home = tempfile::tempdir().unwrap();
    let machine =
        Arc::new(Machine { exit_code: 3, printed: "password=hunter2".into(), ..Machine::default() });
    let ports = ports(home.path(), &machine, Keep::default());
    let text = "name: shop\njobs: {migrate: {command: ./migrate, when: manual}}\n";
    let (service, record, release) = delivered(text);
    let (name, job) = service.jobs.iter().next().unwrap();
    let ctx = Ctx::system("test", Scope::default());
    let failed = run(&ports, &ctx, record, release, &service, name.as_str(), job).await.unwrap_err();
    assert_eq!(failed.message, "job `migrate` exited with 3");
    assert_eq!(failed.hint.unwrap(), "`stead logs shop --job migrate` shows its output");
    let recorded = everything_on_record(&ports.state).await;
    assert!(recorded.contains("job `migrate` of `shop` exited with 3"), "{recorded}");
    assert!(!recorded.contains("hunter2"), "{recorded}");
}
