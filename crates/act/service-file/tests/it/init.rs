//! `stead init` on folders of other people's.

use std::{fs, path::Path};

use service_file::{Options, Workspace, detect};

use crate::{cases_folder, check};

#[test]
fn folders_give_files_that_we_read() {
    let mut folders: Vec<_> = fs::read_dir(cases_folder().join("init"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    assert!(folders.len() > 15);
    for folder in folders {
        let detected = detect(&folder).unwrap();
        let mut out = detected.text.clone();
        out.push_str("\n== assumed ==\n");
        for sentence in &detected.assumptions {
            out.push_str(&format!("- {sentence}\n"));
            assert!(sentence.ends_with('.'), "{sentence}");
        }
        check(&folder.with_extension("txt"), &out);
        let document = (Path::new("x/stead.yaml").to_owned(), detected.text.clone());
        let read = Workspace::from_documents([document], &Options::default());
        assert!(read.is_ok(), "{}\n{}\n{}", folder.display(), detected.text, read.unwrap_err());
        assert!(detected.text.lines().count() < 120, "{}", folder.display());
        let schema = service_file::schema();
        for document in service_file::documents_as_json(&detected.text) {
            let wrong = crate::json_schema::problems(&schema, &schema, &document, "");
            assert!(wrong.is_empty(), "{}: {wrong:#?}", folder.display());
        }
    }
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    assert!(detect(Path::new("/nonexistent/folder")).is_err());
}

#[test]
fn huge_files_are_not_looked_into() {
    let folder = tempfile::tempdir().unwrap();
    let file = fs::File::create(folder.path().join("package.json")).unwrap();
    file.set_len(64 << 20).unwrap();
    assert!(!detect(folder.path()).unwrap().recognised);
}
