use std::collections::BTreeSet;
use std::path::Path;

use super::{Asset, asset, assets};

fn text(asset: &Asset) -> &'static str {
    std::str::from_utf8(asset.body).unwrap()
}

/// The parts of `text` between `before` and the next `after`.
fn between<'a>(text: &'a str, before: &str, after: char) -> impl Iterator<Item = &'a str> {
    text.split(before).skip(1).filter_map(move |rest| rest.split_once(after).map(|(part, _)| part))
}

#[test]
fn the_talk_page_is_at_the_root() {
    let page = asset("/").unwrap();
    assert_eq!(page.content_type, "text/html; charset=utf-8");
    assert!(text(page).starts_with("<!doctype html>"));
}

#[test]
fn paths_outside_the_pages_have_no_asset() {
    for path in ["", "/talk", "/talk/", "/talk/../talk/page.js", "/talk/page.js?x", "/talk/events.test.js"] {
        assert_eq!(asset(path), None, "{path}");
    }
}

#[test]
fn every_file_of_the_page_is_embedded_and_tests_are_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/talk");
    let written: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".test.js") && name != "index.html")
        .map(|name| format!("/talk/{name}"))
        .collect();
    let embedded: BTreeSet<String> =
        assets().iter().map(|asset| asset.path.to_owned()).filter(|path| path != "/").collect();
    assert_eq!(written, embedded);
}

#[test]
fn every_module_that_is_imported_exists() {
    for importer in assets().iter().filter(|asset| asset.path.ends_with(".js")) {
        for module in between(text(importer), "from \"./", '"') {
            assert!(asset(&format!("/talk/{module}")).is_some(), "{} imports {module}", importer.path);
        }
    }
}

#[test]
fn everything_the_page_loads_is_embedded() {
    let page = text(asset("/").unwrap());
    let loaded: Vec<&str> = between(page, "=\"/talk/", '"').collect();
    assert!(loaded.len() >= 4, "{loaded:?}");
    for name in loaded {
        assert!(asset(&format!("/talk/{name}")).is_some(), "{name}");
    }
}

#[test]
fn nothing_is_inline_or_comes_from_elsewhere() {
    let page = text(asset("/").unwrap());
    for forbidden in ["<style", " style=", "<script>", " onclick=", "http://", "https://"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    for sheet in assets().iter().filter(|asset| asset.path.ends_with(".css")) {
        assert!(!text(sheet).contains("@import") && !text(sheet).contains("url("), "{}", sheet.path);
    }
}

#[test]
fn the_names_that_browser_tests_rely_on_are_there() {
    let page = text(asset("/").unwrap());
    let names = [
        "connect",
        "mute",
        "end",
        "stop",
        "status",
        "transcript",
        "waterfall",
        "error",
        "mic-level",
        "key",
        "text-input",
    ];
    for name in names {
        assert!(page.contains(&format!("id=\"{name}\"")), "id {name}");
        assert!(page.contains(&format!("data-testid=\"{name}\"")), "data-testid {name}");
    }
}

#[test]
fn every_hop_of_the_gateway_has_words_on_the_page() {
    let words = text(asset("/talk/hops.js").unwrap());
    for hop in voxgate_protocol::timeline::Hop::ALL {
        assert!(words.contains(&format!("\n  {}: [", hop.as_str())), "{}", hop.as_str());
    }
}

#[test]
fn different_content_has_different_tags() {
    let tags: BTreeSet<&str> = assets().iter().map(|asset| asset.etag).collect();
    assert_eq!(tags.len(), assets().len());
    assert!(tags.iter().all(|tag| tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"')));
}
