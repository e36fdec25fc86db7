//! A whole API in memory: people and tokens are real, what runs is not.

use std::{collections::BTreeSet, sync::Arc};

use access::{
    Access, Client, Credential, Csrf, Grant, NewSession, NewToken, Options, Role, TokenId, TokenScope,
};
use axum::{
    Router,
    body::Body,
    http::{Request, Response, StatusCode},
};
use base::{Ctx, Environment, Scope, Tenant, Timestamp, time::ManualClock};
use ledger::Entry;
use serde_json::Value;
use state::{EntryQuery, MemoryState, State};
use tower::ServiceExt;

use crate::doubles::{Double, Fixed};

pub struct World {
    pub access: Arc<Access>,
    pub state: Arc<dyn State>,
    pub double: Arc<Double>,
    pub ports: api::Ports,
    owner: NewSession,
    _changes: tokio::sync::watch::Sender<u64>,
}

pub struct Token {
    pub id: TokenId,
    pub text: String,
}

impl World {
    pub async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_700_000_000_000)));
        let state: Arc<dyn State> = Arc::new(MemoryState::new(clock.clone()));
        let access = Arc::new(Access::new(state.clone(), clock.clone(), Options::default()));
        let link = access.bootstrap(&ctx()).await.unwrap().unwrap();
        let owner = access.redeem(&ctx(), link.token.expose(), &client()).await.unwrap();
        let double = Arc::new(Double::default());
        let (changes, world) = tokio::sync::watch::channel(1);
        let ports = api::Ports {
            tenant: Tenant::default(),
            base_url: "http://127.0.0.1:7070".into(),
            tls: false,
            host_names: vec!["build-host".into()],
            clock,
            tasks: tasks::Tasks::new(tasks::Limits::default()),
            access: access.clone(),
            delivery: double.clone(),
            secrets: double.clone(),
            state: state.clone(),
            driver: double.clone(),
            machine: Arc::new(Fixed),
            world,
            streams: api::Ports::streams(),
        };
        Self { access, state, double, ports, owner, _changes: changes }
    }

    pub fn router(&self) -> Router {
        api::router(self.ports.clone())
    }

    /// A token of somebody with `role`, good for everything that the role may.
    pub async fn token(&self, role: Role) -> Token {
        self.limited(role, TokenScope::ALL, None).await
    }

    pub async fn limited(&self, role: Role, scopes: &[TokenScope], environments: Option<&[&str]>) -> Token {
        let session = match role {
            Role::Admin => self.owner.clone(),
            _ => {
                let name = format!("{role} {}", base::id::fresh("n"));
                let invited = self.access.invite(&ctx(), &name, role).await.unwrap();
                self.access.redeem(&ctx(), invited.link.token.expose(), &client()).await.unwrap()
            }
        };
        let credential = Credential::Cookie { value: session.secret.clone(), csrf: Csrf::SafeMethod };
        let by = self.access.authenticate(&Tenant::default(), &credential).await.unwrap().principal;
        let environments =
            environments.map(|names| names.iter().map(|name| Environment::parse(name).unwrap()).collect());
        let grant = Grant { scopes: scopes.iter().copied().collect::<BTreeSet<_>>(), environments };
        let new = NewToken { name: base::id::fresh("token"), grant, life: None };
        let made = self.access.create_token(&ctx(), &by, &new).await.unwrap();
        Token { id: made.token.id, text: made.secret.expose().to_owned() }
    }

    /// The owner's session: the value of its cookie, and its CSRF token.
    pub fn session(&self) -> (String, String) {
        (self.owner.secret.expose().to_owned(), self.owner.csrf.clone())
    }

    pub async fn entries(&self) -> Vec<Entry> {
        let query = EntryQuery {
            tenant: Tenant::default(),
            environment: None,
            subject: None,
            kind_prefix: None,
            actor: None,
            correlation: None,
            from: None,
            to: None,
            after: None,
            descending: false,
            limit: 1_000,
        };
        self.state.entries(query).await.unwrap().items
    }

    pub async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router().oneshot(request).await.unwrap()
    }

    /// Method and path below the prefix, with a token and a JSON body.
    pub async fn ask(&self, token: &Token, method: &str, path: &str, body: &Value) -> Response<Body> {
        let request = request(method, path).header("authorization", format!("Bearer {}", token.text));
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }
}

pub fn request(method: &str, path: &str) -> axum::http::request::Builder {
    Request::builder()
        .method(method)
        .uri(format!("{}{path}", api::PREFIX))
        .header("host", "127.0.0.1:7070")
        .header("content-type", "application/json")
}

/// Status and body, which has to end.
pub async fn read(response: Response<Body>) -> (StatusCode, Value) {
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let value = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    (status, value)
}

pub fn ctx() -> Ctx {
    Ctx::system("test", Scope::default())
}

fn client() -> Client {
    Client { address: Some("192.0.2.7".parse().unwrap()), agent: "a test".into() }
}
