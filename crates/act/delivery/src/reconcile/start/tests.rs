use std::path::Path;

use super::*;
use crate::doubles::{Keep, Machine, delivered, ports};

const BYTES: &[u8] = &[0xff, 0xfe, 0x00, 0x80, b'k'];

async fn specification(text: &str, user: Option<u32>) -> Result<ReplicaSpec, Problem> {
    let home = tempfile::tempdir().unwrap();
    let keep = Keep(BTreeMap::from([
        ("KEY".to_owned(), BYTES.to_vec()),
        ("ZERO".to_owned(), b"a\0b".to_vec()),
        ("TEXT".to_owned(), b"plain".to_vec()),
    ]));
    let ports = ports(home.path(), &Arc::new(Machine::default()), keep);
    let (service, mut record, release) = delivered(text);
    record.user = user;
    let start = Start {
        scope: Scope::default(),
        revision: release.id.to_string(),
        record,
        release,
        definition: Arc::new(Definition::Service(Box::new(service))),
        job: None,
    };
    start.specification(&ports).await
}

#[tokio::test]
async fn a_secret_that_is_no_text_arrives_in_its_file_byte_for_byte() {
    let text = "name: web\nrun: {command: serve}\nsecrets: {KEY: {as: file, path: tls.key}, TEXT: {}}\n";
    let specification = specification(text, None).await.unwrap();
    let [file] = specification.files.as_slice() else { panic!("{:?}", specification.files) };
    assert_eq!((file.path.as_path(), file.content.as_slice()), (Path::new("tls.key"), BYTES));
    assert!(file.secret);
    assert_eq!(specification.environment["TEXT"], EnvValue::Secret("plain".into()));
}

#[tokio::test]
async fn a_secret_that_is_no_text_is_refused_where_text_is_needed() {
    for text in [
        "name: web\nrun: {command: serve}\nsecrets: {KEY: {}}\n",
        "name: web\nrun: {command: serve}\nsecrets: {KEY: {as: template}}\nconfig: {values: {A: \"${secrets.KEY}\"}}\n",
        "name: web\nrun: {command: serve}\nsecrets: {KEY: {as: file}}\nconfig: {files: {a.conf: \"k=${secrets.KEY}\"}}\n",
        "name: web\nrun: {command: serve}\nsecrets: {KEY: {from: ZERO}}\n",
    ] {
        let problem = specification(text, None).await.unwrap_err();
        assert_eq!(problem.code, "delivery.secret_not_text", "{text}");
        assert!(problem.message.contains("`KEY`"), "{problem}");
        assert!(problem.hint.unwrap().contains("as: file"));
    }
}

#[tokio::test]
async fn the_user_of_the_file_is_checked() {
    let asks = |user: &str| format!("name: web\nrun: {{command: serve, user: \"{user}\"}}\n");
    let own = u32::try_from(crate::books::USER_FIRST).unwrap() + 7;
    let other = (own + 1).to_string();
    assert_eq!(specification(&asks(&other), Some(own)).await.unwrap_err().code, "delivery.user_reserved");
    assert_eq!(specification(&asks("nobody"), Some(own)).await.unwrap().user, Some((65_534, 65_534)));
    let silent = "name: web\nrun: {command: serve}\n";
    assert_eq!(specification(silent, Some(own)).await.unwrap().user, Some((own, own)));
}
