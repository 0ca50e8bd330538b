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

const PAGES: [&str; 2] = ["/", "/dashboard"];
const FOLDERS: [&str; 5] = ["client", "talk", "dashboard", "shared", "vendor/uplot"];

#[test]
fn the_talk_page_is_at_the_root() {
    let page = asset("/").unwrap();
    assert_eq!(page.content_type, "text/html; charset=utf-8");
    assert!(text(page).starts_with("<!doctype html>"));
}

#[test]
fn every_address_of_the_dashboard_is_its_one_page() {
    for path in [
        "/dashboard",
        "/dashboard/",
        "/dashboard/sessions",
        "/dashboard/sessions/sess_1",
        "/dashboard/no-such",
    ] {
        assert_eq!(asset(path), asset("/dashboard"), "{path}");
    }
    assert_ne!(asset("/dashboard"), asset("/"));
    assert_eq!(asset("/dashboard/page.js").unwrap().content_type, "text/javascript; charset=utf-8");
}

#[test]
fn paths_outside_the_pages_have_no_asset() {
    for path in [
        "",
        "/talk",
        "/talk/",
        "/talk/../talk/page.js",
        "/talk/page.js?x",
        "/talk/events.test.js",
        "/dashboards",
        "/dashboard/no-such.js",
        "/dashboard/order.test.js",
    ] {
        assert_eq!(asset(path), None, "{path}");
    }
}

#[test]
fn every_file_of_the_pages_is_embedded_and_tests_are_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let written: BTreeSet<String> = FOLDERS
        .iter()
        .flat_map(|folder| {
            std::fs::read_dir(root.join(folder)).unwrap().map(move |entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                format!("/{folder}/{name}")
            })
        })
        .filter(|name| !name.ends_with(".test.js") && !name.ends_with("/index.html"))
        .collect();
    let embedded: BTreeSet<String> =
        assets().map(|asset| asset.path.to_owned()).filter(|path| !PAGES.contains(&path.as_str())).collect();
    assert_eq!(written, embedded);
}

/// The path that `module` names in a file at `importer`.
fn resolved(importer: &str, module: &str) -> String {
    let mut parts: Vec<&str> = importer.split('/').collect();
    parts.pop();
    for part in module.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[test]
fn every_module_that_is_imported_exists() {
    let mut imports = 0;
    for importer in assets().filter(|asset| asset.path.ends_with(".js")) {
        let script = text(importer);
        for module in between(script, "from \".", '"').chain(between(script, "import(\".", '"')) {
            let path = resolved(importer.path, &format!(".{module}"));
            assert!(asset(&path).is_some(), "{} imports {path}", importer.path);
            imports += 1;
        }
    }
    assert!(imports > 40, "{imports}");
}

#[test]
fn everything_the_pages_load_is_embedded() {
    for path in PAGES {
        let page = text(asset(path).unwrap());
        let loaded: Vec<&str> = between(page, "src=\"", '"')
            .chain(between(page, "<link rel=\"stylesheet\" href=\"", '"'))
            .collect();
        assert!(loaded.len() >= 4, "{loaded:?}");
        for name in loaded {
            assert!(assets().any(|asset| asset.path == name), "{name}");
        }
    }
}

#[test]
fn nothing_is_inline_or_comes_from_elsewhere() {
    for path in PAGES {
        let page = text(asset(path).unwrap());
        for forbidden in ["<style", " style=", "<script>", " onclick=", "http://", "https://"] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }
    for sheet in assets().filter(|asset| asset.path.ends_with(".css")) {
        assert!(!text(sheet).contains("@import") && !text(sheet).contains("url("), "{}", sheet.path);
    }
}

/// Data never becomes markup: our scripts have no way to write any.
#[test]
fn no_script_of_ours_writes_markup() {
    for script in assets().filter(|asset| asset.path.ends_with(".js") && !asset.path.starts_with("/vendor/"))
    {
        for forbidden in
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval("]
        {
            assert!(!text(script).contains(forbidden), "{} has {forbidden}", script.path);
        }
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
    let words = text(asset("/shared/hops.js").unwrap());
    for hop in voxgate_protocol::timeline::Hop::ALL {
        assert!(words.contains(&format!("\n  {}: [", hop.as_str())), "{}", hop.as_str());
    }
}

#[test]
fn different_content_has_different_tags() {
    let tags: BTreeSet<&str> = assets().map(|asset| asset.etag).collect();
    assert_eq!(tags.len(), assets().count());
    assert!(tags.iter().all(|tag| tag.len() == 18 && tag.starts_with('"') && tag.ends_with('"')));
}
