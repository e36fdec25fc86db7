//! Active health checks, made once for all threads.

use std::{collections::HashMap, io, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use base::id::ReplicaId;
use gateway_api::HealthCheck;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::AbortHandle,
};

use crate::plan::{Health, Plan};

/// The shortest interval, whatever the snapshot says.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

type Key = (ReplicaId, SocketAddr);

/// Runs the checks of each plan until the gateway ends.
pub(crate) async fn run(mut plans: watch::Receiver<Arc<Plan>>) {
    let mut running: HashMap<Key, (HealthCheck, Stop)> = HashMap::new();
    loop {
        let plan = plans.borrow_and_update().clone();
        let mut wanted: HashMap<Key, (&HealthCheck, &Arc<Health>)> = HashMap::new();
        for planned in &plan.routes {
            let Some(check) = &planned.route.policy.health else { continue };
            for (target, health) in planned.route.targets.iter().zip(&planned.health) {
                for (endpoint, health) in target.endpoints.iter().zip(health) {
                    wanted.entry((endpoint.replica.clone(), endpoint.address)).or_insert((check, health));
                }
            }
        }
        running.retain(|key, (check, _)| wanted.get(key).is_some_and(|(same, _)| *same == check));
        for (key, (check, health)) in wanted {
            running.entry(key.clone()).or_insert_with(|| {
                let task = tokio::task::spawn_local(watch_one(key.1, check.clone(), health.clone()));
                (check.clone(), Stop { task: task.abort_handle(), health: health.clone() })
            });
        }
        if plans.changed().await.is_err() {
            return;
        }
    }
}

/// Ends a check; an endpoint that nobody checks counts as up.
struct Stop {
    task: AbortHandle,
    health: Arc<Health>,
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.task.abort();
        self.health.set_down(false);
    }
}

async fn watch_one(address: SocketAddr, check: HealthCheck, health: Arc<Health>) {
    let interval = Duration::from_millis(check.interval_ms).max(INTERVAL_MIN);
    let timeout = Duration::from_millis(check.timeout_ms.max(1));
    let request: Rc<str> = Rc::from(format!(
        "GET {} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: stead-gateway\r\nConnection: close\r\n\r\n",
        check.path
    ));
    let (mut good, mut bad) = (0, 0);
    loop {
        tokio::time::sleep(interval).await;
        let healthy = matches!(tokio::time::timeout(timeout, probe(address, &request)).await, Ok(Ok(true)));
        (good, bad) = if healthy { (good + 1, 0) } else { (0, bad + 1) };
        if bad >= check.unhealthy_after.max(1) {
            health.set_down(true);
        } else if good >= check.healthy_after.max(1) {
            health.set_down(false);
        }
    }
}

/// Whether the answer is 2xx or 3xx.
async fn probe(address: SocketAddr, request: &str) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0; 12]; // HTTP/1.1 200
    stream.read_exact(&mut start).await?;
    Ok(start.starts_with(b"HTTP/1.") && matches!(start[9], b'2' | b'3'))
}
