//! Who may do what: people, roles, sessions, tokens, one decision point.
