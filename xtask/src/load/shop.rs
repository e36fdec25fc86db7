//! The example shop as its customers address it.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::{Value, json};

use super::{
    journey::Step,
    target::{Answer, Target},
};

const CATEGORIES: [&str; 4] = ["tea", "pots", "cups", "tools"];
const WORDS: [&str; 8] =
    ["green", "stoneware", "oolong", "mug", "steel", "camomile", "glaze", "nothing-like-it"];

/// What one visit remembers from step to step.
#[derive(Debug, Default)]
pub(crate) struct Visit {
    pub(crate) user: String,
    /// Names the one order of this visit.
    pub(crate) key: String,
    pub(crate) has_cart: bool,
    pub(crate) order: Option<String>,
}

/// What is sold, by its sku.
pub(crate) async fn stock(target: &Target) -> anyhow::Result<Vec<String>> {
    let answer = target.send(get("/browse", "load-looks", true)?).await;
    let Ok(Answer { status: 200, body }) = answer else {
        bail!("the shop does not show its products: GET /browse gave {answer:?}");
    };
    let value: Value =
        serde_json::from_slice(&body).context("GET /browse did not give JSON: is this the shop?")?;
    let skus: Vec<String> = value["products"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|product| product["sku"].as_str().map(String::from))
        .collect();
    if skus.is_empty() {
        bail!("GET /browse lists no products: is this the shop?");
    }
    Ok(skus)
}

/// The request of a step; none when an earlier failure has left nothing to ask for.
pub(crate) fn request(
    step: Step,
    visit: &Visit,
    skus: &[String],
) -> anyhow::Result<Option<Request<Full<Bytes>>>> {
    let sku = |n: u32| &skus[n as usize % skus.len()];
    let page = |path: &str| get(path, &visit.user, false).map(Some);
    match step {
        Step::Home => page("/"),
        Step::Category(n) => page(&format!("/browse?category={}", CATEGORIES[n as usize % CATEGORIES.len()])),
        Step::Search(n) => page(&format!("/browse?q={}", WORDS[n as usize % WORDS.len()])),
        Step::Product(n) => page(&format!("/products/{}", sku(n))),
        Step::Add(n) => {
            let body = json!({ "sku": sku(n), "quantity": 1 + n % 2 });
            post("/cart/items", visit, &body).map(Some)
        }
        Step::Cart => page("/cart"),
        Step::CheckoutForm if visit.has_cart => page("/checkout"),
        Step::Checkout if visit.has_cart => {
            let body = json!({
                "name": "Load Customer", "address": "1 Loopback Lane", "city": "Localhost",
                "card": "4242 4242 4242 4242", "key": visit.key,
            });
            post("/checkout", visit, &body).map(Some)
        }
        Step::Order => {
            visit.order.as_ref().map(|id| get(&format!("/orders/{id}"), &visit.user, false)).transpose()
        }
        Step::Orders => page("/orders"),
        Step::CheckoutForm | Step::Checkout => Ok(None),
    }
}

/// Takes from the answer what later steps need. Gives the order it acknowledges, if it does.
pub(crate) fn learn(step: Step, visit: &mut Visit, answer: &Answer) -> Option<String> {
    match (step, answer.status) {
        (Step::Add(_), 200) => visit.has_cart = true,
        (Step::Checkout, 200 | 201) => {
            let value: Value = serde_json::from_slice(&answer.body).ok()?;
            visit.order = value["order"]["id"].as_str().map(String::from);
            return visit.order.clone();
        }
        _ => {}
    }
    None
}

pub(crate) fn get(path: &str, user: &str, json: bool) -> anyhow::Result<Request<Full<Bytes>>> {
    let accept = if json { "application/json" } else { "text/html" };
    let request = Request::get(path).header("accept", accept).header("cookie", format!("shop_user={user}"));
    Ok(request.body(Full::default())?)
}

fn post(path: &str, visit: &Visit, body: &Value) -> anyhow::Result<Request<Full<Bytes>>> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("cookie", format!("shop_user={}", visit.user))
        .header("idempotency-key", &visit.key);
    Ok(request.body(Full::new(Bytes::from(serde_json::to_vec(body)?)))?)
}
