//! The orders the shop has acknowledged, and whether it still has them.

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{
    shop,
    target::{Answer, Target},
};

/// How long the shop may take to answer for an order: it may be restarting.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);
const AT_ONCE_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acknowledged {
    pub(crate) user: String,
    pub(crate) id: String,
}

/// Keeps what was acknowledged, in memory and as lines of JSON in a file.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) orders: Vec<Acknowledged>,
    file: Option<BufWriter<File>>,
}

impl Book {
    pub(crate) fn create(path: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            File::create(path).map(BufWriter::new).with_context(|| format!("cannot write {}", path.display()))
        };
        Ok(Self { orders: Vec::new(), file: path.map(open).transpose()? })
    }

    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        let parse = |(at, line): (usize, std::io::Result<String>)| {
            let line = line.with_context(|| format!("cannot read {name}"))?;
            serde_json::from_str(&line).with_context(|| format!("{name}:{}: not an order: {line:?}", at + 1))
        };
        let orders = BufReader::new(file).lines().enumerate().map(parse).collect::<anyhow::Result<_>>()?;
        Ok(Self { orders, file: None })
    }

    pub(crate) fn add(&mut self, order: Acknowledged) -> anyhow::Result<()> {
        if let Some(file) = &mut self.file {
            serde_json::to_writer(&mut *file, &order)?;
            writeln!(file)?;
        }
        self.orders.push(order);
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.flush()).context("cannot write the orders")
    }
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) asked: usize,
    pub(crate) kept: usize,
    /// The shop says that it has no such order, or has it unpaid.
    pub(crate) lost: Vec<Acknowledged>,
    /// The shop gave no answer in time.
    pub(crate) unknown: Vec<Acknowledged>,
}

enum Fate {
    Kept,
    Lost,
    Unknown,
}

/// Asks the shop for every order, as the customer who placed it.
pub(crate) async fn verify(target: &Arc<Target>, orders: &[Acknowledged]) -> Verdict {
    let mut verdict = Verdict { asked: orders.len(), ..Verdict::default() };
    let mut asking = JoinSet::new();
    let mut rest = orders.iter();
    loop {
        while asking.len() < AT_ONCE_MAX
            && let Some(order) = rest.next()
        {
            let (target, order) = (target.clone(), order.clone());
            asking.spawn(async move { (fate(&target, &order).await, order) });
        }
        match asking.join_next().await {
            None => return verdict,
            Some(Ok((Fate::Kept, _))) => verdict.kept += 1,
            Some(Ok((Fate::Lost, order))) => verdict.lost.push(order),
            Some(Ok((Fate::Unknown, order))) => verdict.unknown.push(order),
            // Left out of all three, so that the sums show it.
            Some(Err(_)) => {}
        }
    }
}

async fn fate(target: &Target, order: &Acknowledged) -> Fate {
    let deadline = Instant::now() + ANSWER_WITHIN;
    while Instant::now() < deadline {
        let Ok(request) = shop::get(&format!("/orders/{}", order.id), &order.user, true) else {
            return Fate::Unknown;
        };
        if let Some(fate) = asked(target, request).await {
            return fate;
        }
        tokio::time::sleep(ASK_AGAIN_AFTER).await;
    }
    Fate::Unknown
}

/// None when it should be asked again.
async fn asked(target: &Target, request: hyper::Request<Full<Bytes>>) -> Option<Fate> {
    let Answer { status, body } =
        tokio::time::timeout(Duration::from_secs(5), target.send(request)).await.ok()?.ok()?;
    match status {
        200 => {
            let value: serde_json::Value = serde_json::from_slice(&body).ok()?;
            Some(if value["order"]["state"] == "paid" { Fate::Kept } else { Fate::Lost })
        }
        404 | 410 => Some(Fate::Lost),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_book_reads_back_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders");
        let mut book = Book::create(Some(&path)).unwrap();
        let orders = [1, 2].map(|n| Acknowledged { user: format!("u-{n}"), id: format!("el{n}") });
        for order in &orders {
            book.add(order.clone()).unwrap();
        }
        book.flush().unwrap();
        assert_eq!(Book::read(&path).unwrap().orders, orders);
        std::fs::write(&path, "{\"user\":\"u\",\"id\":\"e\"}\nnonsense\n").unwrap();
        let error = format!("{:#}", Book::read(&path).unwrap_err());
        assert!(error.contains("orders:2: not an order"), "{error}");
    }
}
