//! The example is what the README promises to deliver, so its service files have to be understood.

use std::path::Path;

#[test]
fn the_service_files_of_the_shop_are_understood_in_both_environments() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/shop");
    let workspace =
        service_file::load(&folder).unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    assert_eq!(workspace.services.len(), 5);
    let embedded = base::Environment::parse("embedded").unwrap();
    for service in &workspace.services {
        let own = service.in_environment(&embedded);
        let engines = own.needs.iter().filter(|(name, _)| ["db", "cache"].contains(&name.as_str())).count();
        assert_eq!(engines, 0, "{} needs an engine in the embedded environment", own.name);
    }
}
