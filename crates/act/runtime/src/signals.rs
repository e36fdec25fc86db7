//! Signal names and numbers.

use rustix::process::Signal;

const NAMES: &[(&str, Signal)] = &[
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("ILL", Signal::ILL),
    ("TRAP", Signal::TRAP),
    ("ABRT", Signal::ABORT),
    ("BUS", Signal::BUS),
    ("FPE", Signal::FPE),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("SEGV", Signal::SEGV),
    ("USR2", Signal::USR2),
    ("PIPE", Signal::PIPE),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("TSTP", Signal::TSTP),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
    ("WINCH", Signal::WINCH),
    ("PWR", Signal::POWER),
    ("SYS", Signal::SYS),
];

/// A signal by its name, with or without `SIG`.
pub(crate) fn by_name(name: &str) -> Option<Signal> {
    let bare = name.strip_prefix("SIG").unwrap_or(name);
    NAMES.iter().find(|(known, _)| *known == bare).map(|(_, signal)| *signal)
}

/// `SIGTERM`, or `signal 40` for one without a name.
pub(crate) fn name_of(number: i32) -> String {
    match NAMES.iter().find(|(_, signal)| signal.as_raw() == number) {
        Some((name, _)) => format!("SIG{name}"),
        None => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_both_ways() {
        assert_eq!(by_name("TERM"), by_name("SIGTERM"));
        assert_eq!(by_name("TERM"), Some(Signal::TERM));
        assert_eq!(by_name("term"), None);
        assert_eq!(name_of(9), "SIGKILL");
        assert_eq!(name_of(40), "signal 40");
    }
}
