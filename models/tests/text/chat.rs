//! Chat templates give what `transformers` gives (`tests/data/make/chat.py`), and cannot do harm.

use std::time::{Duration, Instant, SystemTime};

use fire_assay_models::lm::{ChatMessage, ChatOptions, ChatTemplate, LmTokenizer};
use fire_assay_models::{Error, Result};

use crate::{data, json, refusal};

fn render(template: &str, options: &ChatOptions) -> Result<String> {
    ChatTemplate::new(template)?.render(&[ChatMessage::new("user", "hello")], options)
}

fn reason<T>(result: Result<T>) -> String {
    match refusal(result) {
        Error::ChatTemplate { reason } => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn chats_are_those_of_transformers() {
    let reference = json("chat/transformers.json");
    let special = ["bos", "eos"].map(|name| (format!("{name}_token"), &reference[name]));
    let special = special.map(|(name, token)| (name, token.as_str().unwrap()));
    for case in reference["cases"].as_array().unwrap() {
        let template = ChatTemplate::new(case["template"].as_str().unwrap())
            .unwrap()
            .with_special(special.clone());
        let messages: Vec<ChatMessage> = serde_json::from_value(case["messages"].clone()).unwrap();
        // Written by hand, because the order of the keys counts.
        let extra =
            r#"{"b": "two <words>", "a": 1, "list": [1, "é", null, true, 2.5], "map": {"k": []}}"#;
        let same: serde_json::Value = serde_json::from_str(extra).unwrap();
        assert_eq!(case["variables"]["extra"], same);
        let options = ChatOptions::default()
            .with_generation_prompt(case["add_generation_prompt"].as_bool().unwrap())
            .with_variable("extra", extra)
            .unwrap();
        let text = template.render(&messages, &options).unwrap();
        assert_eq!(text, case["text"].as_str().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn the_template_of_a_tokenizer_is_found() {
    let reference = json("lm/llama/tokenizer_reference.json");
    let chat = &reference["chat"];
    let messages: Vec<ChatMessage> = serde_json::from_value(chat["messages"].clone()).unwrap();
    let file = fire_assay_models::gguf::GgufFile::open(data("gguf/llama.gguf")).unwrap();
    for tokenizer in [
        LmTokenizer::open(data("lm/llama")).unwrap(),
        LmTokenizer::open(data("lm/llama/tokenizer.json")).unwrap(),
        LmTokenizer::from_gguf(&file).unwrap(),
    ] {
        let template = tokenizer.chat_template().unwrap();
        for prompt in [false, true] {
            let options = ChatOptions::default().with_generation_prompt(prompt);
            let expected = chat[format!("add_generation_prompt_{prompt}")]
                .as_str()
                .unwrap();
            assert_eq!(template.render(&messages, &options).unwrap(), expected);
        }
    }
}

#[test]
fn a_template_can_refuse() {
    let refused = reason(render(
        "{% if messages[0].role != 'system' %}{{ raise_exception('begin with a system turn') }}{% endif %}",
        &ChatOptions::default(),
    ));
    assert!(refused.contains("begin with a system turn"), "{refused}");
}

#[test]
fn wrong_templates_are_errors_with_their_line() {
    let broken = reason(ChatTemplate::new("line 1\n{% if %}"));
    assert!(broken.contains("2"), "{broken}");
    for (template, wanted) in [
        (
            "{{ messages[0].content.no_such_method() }}",
            "no_such_method",
        ),
        ("{{ no_such_function() }}", "no_such_function"),
        ("{{ 1 / 0 }}", "1 / 0"),
        ("{{ strftime_now('%Q') }}", "%Q"),
    ] {
        let found = reason(render(template, &ChatOptions::default()));
        assert!(found.contains(wanted), "{template}: {found}");
    }
    assert!(reason(ChatOptions::default().with_variable("tools", "[1,")).contains("tools"));
}

#[test]
fn a_template_that_runs_wild_is_stopped() {
    let start = Instant::now();
    for template in [
        "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='abcdefgh') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{{ 'x' * 10000000000 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ] {
        let found = reason(render(template, &ChatOptions::default()));
        println!("{found}");
    }
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn dates_are_those_of_the_calendar() {
    let at = |seconds: i64| match seconds {
        0.. => SystemTime::UNIX_EPOCH + Duration::from_secs(seconds as u64),
        _ => SystemTime::UNIX_EPOCH - Duration::from_secs(seconds.unsigned_abs()),
    };
    // As GNU's date says: `LC_ALL=C date -u -d @SECONDS +FORMAT`.
    for (seconds, format, expected) in [
        (0, "%d %b %Y", "01 Jan 1970"),
        (
            0,
            "%A, %B %d, %Y %H:%M:%S",
            "Thursday, January 01, 1970 00:00:00",
        ),
        (
            951_782_399,
            "%F %j %a %I:%M %p",
            "2000-02-28 059 Mon 11:59 PM",
        ),
        (951_782_400, "%F %j", "2000-02-29 060"),
        (
            1_709_210_096,
            "%d %B %y, %-d.%-m. 100%%",
            "29 February 24, 29.2. 100%",
        ),
        (4_107_542_400, "%F %A", "2100-03-01 Monday"),
        (4_107_455_999, "%F %H", "2100-02-27 23"),
        (1_735_689_599, "%F %j %I %p", "2024-12-31 366 11 PM"),
        (-1, "%F %H:%M:%S", "1969-12-31 23:59:59"),
        (-86_400 * 365 * 400, "%F", "1570-04-08"),
    ] {
        let options = ChatOptions::default().with_now(at(seconds));
        let found = render(&format!("{{{{ strftime_now('{format}') }}}}"), &options);
        assert_eq!(found.unwrap(), expected, "{seconds}");
    }
    // Without a time, that of the system.
    let now = render("{{ strftime_now('%Y') }}", &ChatOptions::default()).unwrap();
    assert!(now.parse::<u32>().unwrap() >= 2025);
}
