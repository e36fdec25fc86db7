//! Every bound of the gateway by name.

use std::time::Duration;

/// The bounds that an operator may move. The rest are constants of this file.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests in flight per thread, see [`REQUESTS_IN_FLIGHT_MAX`].
    pub requests_in_flight_max: u64,
    /// Requests on one connection, see [`CONNECTION_REQUESTS_MAX`].
    pub connection_requests_max: u32,
    /// Client connections over all threads. At the limit idle ones are closed to make room, and
    /// when there are none, new ones are answered 503 and closed.
    pub connections_max: usize,
    /// From a request's first byte to the end of its head; a trickle does not extend it.
    pub head_timeout: Duration,
    /// Between two pieces of a request body. After [`BODY_RATE_GRACE`] the average rate must
    /// also reach [`BODY_RATE_BYTES_PER_S`].
    pub body_timeout: Duration,
    /// A client connection without a request.
    pub idle_timeout: Duration,
    /// A client that does not take what is sent to it.
    pub write_timeout: Duration,
    /// An upgraded connection or an event stream without a byte in either direction.
    pub tunnel_timeout: Duration,
    /// Time that requests in flight have to finish once draining starts.
    pub drain_budget: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_in_flight_max: REQUESTS_IN_FLIGHT_MAX,
            connection_requests_max: CONNECTION_REQUESTS_MAX,
            connections_max: 10_000,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            tunnel_timeout: Duration::from_secs(3_600),
            drain_budget: Duration::from_secs(30),
        }
    }
}

/// A request or trailer head that is longer is answered 431.
pub const REQUEST_HEAD_BYTES_MAX: usize = 32 << 10;
/// A request target that is longer is answered 414.
pub const TARGET_BYTES_MAX: usize = 16 << 10;
/// Header fields of a request (431) or a response (502).
pub const HEADERS_MAX: usize = 100;
/// A response head that is longer is answered 502.
pub const RESPONSE_HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes of one chunk's size line, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// The start of a request that is kept so that it can be sent again.
pub const REPLAY_BYTES_MAX: usize = 64 << 10;
/// Bytes read or written in one go.
pub const IO_BYTES: usize = 64 << 10;
/// First read of a connection; most heads fit.
pub const HEAD_BYTES: usize = 8 << 10;
/// Pipelined bytes read while a response is under way.
pub const PIPELINE_BYTES_MAX: usize = 64 << 10;

/// Time after which a request body's average rate counts.
pub const BODY_RATE_GRACE: Duration = Duration::from_secs(60);
pub const BODY_RATE_BYTES_PER_S: u64 = 128;

/// Time an unused upstream connection is kept. Below the five seconds after which Node.js closes
/// idle connections, so that a request rarely meets a closing one.
pub const UPSTREAM_IDLE: Duration = Duration::from_millis(4_000);
/// Unused upstream connections kept per endpoint and thread.
pub const UPSTREAM_IDLE_MAX: usize = 256;
/// Endpoints tried in all for one request while nothing has reached any of them.
pub const CONNECT_ATTEMPTS_MAX: usize = 4;

/// Requests on one HTTP/1 connection; then it is closed. Bounds what one connection can hold on to.
pub const CONNECTION_REQUESTS_MAX: u32 = 100_000;
/// Requests in flight per thread, over all connections and streams; more are answered 503.
pub const REQUESTS_IN_FLIGHT_MAX: u64 = 20_000;
/// Requests at the same time on one HTTP/2 connection.
pub const H2_STREAMS_MAX: u32 = 128;

/// Unbroken failures (a refused connection counts [`EJECT_CONNECT_WEIGHT`]) that take an endpoint
/// out for a while.
pub const EJECT_AFTER: u32 = 5;
pub const EJECT_CONNECT_WEIGHT: u32 = 3;
/// First time out; it doubles up to the maximum with each further one.
pub const EJECT_BASE: Duration = Duration::from_secs(1);
pub const EJECT_MAX: Duration = Duration::from_secs(30);

/// Retries that each route may always make in ten seconds on each thread, however few requests
/// it has.
pub const RETRY_FLOOR: u64 = 10;

/// Rows of counters per second; what does not fit is summed up in one row called `other`.
pub const SERIES_MAX: usize = 10_000;
/// Seconds of samples that the admin socket replays.
pub const SAMPLES_REPLAY_SECONDS: usize = 60;
/// Readers of samples at the same time, and seconds that one may lag behind.
pub const SAMPLE_READERS_MAX: usize = 16;
pub const SAMPLE_LAG_SECONDS: usize = 64;

/// Batches of access log lines waiting for the writer; further ones are dropped and counted.
pub const LOG_QUEUE_BATCHES: usize = 256;
/// A batch goes to the writer when it reaches this size, or after a second.
pub const LOG_BATCH_BYTES: usize = 32 << 10;
/// One access log file; then it is renamed to `.1` and so on.
pub const LOG_FILE_BYTES_MAX: u64 = 64 << 20;
/// Access log files kept, the current one included.
pub const LOG_FILES_MAX: usize = 4;
/// A path longer than this is cut in the log.
pub const LOG_PATH_BYTES_MAX: usize = 1_024;

/// Connections to the admin socket at the same time; further ones wait.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A snapshot file that is larger is refused.
pub const SNAPSHOT_BYTES_MAX: u64 = 64 << 20;
/// How often the snapshot and the certificates are looked at even when no event came.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Problems that the status lists.
pub const PROBLEMS_MAX: usize = 50;
