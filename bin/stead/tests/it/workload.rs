//! What is delivered in these tests: a small web server in Python, and service files for it.

use std::path::Path;

/// Where Debian puts it; a Python under somebody's home could not be run by other users.
const PYTHON: &str = "/usr/bin/python3";

/// Whether Python is there; says so when it is not.
pub(crate) fn python(test: &str) -> bool {
    let there = Path::new(PYTHON).exists();
    if !there {
        println!("SKIP {test}: {PYTHON} is missing (Debian package python3)");
    }
    there
}

/// A web server that answers with the content of `content.txt`, and does what its paths ask for.
pub(crate) const APP: &str = r#"
import http.server, os, sys, time
from urllib.parse import urlparse, parse_qs

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def answer(self, text, status=200):
        body = text.encode()
        head = "HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        self.wfile.write(head.encode() + body)

    def do_GET(self):
        url = urlparse(self.path)
        ask = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path == "/exit":
            os._exit(int(ask["code"]))
        elif url.path == "/env":
            self.answer(os.environ.get(ask["name"], "(unset)"))
        elif url.path == "/file":
            self.answer(open(os.path.expandvars(ask["path"])).read())
        elif url.path == "/slow":
            time.sleep(float(ask["seconds"]))
            self.answer("slow")
        elif url.path == "/pid":
            self.answer(str(os.getpid()))
        elif url.path == "/uid":
            self.answer(str(os.getuid()))
        else:
            self.answer(open("content.txt").read())

    def log_message(self, *args):
        pass

class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

print("listening on", os.environ["PORT"], flush=True)
print("a word on stderr", file=sys.stderr, flush=True)
Server(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

/// The service file of [`APP`] with `more` lines at its end.
pub(crate) fn service(name: &str, replicas: u32, more: &str) -> String {
    format!(
        "name: {name}\n\
         run:\n\
         \x20 command: {PYTHON} app.py\n\
         \x20 replicas: {replicas}\n\
         \x20 health:\n\
         \x20   readiness: {{http: {{path: /}}, interval: 200ms}}\n\
         \x20 stop: {{grace: 3s}}\n\
         expose: /\n\
         {more}"
    )
}
