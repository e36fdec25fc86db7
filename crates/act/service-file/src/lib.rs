//! The service file: `stead.yaml` from text to a checked model.
//!
//! What it is: the parser with places and hints, the [`model`] with its canonical form, [`template`]s,
//! the published JSON [`schema`], the loading of a folder of services in dependency order
//! ([`load`]), and the guess behind `stead init` ([`detect`]). What it is not: it starts
//! nothing, asks nobody and knows no state; the only I/O is reading the files it is pointed at.
//!
//! Enter at [`load`] (a path), [`parse`] (a text) or [`detect`] (a folder without a file).
//!
//! ```
//! let parsed = service_file::parse("stead.yaml", "name: web\nrun: {command: node server.js}\n");
//! assert_eq!(parsed.services[0].base().name.as_str(), "web");
//! ```
//!
//! Everything that is wrong is reported at once, each with file, line, column, the offending text
//! and a hint. Reading is bounded: [`FILE_BYTES_MAX`], [`DEPTH_MAX`], [`NODES_MAX`] (aliases
//! counted with what they bring), [`DOCUMENTS_MAX`], [`Diagnostics::ITEMS_MAX`].
//!
//! Merging an environment's overlay: maps merge key by key, lists and everything else are
//! replaced, `null` removes.

#![forbid(unsafe_code)]

mod decode;
mod detect;
mod diagnostic;
mod file;
pub mod model;
mod names;
mod overlay;
pub mod schema;
mod source;
pub mod suggest;
pub mod template;
mod workspace;
pub mod yaml;

pub use self::{
    detect::{Detected, detect},
    diagnostic::{Diagnostic, Diagnostics},
    file::{FILE_NAME, Parsed, ServiceFile, parse},
    model::Service,
    schema::schema,
    source::{Location, Source, TextRange},
    template::Template,
    workspace::{FOLDER_DEPTH_MAX, FOLDERS_MAX, Options, SERVICES_MAX, Workspace, load, load_with},
    yaml::{DEPTH_MAX, DOCUMENTS_MAX, FILE_BYTES_MAX, NODES_MAX},
};

/// The documents of a file as JSON, for checking them against [`schema()`]; those that are no YAML
/// are left out.
#[must_use]
pub fn documents_as_json(text: &str) -> Vec<serde_json::Value> {
    yaml::parse(&Source::new("stead.yaml", text.to_owned())).0.iter().map(yaml::Node::to_json).collect()
}

/// Entry for a fuzzer: whatever the bytes are, nothing panics, every place lies in the text, and
/// what is accepted keeps its canonical form when read back.
pub fn fuzz(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parsed = parse("fuzz/stead.yaml", &text);
    for diagnostic in &parsed.problems.items {
        if let Some(location) = &diagnostic.location {
            let width = location.line_text.chars().count() as u32;
            assert!(location.line >= 1 && location.column >= 1);
            assert!(location.mark_start <= width && location.mark_len <= width.max(1));
        }
    }
    let _ = parsed.problems.render(true);
    for file in &parsed.services {
        let canonical = file.base().canonical();
        let again = Service::from_canonical(canonical.clone()).map(|service| service.canonical());
        assert_eq!(again.ok(), Some(canonical));
    }
    let _ = Template::parse(&text);
}
