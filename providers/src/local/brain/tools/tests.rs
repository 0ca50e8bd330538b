use serde_json::json;

use super::*;

fn weather() -> Tool {
    Tool {
        name: "get_weather".to_owned(),
        description: Some("Returns the current temperature and forecast of a city".to_owned()),
        parameters: json!({
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
                "days": {"type": "integer"}
            },
            "required": ["city"]
        }),
    }
}

fn lights() -> Tool {
    Tool {
        name: "switchLights".to_owned(),
        description: None,
        parameters: json!({
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"]
        }),
    }
}

fn request(text: &str, choice: &ToolChoice) -> Option<(String, Value)> {
    let request = wanted(text, &[weather(), lights()], choice)?;
    Some((request.name, serde_json::from_str(&request.arguments).unwrap()))
}

#[test]
fn a_word_of_the_name_or_two_of_the_description_call_a_tool() {
    let auto = ToolChoice::Auto;
    assert_eq!(
        request("what is the weather in new york today please", &auto),
        Some(("get_weather".to_owned(), json!({"city": "new york"})))
    );
    assert_eq!(
        request("temperature forecast for the next three days in fahrenheit", &auto),
        Some(("get_weather".to_owned(), json!({"city": "fahrenheit", "unit": "fahrenheit", "days": 3})))
    );
    assert_eq!(request("turn the light off", &auto), Some(("switchLights".to_owned(), json!({"on": false}))));
    assert_eq!(request("tell me a long story", &auto), None);
    assert_eq!(request("how is the city", &auto), None);
}

#[test]
fn the_tool_choice_is_kept() {
    assert_eq!(request("weather", &ToolChoice::None), None);
    assert_eq!(
        request("hello", &ToolChoice::Required),
        Some(("get_weather".to_owned(), json!({"city": "hello"})))
    );
    assert_eq!(
        request("hello", &ToolChoice::Function("switchLights".to_owned())),
        Some(("switchLights".to_owned(), json!({"on": true})))
    );
    assert_eq!(request("hello", &ToolChoice::Function("unknown".to_owned())), None);
}

#[test]
fn outputs_are_read_out_as_sentences() {
    for (output, spoken) in [
        (
            r#"{"temperature_c": 21, "sunny": true, "detail": {"x": 1}}"#,
            "Here is what I found: temperature c is 21, sunny is yes.",
        ),
        (r#"{"error": "no such city"}"#, "The tool get weather failed: no such city."),
        ("It is raining", "It is raining."),
        (r#""It is raining!""#, "It is raining!"),
        ("[]", "The tool get weather found nothing."),
        (r#"["one", "two"]"#, "The tool get weather says: one, two."),
        (r#"[{"a": 1}]"#, "The tool get weather found 1 entries."),
        ("{}", "The tool get weather is done."),
        ("", "The tool get weather is done."),
    ] {
        assert_eq!(spoken_output("get_weather", output), spoken, "{output}");
    }
    assert!(spoken_output("t", &"word ".repeat(1_000)).len() <= SPOKEN_CHARACTERS + 1);
}

#[test]
fn a_schema_of_any_shape_is_survived() {
    for parameters in [json!(null), json!([]), json!({"properties": 3}), json!({"properties": {"a": 7}})] {
        let tool = Tool { name: "weather".to_owned(), description: None, parameters };
        let request = wanted("the weather", &[tool], &ToolChoice::Auto).unwrap();
        assert_eq!(request.arguments, "{}");
    }
}
