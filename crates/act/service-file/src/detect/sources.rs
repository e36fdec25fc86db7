//! How a program listens, as far as its source says.

use super::{App, Draft, Folder, draft::Port};

/// Gives a service the port that its program listens on, when it does not ask for `PORT`.
pub(super) fn settle_port(folder: &Folder, draft: &mut Draft, app: &App) {
    let command = draft.command.clone().unwrap_or_default();
    if draft.port == Port::None || app.reads_port || command.contains("$PORT") || command.contains("${PORT") {
        return;
    }
    let texts: Vec<String> = app.sources.iter().filter_map(|file| folder.read(file)).collect();
    let (port, why) = if let Some(number) = port_argument(&command) {
        (Port::Fixed(number), format!("The command listens on port {number}."))
    } else if texts.iter().any(|text| mentions_port(text)) {
        (Port::Given, "The program asks for PORT, so each replica gets a port of its own.".to_owned())
    } else if let Some(number) = texts.iter().find_map(|text| fixed_port(text)).or(app.port) {
        let why = format!("The program seems to listen on port {number} and not to ask for PORT.");
        (Port::Fixed(number), why)
    } else {
        (Port::Given, "The program is expected to listen on the port that PORT names.".to_owned())
    };
    draft.port = port;
    draft.listens = Some(why);
}

/// The word PORT as a variable's name: not a part of another one.
pub(super) fn mentions_port(text: &str) -> bool {
    text.match_indices("PORT").any(|(at, word)| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        // `const PORT = 3000` alone does not ask the environment.
        let asks = before.is_some_and(|c| matches!(c, '.' | '"' | '\'' | '[' | '{' | '$'));
        asks && after.is_none_or(|c| !is_name(c))
    })
}

/// `listen(3000`, `port=3000`, `PORT = 3000` or `"0.0.0.0:3000"`.
fn fixed_port(text: &str) -> Option<u16> {
    const BEFORE: &[&str] = &[
        ".listen(",
        "port=",
        "port = ",
        "port: ",
        "PORT = ",
        "PORT=",
        "\"0.0.0.0:",
        "\"127.0.0.1:",
        "'0.0.0.0:",
        "'127.0.0.1:",
        "\":",
        "\"0.0.0.0\", ",
        "\"127.0.0.1\", ",
        "'0.0.0.0', ",
        "'127.0.0.1', ",
        "(\"\", ",
        "('', ",
    ];
    let mut found: Vec<(usize, u16)> = BEFORE
        .iter()
        .flat_map(|before| text.match_indices(before).map(|(at, word)| at + word.len()))
        .filter_map(|at| number(&text[at..]).map(|number| (at, number)))
        .collect();
    found.sort_unstable();
    found.first().map(|(_, number)| *number)
}

/// `--port 8000`, `--port=8000`, `-p 8000`, `--bind 0.0.0.0:8000`, `-b :8000`, `runserver 0.0.0.0:8000`.
pub(super) fn port_argument(command: &str) -> Option<u16> {
    let words: Vec<&str> = command.split_whitespace().collect();
    for (at, word) in words.iter().enumerate() {
        let (flag, value) = match word.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (*word, words.get(at + 1).copied()),
        };
        let Some(value) = value.map(|value| value.trim_matches(['"', '\''])) else { continue };
        let port = match flag {
            "--port" | "-p" | "-P" => number(value),
            "--bind" | "-b" | "--listen" | "-l" | "--addr" | "runserver" => {
                value.rsplit_once(':').and_then(|(_, port)| number(port)).or_else(|| number(value))
            }
            _ => None,
        };
        if port.is_some() {
            return port;
        }
    }
    None
}

/// A port number at the start of a text, of at least two digits.
fn number(text: &str) -> Option<u16> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end).filter(|digits| digits.len() >= 2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_source_and_commands() {
        assert!(mentions_port("app.listen(process.env.PORT || 3000)"));
        assert!(mentions_port("os.environ.get('PORT', 8000)"));
        assert!(mentions_port("std::env::var(\"PORT\")"));
        assert!(!mentions_port("const PORT = 3000; process.env.SUPPORT; EXPORTED"));
        assert_eq!(fixed_port("const PORT = 3000;\napp.listen(PORT)"), Some(3000));
        assert_eq!(fixed_port("app.listen(8080, () => {})"), Some(8080));
        assert_eq!(fixed_port("TcpListener::bind(\"0.0.0.0:9000\")"), Some(9000));
        assert_eq!(fixed_port("app.run(host='x', port=5000)"), Some(5000));
        assert_eq!(fixed_port("nothing"), None);
        assert_eq!(port_argument("uvicorn a:b --port 8000"), Some(8000));
        assert_eq!(port_argument("gunicorn -b 0.0.0.0:8001 a"), Some(8001));
        assert_eq!(port_argument("serve --port=$PORT"), None);
    }
}
