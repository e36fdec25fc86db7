use std::sync::Arc;

use runtime_api::Driver;
use state::{
    EntryQuery, Error, MemoryState, Scan, State,
    faulty::{Fault, FaultyState},
};

use super::*;
use crate::{
    books::{put_release, put_service},
    doubles::{Keep, Machine, delivered, ports},
    ports::Ports,
    reconcile::{Shared, start::Start},
};

/// A service whose replicas have all exited with 3, in a state that can fail.
struct World {
    _home: tempfile::TempDir,
    machine: Arc<Machine>,
    state: FaultyState,
    ports: Ports,
}

impl World {
    async fn new(replicas: u32) -> Self {
        let home = tempfile::tempdir().unwrap();
        let machine = Arc::new(Machine { exit_code: 3, ..Machine::default() });
        let mut ports = ports(home.path(), &machine, Keep::default());
        let state = FaultyState::new(MemoryState::new(ports.clock.clone()));
        ports.state = Arc::new(state.clone());
        let (service, record, release) = delivered("name: web\nrun: {command: serve, port: none}\n");
        let scope = Scope::default();
        let puts = vec![put_service(&scope, &record), put_release(&scope, &release)];
        state.commit(Commit { puts, ..Commit::default() }).await.unwrap();
        let start = Start {
            scope,
            revision: record.revision().unwrap(),
            record,
            release,
            definition: Arc::new(Definition::Service(Box::new(service))),
            job: None,
        };
        for _ in 0..replicas {
            machine.start(start.specification(&ports).await.unwrap()).await.unwrap();
        }
        Self { _home: home, machine, state, ports }
    }

    /// A reconciler as after a start of control, that has read the records.
    async fn reconciler(&self) -> Reconciler {
        let mut reconciler = Reconciler::new(self.ports.clone(), Shared::new());
        assert!(reconciler.reload().await);
        reconciler
    }

    async fn ends(&self) -> Vec<String> {
        let query = EntryQuery {
            tenant: base::Tenant::default(),
            environment: None,
            subject: None,
            kind_prefix: Some("stead.replica.exited".into()),
            actor: None,
            correlation: None,
            from: None,
            to: None,
            after: None,
            descending: false,
            limit: 1_000,
        };
        self.state.entries(query).await.unwrap().items.into_iter().map(|entry| entry.draft.why).collect()
    }

    fn replicas(&self) -> Vec<ReplicaId> {
        self.machine.started.lock().unwrap().iter().map(|spec| spec.id.clone()).collect()
    }
}

async fn look(reconciler: &mut Reconciler) {
    reconciler.observe_at = Duration::ZERO;
    assert!(reconciler.observe().await);
}

fn all_accounted(reconciler: &Reconciler) -> bool {
    reconciler.services.values().flat_map(|live| live.replicas.values()).all(|replica| replica.accounted)
}

#[tokio::test]
async fn an_end_seen_while_the_disk_is_full_comes_on_the_ledger_later() {
    let world = World::new(2).await;
    let mut reconciler = world.reconciler().await;
    world.state.fail_from(world.state.writes(), Error::DiskFull);
    for _ in 0..3 {
        look(&mut reconciler).await;
    }
    assert!(!all_accounted(&reconciler), "nothing is forgotten that is on no record");
    let live = reconciler.services.values().next().unwrap();
    assert_eq!((live.exits.len(), live.backoff.failures), (2, 2), "they count once, whatever the disk does");
    world.state.heal();
    look(&mut reconciler).await;
    assert!(all_accounted(&reconciler));
    assert_eq!(world.ends().await, ["replica exited with 3", "replica exited with 3"]);
    look(&mut reconciler).await;
    assert_eq!(world.ends().await.len(), 2, "each once");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_not_made_twice() {
    let world = World::new(3).await;
    let mut reconciler = world.reconciler().await;
    world.state.fail(world.state.writes(), Fault::After(Error::Failed { why: "on purpose".into() }));
    look(&mut reconciler).await;
    assert!(!all_accounted(&reconciler));
    look(&mut reconciler).await;
    assert!(all_accounted(&reconciler));
    assert_eq!(world.ends().await.len(), 3);
}

#[tokio::test]
async fn a_control_that_was_killed_before_it_forgot_them_adds_nothing() {
    let world = World::new(1).await;
    let mut first = world.reconciler().await;
    look(&mut first).await;
    drop(first);
    // One more ends while no control runs.
    let again = world.machine.started.lock().unwrap()[0].clone();
    world.machine.start(runtime_api::ReplicaSpec { id: ReplicaId::new(), ..again }).await.unwrap();
    let mut second = world.reconciler().await;
    look(&mut second).await;
    assert!(all_accounted(&second));
    assert_eq!(world.ends().await.len(), 2, "the known one once, and the new one");
}

#[tokio::test]
async fn more_ends_than_one_commit_takes_are_all_recorded() {
    let count = u32::try_from(ENDS_AT_ONCE_MAX).unwrap() + 1;
    let world = World::new(count).await;
    let mut reconciler = world.reconciler().await;
    let before = world.state.writes();
    look(&mut reconciler).await;
    assert!(all_accounted(&reconciler));
    assert_eq!((world.state.writes() - before, world.ends().await.len()), (2, ENDS_AT_ONCE_MAX + 1));
}

#[tokio::test]
async fn the_mark_goes_with_the_replica() {
    let world = World::new(1).await;
    let mut reconciler = world.reconciler().await;
    look(&mut reconciler).await;
    let marks = async || {
        let scan = Scan::of(&Scope::default(), record::REPLICA_END);
        world.state.scan(scan).await.unwrap().items.len()
    };
    assert_eq!(marks().await, 1);
    let replica = world.replicas().remove(0);
    unmark(&reconciler.books, &Scope::default(), &replica).await;
    assert_eq!(marks().await, 0);
    let writes = world.state.writes();
    unmark(&reconciler.books, &Scope::default(), &ReplicaId::new()).await;
    assert_eq!(world.state.writes(), writes, "where there is none nothing is written");
}
