//! Server-sent events, bounded in number and kept alive.

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
    problem::{Answer, Failure},
};

/// A stream of JSON values as server-sent events. It ends when the client goes or Stead stops.
pub(crate) fn sse<T: Serialize + Send + 'static>(
    ports: &Ports,
    values: impl Stream<Item = T> + Send + 'static,
) -> Answer<Response> {
    let seat = ports.streams.clone().try_acquire_owned().map_err(|_| {
        Failure(
            Problem::new(Class::Limit, "api.streams", format!("{STREAMS_MAX} streams are open already"))
                .with_hint("close a window that follows logs"),
        )
    })?;
    let events = values.map(move |value| {
        let _held = &seat;
        Ok::<_, Infallible>(Event::default().json_data(&value).unwrap_or_default())
    });
    let kept = KeepAlive::new().interval(Duration::from_secs(15));
    let mut response = Sse::new(events).keep_alive(kept).into_response();
    // A proxy in between must not wait for more.
    response.headers_mut().insert("x-accel-buffering", axum::http::HeaderValue::from_static("no"));
    Ok(response)
}
