use std::collections::BTreeSet;

use cedar_policy::{Authorizer as Engine, PolicySet};
use proptest::prelude::*;
use voxgate_protocol::tenant::{KeyId, OrganisationId, TeamId, TenantPath};

use super::*;
use crate::decision::{Authorizer, PolicyFile, Question, Risk};
use crate::directory::{Caller, Role};

/// Conditions of a tool call: some hold, some do not, one cannot be judged.
const ATOMS: [&str; 14] = [
    "principal in Role::\"member\"",
    "principal in Role::\"owner\"",
    "principal is Key",
    "principal.team == Team::\"acme/red\"",
    "principal.organisation != Organisation::\"acme\"",
    "resource == Tool::\"pay\"",
    "resource != Tool::\"say \\\"it\\\" \\\\ \\u{fc}ber\"",
    "resource.risk == \"dangerous\"",
    "resource.risk like \"*read\\*only\"",
    "resource.risk like \"read_*\"",
    "[\"ordinary\", \"dangerous\"].contains(resource.risk)",
    "{ rank: 1 + 2 * 3 - 4, name: \"x\" }.rank <= 3",
    "if principal in Role::\"owner\" then resource.risk == \"read_only\" else principal has team",
    "9223372036854775807 + 1 > 0",
];

/// Conditions as people join them.
fn expression() -> impl Strategy<Value = String> {
    let atom = proptest::sample::select(ATOMS.to_vec()).prop_map(str::to_owned);
    atom.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) && ({other})")),
            (inner.clone(), inner.clone()).prop_map(|(one, other)| format!("({one}) || ({other})")),
            inner.prop_map(|one| format!("!({one})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let scope = proptest::sample::select(vec![
        "principal, action, resource",
        "principal in Team::\"acme/red\", action == Action::\"tool.call\", resource",
        "principal is Key in Team::\"acme/red\", action, resource is Tool",
        "principal == Key::\"acme/red/web\", action in [Action::\"tool.call\", Action::\"admin\"], resource",
        "principal is User, action == Action::\"tool.call\", resource == Tool::\"pay\"",
    ]);
    let clauses = proptest::collection::vec((any::<bool>(), expression()), 0..3);
    (any::<bool>(), scope, clauses).prop_map(|(forbids, scope, clauses)| {
        let effect = if forbids { "forbid" } else { "permit" };
        let word = |is_wanted: &bool| if *is_wanted { "when" } else { "unless" };
        let clauses: String =
            clauses.iter().map(|(wanted, text)| format!(" {} {{ {text} }}", word(wanted))).collect();
        format!("{effect} ({scope}){clauses};")
    })
}

fn caller(role: Role) -> Caller {
    let tenancy = TenantPath {
        organisation: OrganisationId::new("acme").unwrap(),
        team: TeamId::new("red").unwrap(),
        key: KeyId::new("web").unwrap(),
        agent: None,
    };
    Caller { tenancy, role, ..Caller::default() }
}

/// What Cedar says of the policies as they were written: who decided, or nothing if one could not be judged.
fn judged_whole(
    authorizer: &Authorizer,
    text: &str,
    caller: &Caller,
    question: &Question<'_>,
) -> Vec<String> {
    let whole: PolicySet = format!("{text}{}", include_str!("../isolation.cedar")).parse().unwrap();
    let (request, entities, _) = authorizer.put(caller, question).unwrap();
    let response = Engine::new().is_authorized(&request, &whole, &entities);
    if response.diagnostics().errors().next().is_some() {
        return Vec::new();
    }
    let id = |id| whole.policy(id).unwrap().annotation("id").unwrap().to_owned();
    let deciding: BTreeSet<String> = response.diagnostics().reason().map(id).collect();
    deciding.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn taking_policies_apart_changes_no_answer(policies in proptest::collection::vec(policy(), 1..6)) {
        // Those the schema refuses are left out.
        let numbered = policies.iter().enumerate().map(|(number, text)| format!("@id(\"{number}\") {text}\n"));
        let text: String = numbered
            .filter(|text| Authorizer::load(&[PolicyFile { name: "one.cedar", text }]).is_ok())
            .collect();
        prop_assume!(!text.is_empty());
        let authorizer = Authorizer::load(&[PolicyFile { name: "all.cedar", text: &text }]).unwrap();
        for role in [Role::Owner, Role::Member] {
            for (tool, risk) in [("pay", Risk::Dangerous), ("look", Risk::ReadOnly)] {
                let question = Question::ToolCall { tool, risk };
                let caller = caller(role);
                let decision = authorizer.decide(&caller, &question);
                let names: Vec<String> = decision.policies.iter().map(ToString::to_string).collect();
                prop_assert_eq!(names, judged_whole(&authorizer, &text, &caller, &question), "{}", text);
            }
        }
    }
}

#[test]
fn a_condition_many_policies_share_is_kept_once() {
    let mut vocabulary = Vocabulary::default();
    let mut shared = Conditions::default();
    let texts = ["resource == Tool::\"pay\"", "principal in Role::\"owner\"", "resource == Tool::\"pay\""];
    let places = texts.map(|text| shared.place(&vocabulary.read(text.to_owned()).unwrap()));
    assert_eq!(places, [0, 1, 0]);
    assert_eq!(shared.all.len(), 2);
}

#[test]
fn a_policy_is_its_scope_and_the_parts_of_its_clauses() {
    let text =
        "permit (principal in Team::\"a/b\", action in [Action::\"x\", Action::\"y\"], resource is Tool)
         when { resource.risk == \"dangerous\" && (context.a || context.b) && true }
         unless { context.c && context.d };";
    let policy = Policy::parse(None, text).unwrap();
    let expected = [
        "principal in Team::\"a/b\"",
        "action in [Action::\"x\", Action::\"y\"]",
        "resource is Tool",
        "resource.risk == \"dangerous\"",
        "context.a || context.b",
        "true",
        "!(context.c && context.d)",
    ];
    assert_eq!(conditions(&policy).unwrap(), expected);
}

#[test]
fn a_text_that_is_more_than_one_condition_is_refused() {
    let mut vocabulary = Vocabulary::default();
    assert!(vocabulary.read("context.a && context.b".to_owned()).is_err());
    assert!(vocabulary.read("true } when { false".to_owned()).is_err());
}
