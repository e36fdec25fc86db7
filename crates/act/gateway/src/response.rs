//! The head of a service's response.

use crate::{
    headers::{Facts, Framing, Known, classify},
    limits::{HEADERS_MAX, RESPONSE_HEAD_BYTES_MAX},
    proxy::Request,
};

/// What a response's head says, without its fields.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    pub(crate) event_stream: bool,
    pub(crate) head_bytes: usize,
}

/// A response's head while its bytes are at hand.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub(crate) summary: Summary,
    pub(crate) reason: &'a str,
    fields: &'a [httparse::Header<'a>],
    facts: &'a Facts<'a>,
    /// The length that a response without body tells of (HEAD, 304).
    pub(crate) told_length: Option<u64>,
    pub(crate) upgrade: Option<&'a [u8]>,
}

impl Head<'_> {
    /// The fields that go on to the client; those of framing and of this hop are left out.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().filter(|field| self.passes(field.name)).map(|field| (field.name, field.value))
    }

    fn passes(&self, name: &str) -> bool {
        let hop = matches!(
            classify(name.as_bytes()),
            Known::Connection | Known::ContentLength | Known::TransferEncoding | Known::Upgrade | Known::Hop
        );
        !hop && !self.facts.names(name.as_bytes())
    }
}

/// Reads a head and hands it to `take`; none when it is not all there yet.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(
    bytes: &[u8],
    request: &Request,
    take: impl FnOnce(&Head<'_>) -> bool,
) -> Result<Option<(Summary, bool)>, &'static str> {
    let mut room = [const { std::mem::MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let head_bytes = match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut room) {
        Ok(httparse::Status::Complete(length)) if length <= RESPONSE_HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if bytes.len() <= RESPONSE_HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => return Err("its head is too long"),
        Err(httparse::Error::TooManyHeaders) => return Err("it has too many fields"),
        Err(_) => return Err("its head is malformed"),
    };
    let status = parsed.code.unwrap_or(0);
    let mut facts = Facts::default();
    for field in parsed.headers.iter() {
        facts.take(field.name.as_bytes(), field.value)?;
    }
    if !(100..=599).contains(&status) || (status == 101 && !request.upgrade) {
        return Err("its status makes no sense here");
    }
    let bodiless = request.head_only || status < 200 || matches!(status, 204 | 304);
    let framing = match (bodiless, facts.chunked, facts.content_length) {
        (true, ..) => Framing::None,
        (false, true, _) => Framing::Chunked,
        (false, false, Some(length)) => Framing::Length(length),
        (false, false, None) => Framing::UntilClose,
    };
    let keep_alive =
        if parsed.version == Some(1) { !facts.close } else { facts.keep_alive && !facts.chunked };
    let event_stream = facts.event_stream;
    let summary = Summary { status, framing, keep_alive, event_stream, head_bytes };
    let head = Head {
        summary,
        reason: parsed.reason.unwrap_or(""),
        fields: parsed.headers,
        told_length: facts.content_length,
        upgrade: facts.upgrade(),
        facts: &facts,
    };
    let taken = take(&head);
    Ok(Some((summary, taken)))
}
