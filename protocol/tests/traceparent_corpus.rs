//! Every `traceparent` of the corpus is read or refused as its name says.

use std::path::Path;

use voxgate_protocol::trace_context::TraceParent;

#[test]
fn the_corpus_of_traceparents_is_read_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/traceparent");
    let mut read = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let parent = std::str::from_utf8(&bytes).ok().and_then(TraceParent::parse);
        // What a fuzzer finds is named by its digest and promises nothing.
        if ["valid-", "hostile-"].iter().any(|kind| name.starts_with(kind)) {
            assert_eq!(parent.is_some(), name.starts_with("valid-"), "{name}");
            read += 1;
        }
    }
    assert!(read >= 15, "the corpus has only {read} seeds");
}
