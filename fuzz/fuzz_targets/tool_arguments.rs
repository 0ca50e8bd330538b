#![no_main]
//! Arguments a model wrote for a tool, against limits of every kind. Corpus: policy/corpus/tool-arguments.
use voxgate_policy::tool::{ArgumentLimit, ToolRule, ToolRules};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let arguments = [
        ("amount".to_owned(), ArgumentLimit::Number { minimum: 0.0, maximum: 100.0 }),
        ("currency".to_owned(), ArgumentLimit::OneOf(["EUR".to_owned()].into())),
        ("note".to_owned(), ArgumentLimit::Text { longest: 5 }),
        ("urgent".to_owned(), ArgumentLimit::Boolean),
    ];
    let rule = ToolRule { arguments: arguments.into(), ..ToolRule::default() };
    let rules = ToolRules { tools: [("pay".to_owned(), rule)].into(), allows_others: false };
    let text = String::from_utf8_lossy(data);
    let _ = rules.check("pay", &text);
});
