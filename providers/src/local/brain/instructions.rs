//! The little the brain understands of a session's instructions.
//!
//! A language model follows any instruction; this brain follows three, each on a line of its own:
//!
//! - `Say exactly: TEXT` - every answer is TEXT.
//! - `Greeting: TEXT` - said when an answer is asked for before the caller has said anything.
//! - `Name: NAME` - what it calls itself.
//!
//! Case does not count in the words before the colon. Everything else is ignored.

/// What was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Instructions {
    pub(super) say_exactly: Option<String>,
    pub(super) greeting: Option<String>,
    pub(super) name: Option<String>,
}

impl Instructions {
    pub(super) fn read(text: &str) -> Self {
        let mut read = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim().trim_matches('"').trim();
            if value.is_empty() {
                continue;
            }
            match key.trim().to_lowercase().as_str() {
                "say exactly" => read.say_exactly = Some(value.to_owned()),
                "greeting" => read.greeting = Some(value.to_owned()),
                "name" => read.name = Some(value.to_owned()),
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lines_are_understood_and_the_rest_is_ignored() {
        let read = Instructions::read(
            "You are a helpful assistant.\nname: Ada\n Greeting: \"Hello: it is me\"\nRules:\nSAY EXACTLY: One two.",
        );
        assert_eq!(read.name.as_deref(), Some("Ada"));
        assert_eq!(read.greeting.as_deref(), Some("Hello: it is me"));
        assert_eq!(read.say_exactly.as_deref(), Some("One two."));
        assert_eq!(Instructions::read("Be brief."), Instructions::default());
    }
}
