fn main() { let l = TcpListener::bind("0.0.0.0:3000"); }
