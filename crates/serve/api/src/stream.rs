//! Server-sent events: bounded in number, kept alive, and only for as long as the reader may.

use std::{convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use base::{Class, Problem};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use crate::{
    Ports, STREAMS_MAX,
    gate::Caller,
    problem::{Answer, Failure},
};

/// The reader is asked for anew after each such time, so that a revoked token or an ended session
/// reads on for no longer.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(30);

/// A stream of JSON values as server-sent events. It ends when the client goes, when it may no longer
/// read, or when Stead stops.
pub(crate) fn sse<T: Serialize + Send + 'static>(
    ports: &Ports,
    caller: &Caller,
    values: impl Stream<Item = T> + Send + 'static,
) -> Answer<Response> {
    let seat = ports.streams.clone().try_acquire_owned().map_err(|_| {
        Failure(
            Problem::new(Class::Limit, "api.streams", format!("{STREAMS_MAX} streams are open already"))
                .with_hint("close a window that follows logs"),
        )
    })?;
    let (asked, reader) = (ports.clone(), caller.clone());
    let out = async move {
        loop {
            tokio::time::sleep(ASK_AGAIN_EVERY).await;
            if !reader.is_still_let_in(&asked).await {
                return;
            }
        }
    };
    let events = values.take_until(Box::pin(out)).map(move |value| {
        let _held = &seat;
        Ok::<_, Infallible>(Event::default().json_data(&value).unwrap_or_default())
    });
    let kept = KeepAlive::new().interval(Duration::from_secs(15));
    let mut response = Sse::new(events).keep_alive(kept).into_response();
    // A proxy in between must not wait for more.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}
