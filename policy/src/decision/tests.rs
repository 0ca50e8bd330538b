use voxgate_protocol::tenant::{AgentId, KeyId, OrganisationId, TeamId, TenantPath};

use super::*;
use crate::directory::Role;

fn caller(organisation: &str, team: &str, role: Role) -> Caller {
    let tenancy = TenantPath {
        organisation: OrganisationId::new(organisation).unwrap(),
        team: TeamId::new(team).unwrap(),
        key: KeyId::new("web").unwrap(),
        agent: None,
    };
    Caller { tenancy, role, ..Caller::default() }
}

fn load(text: &str) -> Authorizer {
    let loaded = Authorizer::load(&[PolicyFile { name: "mine.cedar", text }]);
    loaded.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(text: &str) -> Vec<String> {
    let loaded = Authorizer::load(&[PolicyFile { name: "mine.cedar", text }]);
    loaded.unwrap_err().iter().map(ToString::to_string).collect()
}

const START: Question<'static> = Question::SessionStart { transport: "webrtc", purpose: "conversation" };

fn model<'a>(model: &'a str, region: Option<&'a str>) -> Question<'a> {
    Question::ModelUse { model, provider: "openai", region, purpose: "conversation" }
}

const fn tool(tool: &str, risk: Risk) -> Question<'_> {
    Question::ToolCall { tool, risk }
}

fn names(decision: &Decision) -> Vec<&str> {
    decision.policies.iter().map(AsRef::as_ref).collect()
}

#[test]
fn without_policies_of_its_own_an_installation_lets_every_key_call() {
    let authorizer = Authorizer::load(&[]).unwrap();
    let member = caller("acme", "red", Role::Member);
    for question in [START, model("gpt-realtime", Some("us")), tool("look_up", Risk::Ordinary)] {
        let decision = authorizer.decide(&member, &question);
        assert_eq!(decision.effect, Effect::Allow, "{question:?}");
        assert_eq!(names(&decision), ["callers-call"]);
        assert_eq!(decision.obligations, Obligations::default());
    }
    let keep = Duration::from_secs(60);
    assert!(authorizer.decide(&member, &Question::RecordTranscript { keep }).is_possible());
    assert!(authorizer.decide(&member, &Question::DataTransfer { region: "us" }).is_possible());
}

#[test]
fn a_dangerous_tool_waits_for_a_person_and_the_answer_says_why() {
    let authorizer = Authorizer::load(&[]).unwrap();
    let decision = authorizer.decide(&caller("acme", "red", Role::Member), &tool("refund", Risk::Dangerous));
    assert_eq!(decision.effect, Effect::AskPerson);
    assert_eq!(names(&decision), ["callers-call", "dangerous-tools-wait-for-a-person"]);
}

#[test]
fn roles_administer_their_own_team_and_nobody_anothers_organisation() {
    let authorizer = Authorizer::load(&[]).unwrap();
    let ask = |role, writes, subject: &str, organisation: &str, team: Option<&str>| {
        let organisation = OrganisationId::new(organisation).unwrap();
        let team = team.map(|team| TeamId::new(team).unwrap());
        let question =
            Question::Administer { writes, subject, organisation: &organisation, team: team.as_ref() };
        authorizer.decide(&caller("acme", "red", role), &question).effect == Effect::Allow
    };
    assert!(ask(Role::Owner, true, "keys", "acme", None));
    assert!(ask(Role::Owner, true, "keys", "acme", Some("blue")));
    assert!(ask(Role::Operator, true, "sessions", "acme", Some("red")));
    assert!(!ask(Role::Operator, true, "keys", "acme", Some("red")));
    assert!(!ask(Role::Operator, false, "sessions", "acme", Some("blue")), "another team");
    assert!(ask(Role::Auditor, false, "keys", "acme", None));
    assert!(!ask(Role::Auditor, true, "sessions", "acme", Some("red")));
    assert!(!ask(Role::Member, false, "sessions", "acme", Some("red")));
    for role in Role::ALL {
        for writes in [false, true] {
            for team in [None, Some("red")] {
                assert!(!ask(role, writes, "sessions", "other", team), "{role:?} {team:?}");
            }
        }
    }
}

#[test]
fn policies_that_permit_everything_still_keep_organisations_apart() {
    let authorizer = load("permit (principal, action, resource);");
    let organisation = OrganisationId::new("other").unwrap();
    let question =
        Question::Administer { writes: false, subject: "keys", organisation: &organisation, team: None };
    let decision = authorizer.decide(&caller("acme", "red", Role::Owner), &question);
    assert_eq!(names(&decision), ["nothing-of-another-organisation"]);
    assert_eq!(decision.effect, Effect::Deny);
}

#[test]
fn what_no_policy_permits_is_denied_and_nobody_is_named() {
    let authorizer = load("@id(\"only-red\") permit (principal in Team::\"acme/red\", action, resource);");
    let red = authorizer.decide(&caller("acme", "red", Role::Member), &START);
    assert_eq!((red.effect, names(&red)), (Effect::Allow, vec!["only-red"]));
    for (organisation, team) in [("acme", "blue"), ("other", "red")] {
        let decision = authorizer.decide(&caller(organisation, team, Role::Owner), &START);
        assert_eq!((decision.effect, decision.policies.len()), (Effect::Deny, 0));
    }
}

#[test]
fn what_is_forbidden_anywhere_is_forbidden_whatever_permits_it() {
    let authorizer = load(
        "permit (principal, action, resource);
         @id(\"no-mini\") forbid (principal in Organisation::\"acme\", action == Action::\"model.use\", resource == Model::\"mini\");
         @id(\"europe\") forbid (principal in Team::\"acme/red\", action == Action::\"model.use\", resource)
         unless { resource in Region::\"eu\" };",
    );
    let red = caller("acme", "red", Role::Member);
    assert!(authorizer.decide(&red, &model("large", Some("eu"))).is_possible());
    assert_eq!(names(&authorizer.decide(&red, &model("large", None))), ["europe"]);
    assert_eq!(names(&authorizer.decide(&red, &model("mini", Some("us")))), ["europe", "no-mini"]);
    let blue = caller("acme", "blue", Role::Member);
    assert!(authorizer.decide(&blue, &model("large", Some("us"))).is_possible());
    assert_eq!(names(&authorizer.decide(&blue, &model("mini", Some("eu")))), ["no-mini"]);
}

#[test]
fn the_strictest_of_all_obligations_holds() {
    let authorizer = load(
        "@max_session_seconds(\"900\") @guardrail(\"pii, cards\") permit (principal, action, resource);
         @max_session_seconds(\"600\") @guardrail(\"tone\")
         permit (principal in Organisation::\"acme\", action == Action::\"session.start\", resource);
         @approval(\"human\") permit (principal in Team::\"acme/red\", action, resource == Tool::\"pay\");",
    );
    let red = caller("acme", "red", Role::Member);
    let decision = authorizer.decide(&red, &START);
    assert_eq!(decision.obligations.max_session, Some(Duration::from_secs(600)));
    let sets: Vec<&str> = decision.obligations.guardrails.iter().map(AsRef::as_ref).collect();
    assert_eq!(sets, ["cards", "pii", "tone"]);
    assert_eq!(authorizer.decide(&red, &tool("pay", Risk::ReadOnly)).effect, Effect::AskPerson);
    assert_eq!(authorizer.decide(&red, &tool("look", Risk::ReadOnly)).effect, Effect::Allow);
}

#[test]
fn an_agent_is_its_own_principal_inside_its_key() {
    let authorizer = load(
        "permit (principal in Key::\"acme/red/web\", action, resource);
         @id(\"no-tools\") forbid (principal == Agent::\"acme/red/greeter\", action == Action::\"tool.call\", resource);",
    );
    let mut greeter = caller("acme", "red", Role::Member);
    let question = tool("look", Risk::ReadOnly);
    assert!(authorizer.decide(&greeter, &question).is_possible());
    greeter.tenancy.agent = Some(AgentId::new("greeter").unwrap());
    assert_eq!(names(&authorizer.decide(&greeter, &question)), ["no-tools"]);
    assert!(authorizer.decide(&greeter, &START).is_possible());
}

#[test]
fn every_fault_of_every_policy_is_reported_with_its_line() {
    let faults = problems(
        "permit (principal, action == Action::\"session.start\", resource)
when { context.transprot == \"webrtc\" };

@approval(\"robot\")
@max_session_seconds(\"5\")
@guard(\"x\")
permit (principal in Team::\"red\", action, resource);

@id(\"a\") permit (principal, action == Action::\"session.begin\", resource);
@id(\"a\") @approval(\"human\")
forbid (principal, action, resource);
",
    );
    let expected = [
        (2, "transprot"),
        (4, "@approval is \"robot\""),
        (4, "@max_session_seconds is \"5\""),
        (4, "@guard is not known"),
        (4, "Team::\"red\" can never match"),
        (9, "session.begin"),
        (10, "is given at mine.cedar:9 too"),
        (10, "@approval obliges nobody"),
    ];
    for (line, part) in expected {
        let place = format!("mine.cedar:{line}: ");
        let is_told = faults.iter().any(|fault| fault.starts_with(&place) && fault.contains(part));
        assert!(is_told, "{place}{part} in {faults:#?}");
    }
}

#[test]
fn text_that_is_no_policy_is_reported_with_its_line() {
    let faults = problems("permit (principal, action, resource);\n\npermit principal;\n");
    assert!(faults.iter().any(|fault| fault.starts_with("mine.cedar:3: ")), "{faults:#?}");
}

#[test]
fn leaving_policies_out_changes_no_answer() {
    // The same questions to sliced policies and to all of them in one set.
    let scopes = [
        "principal",
        "principal in Organisation::\"acme\"",
        "principal in Team::\"acme/red\"",
        "principal == Key::\"acme/red/web\"",
        "principal in Role::\"owner\"",
        "principal is Key",
    ];
    let actions = [
        "action",
        "action == Action::\"model.use\"",
        "action in [Action::\"record\", Action::\"tool.call\"]",
        "action in Action::\"admin\"",
    ];
    let whens =
        ["", "when { principal in Role::\"member\" }", "unless { principal.team == Team::\"acme/blue\" }"];
    let mut text = String::new();
    for (index, scope) in scopes.iter().enumerate() {
        for (at, action) in actions.iter().enumerate() {
            let effect = if (index + at) % 3 == 2 { "forbid" } else { "permit" };
            let when = whens[(index * 2 + at) % 3];
            text.push_str(&format!("@id(\"{index}-{at}\") {effect} ({scope}, {action}, resource) {when};\n"));
        }
    }
    text.push_str(
        "@id(\"model\") permit (principal, action == Action::\"model.use\", resource == Model::\"m\");\n\
         @id(\"tool\") forbid (principal in Team::\"acme/red\", action, resource == Tool::\"t\") when { principal in \
         Role::\"auditor\" };\n\
         @id(\"another\") forbid (principal in Organisation::\"acme\", action == Action::\"tool.call\", resource == \
         Tool::\"another\");\n",
    );
    let authorizer = load(&text);
    let isolation = include_str!("isolation.cedar");
    let whole: cedar_policy::PolicySet = format!("{text}{isolation}").parse().unwrap();
    let organisation = OrganisationId::new("acme").unwrap();
    let keep = Duration::from_secs(60);
    let mut effects = BTreeSet::new();
    for (of, team) in [("acme", "red"), ("acme", "blue"), ("other", "red")] {
        for role in Role::ALL {
            let caller = caller(of, team, role);
            for question in [
                START,
                model("m", Some("eu")),
                tool("t", Risk::Ordinary),
                tool("another", Risk::Ordinary),
                Question::RecordAudio { keep },
                Question::DataTransfer { region: "eu" },
                Question::Administer {
                    writes: true,
                    subject: "keys",
                    organisation: &organisation,
                    team: None,
                },
            ] {
                let (request, entities, _) = authorizer.put(&caller, &question).unwrap();
                let response = cedar_policy::Authorizer::new().is_authorized(&request, &whole, &entities);
                let mut expected: Vec<&str> = response
                    .diagnostics()
                    .reason()
                    .map(|id| whole.policy(id).unwrap().annotation("id").unwrap())
                    .collect();
                expected.sort_unstable();
                let decision = authorizer.decide(&caller, &question);
                assert_eq!(names(&decision), expected, "{caller:?} {question:?}");
                let is_allowed = response.decision() == cedar_policy::Decision::Allow;
                assert_eq!(decision.is_possible(), is_allowed);
                effects.insert(is_allowed);
            }
        }
    }
    assert_eq!(effects.len(), 2, "both answers occurred");
}

#[test]
fn the_acts_of_the_code_are_those_of_the_schema() {
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(include_str!("schema.cedarschema")).unwrap();
    let groups = ["record", "admin"];
    let schema: BTreeSet<String> = schema
        .actions()
        .map(|uid| uid.id().unescaped().to_owned())
        .filter(|name| !groups.contains(&name.as_str()))
        .collect();
    let code: BTreeSet<String> = Act::ALL.iter().map(|act| act.as_str().to_owned()).collect();
    assert_eq!(code, schema);
}
