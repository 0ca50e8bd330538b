//! What the audit log says about decisions of the policies.

use serde_json::json;
use voxgate_policy::decision::{Act, Decision, Effect, Question};
use voxgate_policy::directory::Caller;
use voxgate_signaling::audit_queue::Note;

/// The longest name taken over from a client.
const LONGEST_NAME: usize = 128;

/// A decision, with the policies that made it; `None` for one the log would only be flooded with: whoever lists things in
/// the administration is judged for each of them.
pub(crate) fn note_of(caller: &Caller, question: &Question<'_>, decision: &Decision) -> Option<Note> {
    let is_at_the_door = matches!(question, Question::Administer { team: None, .. });
    if question.act() == Act::AdminRead && (decision.effect == Effect::Allow || !is_at_the_door) {
        return None;
    }
    let action = match decision.effect {
        Effect::Allow => "policy.allow",
        Effect::AskPerson => "policy.ask_person",
        Effect::Deny => "policy.deny",
    };
    let (subject, more) = match question {
        Question::SessionStart { transport, purpose } => {
            ((*transport).to_owned(), json!({ "purpose": purpose }))
        }
        Question::ModelUse { model, provider, region, purpose } => {
            ((*model).to_owned(), json!({ "provider": provider, "region": region, "purpose": purpose }))
        }
        Question::DataTransfer { region } => ((*region).to_owned(), json!({})),
        Question::ToolCall { tool, .. } => ((*tool).to_owned(), json!({})),
        Question::RecordAudio { keep } | Question::RecordTranscript { keep } => {
            (String::new(), json!({ "keep_seconds": keep.as_secs() }))
        }
        Question::Administer { subject, organisation, team, .. } => {
            ((*subject).to_owned(), json!({ "organisation": organisation, "team": team }))
        }
    };
    let subject =
        subject.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect::<String>();
    let policies: Vec<&str> = decision.policies.iter().map(AsRef::as_ref).collect();
    let mut detail = json!({ "act": question.act().as_str(), "policies": policies });
    if let (Some(detail), serde_json::Value::Object(more)) = (detail.as_object_mut(), more) {
        detail.extend(more);
    }
    Some(Note::now(caller.tenancy.to_string(), action, subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_names_who_asked_what_the_answer_was_and_which_policies_gave_it() {
        let question = Question::ModelUse {
            model: "large\n",
            provider: "sim",
            region: Some("eu"),
            purpose: "conversation",
        };
        let decision = Decision {
            effect: Effect::Deny,
            policies: vec!["no-large-models".into()],
            obligations: Default::default(),
        };
        let note = note_of(&Caller::default(), &question, &decision).unwrap();
        assert_eq!(
            (note.by.actor.as_str(), note.action, note.subject.as_str()),
            ("default/default/default", "policy.deny", "large")
        );
        let detail = json!({
            "act": "model.use", "policies": ["no-large-models"], "provider": "sim", "region": "eu", "purpose": "conversation",
        });
        assert_eq!(note.detail, detail);
    }
}
