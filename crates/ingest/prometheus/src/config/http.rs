//! How a server is asked: who we are, and whom we trust.

use std::{fmt, path::PathBuf};

use service_file::yaml::Node;

use super::context::{Context, Fields, Keys};

/// A text that is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A secret given in the file, or the file that holds it, read anew for every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Inline(Secret),
    File(PathBuf),
}

/// What a request proves who it is with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    Basic {
        username: SecretSource,
        password: Option<SecretSource>,
    },
    /// `Authorization: SCHEME CREDENTIALS`.
    Header {
        scheme: String,
        credentials: SecretSource,
    },
}

/// Certificates and keys in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    Inline(Secret),
    File(PathBuf),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who signs for servers; without it the machine's own list.
    pub ca: Option<Pem>,
    pub certificate: Option<Pem>,
    pub key: Option<Pem>,
    pub server_name: Option<String>,
    pub insecure_skip_verify: bool,
}

/// How a server is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpClient {
    pub auth: Option<Auth>,
    pub tls: Tls,
    pub follow_redirects: bool,
    /// Sent with every request, beside what Stead sends itself.
    pub headers: Vec<(String, SecretSource)>,
}

impl Default for HttpClient {
    fn default() -> Self {
        Self { auth: None, tls: Tls::default(), follow_redirects: true, headers: Vec::new() }
    }
}

/// Keys that jobs and `http_sd_configs` share.
macro_rules! client_keys {
    ($($own:literal,)*) => {
        &["basic_auth", "authorization", "bearer_token", "bearer_token_file", "tls_config", "follow_redirects", "http_headers",
          "enable_http2", $($own,)*]
    };
}
macro_rules! client_later {
    ($($own:literal,)*) => {
        &["oauth2", "proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header", $($own,)*]
    };
}
pub(super) use {client_keys, client_later};

const BASIC: Keys = Keys {
    known: &["username", "username_file", "password", "password_file"],
    passed: &[],
    later: &["username_ref", "password_ref"],
};
const AUTHORIZATION: Keys =
    Keys { known: &["type", "credentials", "credentials_file"], passed: &[], later: &["credentials_ref"] };
const HEADER: Keys = Keys { known: &["values", "secrets", "files"], passed: &[], later: &[] };
const TLS: Keys = Keys {
    known: &["ca", "ca_file", "cert", "cert_file", "key", "key_file", "server_name", "insecure_skip_verify"],
    passed: &[("min_version", "TLS 1.2 and 1.3 are spoken"), ("max_version", "TLS 1.2 and 1.3 are spoken")],
    later: &["ca_ref", "cert_ref", "key_ref"],
};

pub(super) fn client(context: &mut Context, fields: &Fields<'_>) -> HttpClient {
    let mut client = HttpClient::default();
    let ways = ["basic_auth", "authorization", "bearer_token", "bearer_token_file"];
    let mut given = ways.iter().filter_map(|key| fields.get(key).map(|node| (*key, node)));
    if let Some((key, node)) = given.next() {
        client.auth = auth(context, key, node);
        if let Some((other, node)) = given.next() {
            context.error(
                node.range,
                format!("`{other}` stands beside `{key}`; only one of them can hold"),
                None,
            );
        }
    }
    if let Some(node) = fields.get("tls_config") {
        client.tls = tls(context, node);
    }
    if let Some(flag) = fields.get("follow_redirects").and_then(|node| context.flag(node, "follow_redirects"))
    {
        client.follow_redirects = flag;
    }
    if let Some(node) = fields.get("enable_http2") {
        context.flag(node, "enable_http2");
    }
    if let Some(node) = fields.get("http_headers") {
        client.headers = headers(context, node);
    }
    client
}

/// Headers that a scrape sets itself.
const OWN_HEADERS: [&str; 6] = [
    "accept",
    "accept-encoding",
    "authorization",
    "host",
    "user-agent",
    "x-prometheus-scrape-timeout-seconds",
];
/// Values of one header.
const VALUES_MAX: usize = 100;

fn headers(context: &mut Context, node: &Node) -> Vec<(String, SecretSource)> {
    let mut all = Vec::new();
    for (key, value) in context.entries(node, "http_headers") {
        let name = key.text.to_ascii_lowercase();
        if ::http::HeaderName::from_bytes(name.as_bytes()).is_err() || OWN_HEADERS.contains(&name.as_str()) {
            context.error(key.range, format!("`{}` cannot be set as a header", key.text), None);
            continue;
        }
        let Some(fields) = context.fields(value, "http_headers", &HEADER) else { continue };
        for kind in ["values", "secrets", "files"] {
            let Some(list) = fields.get(kind) else { continue };
            for item in context.items(list, kind, VALUES_MAX) {
                let source = match kind {
                    "files" => context.path(item, kind).map(SecretSource::File),
                    "secrets" => context.secret(item, kind).map(SecretSource::Inline),
                    _ => context.text(item, kind).map(|text| SecretSource::Inline(Secret::new(text))),
                };
                all.extend(source.map(|source| (name.clone(), source)));
            }
        }
    }
    all
}

fn auth(context: &mut Context, key: &str, node: &Node) -> Option<Auth> {
    let bearer = |credentials| Auth::Header { scheme: "Bearer".to_owned(), credentials };
    match key {
        "basic_auth" => {
            let fields = context.fields(node, key, &BASIC)?;
            let username = source(context, &fields, "username", "username_file");
            let password = source(context, &fields, "password", "password_file");
            let username = username.unwrap_or_else(|| SecretSource::Inline(Secret::default()));
            Some(Auth::Basic { username, password })
        }
        "authorization" => {
            let fields = context.fields(node, key, &AUTHORIZATION)?;
            let scheme = fields.get("type").and_then(|node| context.text(node, "type"));
            let scheme = scheme.unwrap_or_else(|| "Bearer".to_owned());
            if scheme.eq_ignore_ascii_case("basic") {
                let hint = Some("use `basic_auth`".to_owned());
                context.error(node.range, "`authorization` is not for basic authentication", hint);
                return None;
            }
            let credentials = source(context, &fields, "credentials", "credentials_file")?;
            Some(Auth::Header { scheme, credentials })
        }
        "bearer_token" => context.secret(node, key).map(|secret| bearer(SecretSource::Inline(secret))),
        _ => context.path(node, key).map(|path| bearer(SecretSource::File(path))),
    }
}

fn source(context: &mut Context, fields: &Fields<'_>, inline: &str, file: &str) -> Option<SecretSource> {
    match (fields.get(inline), fields.get(file)) {
        (Some(_), Some(node)) => {
            context.error(
                node.range,
                format!("`{file}` stands beside `{inline}`; only one of them can hold"),
                None,
            );
            None
        }
        // A user's name is no secret, but it is of no use to show it either.
        (Some(node), None) => context.secret(node, inline).map(SecretSource::Inline),
        (None, Some(node)) => context.path(node, file).map(SecretSource::File),
        (None, None) => None,
    }
}

fn tls(context: &mut Context, node: &Node) -> Tls {
    let Some(fields) = context.fields(node, "tls_config", &TLS) else { return Tls::default() };
    let mut pem = |inline: &str, file: &str| {
        source(context, &fields, inline, file).map(|source| match source {
            SecretSource::Inline(text) => Pem::Inline(text),
            SecretSource::File(path) => Pem::File(path),
        })
    };
    let (ca, certificate, key) = (pem("ca", "ca_file"), pem("cert", "cert_file"), pem("key", "key_file"));
    if certificate.is_some() != key.is_some() {
        context.error(node.range, "a client's certificate and key come together", None);
    }
    let server_name = fields.get("server_name").and_then(|node| context.text(node, "server_name"));
    let skip = fields.get("insecure_skip_verify").and_then(|node| context.flag(node, "insecure_skip_verify"));
    Tls { ca, certificate, key, server_name, insecure_skip_verify: skip.unwrap_or(false) }
}
