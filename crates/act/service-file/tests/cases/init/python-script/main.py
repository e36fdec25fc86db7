import http.server
http.server.HTTPServer(("127.0.0.1", 8123), H).serve_forever()
# bind(("", 8123))
