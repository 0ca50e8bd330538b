//! Replays the corpora of the fuzz targets: whatever comes from outside, nothing panics and nothing wrong gets in.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its corpus fails")]

use std::path::Path;
use std::time::Duration;

use voxgate_policy::guardrail::Opinion;
use voxgate_policy::money::invoice;
use voxgate_policy::token::{Issuer, KeySet, claimed_issuer, verify};
use voxgate_policy::tool::{ArgumentLimit, ToolRule, ToolRules};
use voxgate_protocol::tenant::{OrganisationId, TeamId};

fn corpus(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.unwrap().path();
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        (path.file_name().unwrap().to_string_lossy().into_owned(), text)
    };
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(read).collect();
    assert!(files.len() > 1);
    files
}

#[test]
fn of_all_arguments_only_those_that_fit_get_through() {
    let limit = ArgumentLimit::Number { minimum: 0.0, maximum: 100.0 };
    let rule = ToolRule {
        arguments: [("amount".to_owned(), limit)].into(),
        allows_others: true,
        ..ToolRule::default()
    };
    let rules = ToolRules { tools: [("pay".to_owned(), rule)].into(), allows_others: false };
    for (name, text) in corpus("tool-arguments") {
        assert_eq!(rules.check("pay", &text).is_ok(), name == "fits.json", "{name}");
    }
}

#[test]
fn of_all_answers_of_a_judge_only_the_whole_one_counts() {
    for (name, text) in corpus("opinions") {
        assert_eq!(Opinion::parse(text.as_bytes()).is_ok(), name == "fits.json", "{name}");
    }
}

#[test]
fn of_all_tokens_only_the_signed_one_gets_in_and_no_key_set_breaks_anything() {
    let issuer = Issuer {
        issuer: "https://id.example".to_owned(),
        audience: "voxgate".to_owned(),
        leeway: Duration::from_secs(60),
        organisation: OrganisationId::default(),
        team_claim: None,
        default_team: Some(TeamId::default()),
        role_claim: None,
        roles: [].into(),
        default_role: Some(voxgate_policy::directory::Role::Member),
        agent_claim: Some("agent".to_owned()),
    };
    let mut let_in = Vec::new();
    for (set, keys) in corpus("key-sets") {
        let Ok(keys) = KeySet::parse(&keys) else { continue };
        for (name, token) in corpus("tokens") {
            let _ = claimed_issuer(&token);
            if verify(token.trim(), &issuer, &keys, 1_000_300).is_ok() {
                let_in.push((set.clone(), name));
            }
        }
    }
    assert_eq!(let_in, [("rsa.json".to_owned(), "rs256.jwt".to_owned())]);
}

#[test]
fn of_all_invoices_only_the_sound_ones_are_read() {
    for (name, text) in corpus("invoices") {
        let is_sound = ["plain.csv", "quoted.csv"].contains(&name.as_str());
        assert_eq!(invoice::parse(&text).is_ok(), is_sound, "{name}");
    }
}
