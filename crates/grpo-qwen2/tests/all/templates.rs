//! Chat templates as transformers renders them: what they see, and which constructs they have. The texts are jinja2's.

use grpo_qwen2::{ChatTemplate, Message, ModelError};
use serde_json::{Value, json};

use crate::common::write_json;

const AT: &str = "2026-02-03T04:05:06";

/// A template with this configuration beside it, at a fixed time.
fn template(source: &str, config: &Value) -> Result<ChatTemplate, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    write_json(&folder.path().join("tokenizer_config.json"), config);
    std::fs::write(folder.path().join("chat_template.jinja"), source).unwrap();
    Ok(ChatTemplate::read(folder.path())?.with_clock(AT.parse().unwrap()))
}

fn messages() -> Vec<Message> {
    vec![Message::new("system", "s"), Message::new("user", "q"), Message::new("assistant", " a ")]
}

fn assert_texts(cases: &[(&str, &str)], config: &Value) {
    for (source, expected) in cases {
        let text = template(source, config).and_then(|template| template.render(&messages(), true));
        assert_eq!(text.as_deref().map_err(ToString::to_string), Ok(*expected), "{source}");
    }
}

#[test]
fn special_tokens_are_all_there_or_undefined() {
    let config = json!({
        "bos_token": null, "eos_token": "</s>", "pad_token": { "content": "<|endoftext|>", "lstrip": false },
        "unk_token": { "__type": "AddedToken", "content": "<unk>" }, "sep_token": "", "add_bos_token": false,
        "image_token": "<image>", "extra_special_tokens": { "boi_token": "<boi>" }, "added_tokens_decoder": {},
    });
    assert_texts(
        &[
            ("{{ bos_token }}{{ messages[1].content }}", "q"),
            ("{{ cls_token }}{{ mask_token }}{{ messages[1].content }}", "q"),
            (
                "{{ bos_token is defined }} {{ pad_token is defined }} {{ sep_token is defined }}",
                "False True True",
            ),
            ("[{{ pad_token }}][{{ unk_token }}][{{ eos_token }}]", "[<|endoftext|>][<unk>][</s>]"),
            ("[{{ image_token }}][{{ boi_token }}][{{ sep_token }}]", "[<image>][<boi>][]"),
            ("{{ add_bos_token is defined }}", "False"),
            ("{{ tools is none }} {{ documents is none }} {{ tools is defined }}", "True True True"),
            ("{{ bos_token ~ eos_token }}", "</s>"),
            ("{% if bos_token %}b{% else %}none{% endif %}", "none"),
        ],
        &config,
    );
    for wrong in
        [json!({ "eos_token": 5 }), json!({ "pad_token": { "text": "x" } }), json!({ "unk_token": ["x"] })]
    {
        let error = template("x", &wrong).unwrap_err();
        assert!(matches!(error, ModelError::Json { .. }), "{wrong}: {error:?}");
    }
}

#[test]
fn an_older_file_of_special_tokens_decides_where_it_did() {
    for (config, expected) in [
        (json!({ "eos_token": "<a>" }), "<b>"),
        (json!({ "eos_token": "<a>", "added_tokens_decoder": {} }), "<a>"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write_json(&folder.path().join("tokenizer_config.json"), &config);
        write_json(
            &folder.path().join("special_tokens_map.json"),
            &json!({ "eos_token": { "content": "<b>" } }),
        );
        std::fs::write(folder.path().join("chat_template.jinja"), "{{ eos_token }}").unwrap();
        let text = ChatTemplate::read(folder.path()).unwrap().render(&messages(), true).unwrap();
        assert_eq!(text, expected, "{config}");
    }
}

#[test]
fn line_ends_are_those_of_jinja() {
    assert_texts(
        &[
            ("a\r\nb\r\n", "a\nb"),
            ("a\rb", "a\nb"),
            ("{% if true %}\r\n  x\r\n{% endif %}\r\ny", "  x\ny"),
            ("{{ 'a\r\nb' }}", "a\nb"),
            ("{{ messages[1].content }}\n\n", "q\n"),
            ("    {% if true %}\n    x\n    {% endif %}\n", "    x\n"),
            ("x {%+ if true %}y{% endif +%}\n z", "x y\n z"),
        ],
        &json!({}),
    );
}

#[test]
fn tojson_is_json_dumps() {
    let cases = [
        ("{{ \"a<b & 'c' é\" | tojson }}", r#""a<b & 'c' é""#),
        ("{{ \"é \u{1f642} \u{7f}\" | tojson(ensure_ascii=true) }}", r#""\u00e9 \ud83d\ude42 \u007f""#),
        ("{{ \"\\\\ \\\" \\n \\t \u{1} \u{2028}\" | tojson }}", "\"\\\\ \\\" \\n \\t \\u0001 \u{2028}\""),
        ("{{ messages[1] | tojson }}", r#"{"role": "user", "content": "q"}"#),
        ("{{ messages[1] | tojson(sort_keys=true) }}", r#"{"content": "q", "role": "user"}"#),
        (
            "{{ [1, 2.0, 1e20, 1e-7, 0.1, -0.0, true, none, []] | tojson }}",
            "[1, 2.0, 1e+20, 1e-07, 0.1, -0.0, true, null, []]",
        ),
        (
            "{{ {'a': [1, {}], 'b': {'c': 2}} | tojson(indent=2) }}",
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": {\n    \"c\": 2\n  }\n}",
        ),
        ("{{ [1, 2] | tojson(indent=0) }}", "[\n1,\n2\n]"),
        ("{{ [1, 2] | tojson(indent='\\t') }}", "[\n\t1,\n\t2\n]"),
        ("{{ {'a': 1, 'b': 2} | tojson(separators=(',', ':')) }}", r#"{"a":1,"b":2}"#),
        ("{{ {'a': 1, 'b': 2} | tojson(indent=none, separators=[';', '=']) }}", r#"{"a"=1;"b"=2}"#),
        ("{{ {1: 2, true: 3, none: 4} | tojson }}", r#"{"1": 3, "null": 4}"#),
        ("{{ (1, 'x') | tojson }}", r#"[1, "x"]"#),
        ("{{ range(3) | list | tojson }}", "[0, 1, 2]"),
        ("{{ ('<b>' | tojson) ~ '<i>' }}", "\"<b>\"<i>"),
    ];
    assert_texts(&cases, &json!({}));
    for source in [
        "{{ nothing | tojson }}",
        "{{ [nothing] | tojson }}",
        "{{ 1 | tojson(colour=2) }}",
        "{{ 1 | tojson(separators=(',',)) }}",
    ] {
        let error = template(source, &json!({})).unwrap().render(&messages(), true).unwrap_err();
        assert!(matches!(error, ModelError::Template { .. }), "{source}: {error:?}");
    }
}

#[test]
fn what_tojson_writes_is_bounded() {
    let grown = |body: &str, times: usize| {
        format!(
            "{{% set ns = namespace(x='\"') %}}{{% for i in range({times}) %}}{{% set ns.x = {body} %}}{{% endfor %}}{{{{ ns.x | tojson }}}}"
        )
    };
    for (source, reason) in [
        (grown("ns.x | tojson", 99), "ran out of fuel"), // every call doubles the backslashes
        (grown("[ns.x, ns.x]", 60), "ran out of fuel"),
        (grown("[ns.x]", 2000), "nested too deep"),
        (grown("ns.x * 2", 99), "ran out of fuel"),
        (
            "{% set s = 'x' * 10000000 %}{{ range(90000) | list | tojson(separators=(s, s)) }}".to_owned(),
            "ran out of fuel",
        ),
        (
            "{% set s = 'x' * 10000000 %}{{ range(90000) | list | tojson(indent=s) }}".to_owned(),
            "ran out of fuel",
        ),
        ("{{ [[1]] | tojson(indent=1000000000) }}".to_owned(), "ran out of fuel"),
        (
            "{% for i in range(9999) %}{{ strftime_now('%Z' * 10000000) }}{% endfor %}".to_owned(),
            "ran out of fuel",
        ),
    ] {
        let error = template(&source, &json!({})).unwrap().render(&messages(), true).unwrap_err();
        assert!(error.to_string().contains(reason), "{source}: {error}");
    }
}

/// The engine counts lines and columns in 16 bits.
#[test]
fn a_template_has_a_length_that_the_engine_can_count() {
    let source = |length: usize| "a".repeat(length);
    assert_eq!(
        template(&source(65535), &json!({})).unwrap().render(&messages(), true).unwrap(),
        source(65535)
    );
    for long in [source(65536), "a\n".repeat(1 << 20), "{{ x }}".repeat(100_000)] {
        let error = template(&long, &json!({})).unwrap_err();
        assert!(error.to_string().contains("at most 65535"), "{error}");
    }
}

/// What is not closed is looked for once.
#[test]
fn a_template_that_is_never_closed_is_read_in_time() {
    for opening in ["{#", "{% raw %}", "{% '", "{{ \"", "{%"] {
        let source = format!("{{{{ x }}}}{opening}").repeat(5_000);
        assert!(template(&source, &json!({})).is_err(), "{opening} is not closed");
    }
}

/// White space, line ends and lengths as Python has them.
#[test]
fn texts_have_the_methods_of_python() {
    let cases = [
        (
            "{{ '\u{1f}a\u{1c} '.strip() }}|{{ '\u{1f}a\u{1c}' | trim }}|{{ ' a\u{1d}'.rstrip() }}|{{ '\u{1e}a '.lstrip() }}",
            "a|a| a|a ",
        ),
        ("{{ 'xax'.strip('x') }}|{{ 'xax' | trim('x') }}|{{ ' a '.strip(none) }}", "a|a|a"),
        (
            "{{ ' a\u{1f}b  c '.split() }} {{ ' a b '.rsplit() }} {{ 'a,b,c'.split(',', 1) }}",
            "['a', 'b', 'c'] ['a', 'b'] ['a', 'b,c']",
        ),
        ("{{ 'a,b,c'.rsplit(',', 1) }} {{ 'a</t>b</t>c'.rsplit('</t>', 1)[-1] }}", "['a,b', 'c'] c"),
        ("{{ 'a\nb\u{b}c\r\nd\u{85}e\u{2028}'.splitlines() | join('|') }}", "a|b|c|d|e"),
        ("{{ 'a\r\nb'.splitlines(true) | length }} {{ ''.splitlines() | length }}", "2 0"),
        (
            "{{ 'a=b=c'.partition('=') | join('|') }} {{ 'a=b=c'.rpartition('=') | join('|') }}",
            "a|=|b=c a=b|=|c",
        ),
        ("{{ 'a'.partition('=') | join('|') }} {{ 'a'.rpartition('=') | join('|') }}", "a|| ||a"),
        (
            "{{ 'abc'.removeprefix('a') }} {{ 'abc'.removesuffix('c') }} {{ 'abc'.removeprefix('x') }}",
            "bc ab abc",
        ),
        ("{{ '\u{1c}'.isspace() }} {{ ''.isspace() }}", "True False"),
        (
            "{{ none is iterable }} {{ 'x' is iterable }} {{ [] is iterable }} {{ {} is iterable }} {{ 1 is iterable }}",
            "False True True True False",
        ),
        (
            "{{ none is sequence }} {{ 'x' is sequence }} {{ [] is sequence }} {{ {} is sequence }} {{ 1 is sequence }}",
            "False True True True False",
        ),
        (
            "{% set j = joiner(',') %}{{ j() }}a{{ j() }}b{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}",
            "a,b121",
        ),
    ];
    assert_texts(&cases, &json!({}));
}

#[test]
fn constructs_of_published_templates_are_rendered() {
    let cases = [
        ("{% for m in messages %}{{ m.role }}{% break %}{% endfor %}", "system"),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }},{% endfor %}",
            "user,assistant,",
        ),
        (
            "{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.content | trim }}{% endfor %}",
            "0q1a",
        ),
        ("{{ strftime_now('%Y') }}", "2026"),
        (
            "{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %-d %H:%M:%S %p %j') }}",
            "03 Feb 2026|Tuesday, February 3 04:05:06 AM 034",
        ),
        ("{{ strftime_now('%f%%%z%Z') }}|{{ strftime_now('%%f %%Y é %y') }}", "000000%|%f %Y é 26"),
        (
            "{% if strftime_now is defined %}{% set d = strftime_now('%Y-%m-%d') %}{{ d }}{% endif %}",
            "2026-02-03",
        ),
        ("{% generation %}a{% endgeneration %}b", "ab"),
        ("x\n{%- generation -%}\n a \n{%- endgeneration -%}\n b", "xab"),
        (
            "{% for m in messages %}{% generation %}\n{{ m.content }}\n{% endgeneration %}\n{% endfor %}",
            "s\nq\n a \n",
        ),
        ("{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}", "21"),
        (
            "{# {% generation %} #}{% raw %}{% generation %}{% endraw %}{{ '{% generation %}' }}",
            "{% generation %}{% generation %}",
        ),
        (
            "{{ \"it's {% generation %}\" }}{% set a = '%}' %}{{ a }}{% generation %}b{% endgeneration %}",
            "it's {% generation %}%}b",
        ),
        (
            "{% raw %}\n{{ x }}{% endraw %}|{%- raw -%}\n y {% endraw %}|{% raw +%}\nz{% endraw %}",
            "\n{{ x }}|y |\nz",
        ),
        ("{{ 1e16 }} {{ 0.00001 }} {{ 1.5e-7 }} {{ 0.1 }} {{ 100 }}", "1e+16 1e-05 1.5e-07 0.1 100"),
        ("{{ \"it's\" | e }}{{ '\"</s>&' | escape }}", "it&#39;s&#34;&lt;/s&gt;&amp;"),
        ("{{ 'don\\'t 3rd ST'.title() }}", "Don'T 3Rd St"),
        ("{% macro f(x, y='d') %}[{{ x }}{{ y }}]{% endmacro %}{{ f('a') }}{{ f('b', y='c') }}", "[ad][bc]"),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        ("{{ messages[::-1] | map(attribute='role') | join(',') }}", "assistant,user,system"),
        ("{{ messages[-1]['content'].strip().upper() }}{{ 'a</think>b'.split('</think>')[-1] }}", "Ab"),
        (
            "{{ messages | length }}{{ 'x' if messages[0].role == 'system' else 'y' }}{{ messages[0].tool_calls is defined }}",
            "3xFalse",
        ),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "1"),
        (
            "{{ 'abc'.startswith('ab') }} {{ 'a,b'.split(',') | length }} {{ ' a'.lstrip() }} {{ 'a\n'.rstrip('\n') }}",
            "True 2 a a",
        ),
        ("{{ messages[0].get('name', 'none') }} {{ messages[0].items() | list | length }}", "none 2"),
        (
            "{% set m = dict(a=1) %}{{ m.a }} {{ {'a': 1} is mapping }} {{ 'x' is string }} {{ [1] is iterable }}",
            "1 True True True",
        ),
        ("{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 3 }} {{ 7 / 2 }}", "3 -4 2 8 3.5"),
        (
            "{% filter upper %}abc{% endfilter %}{% macro m() %}<{{ caller('x') }}>{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}",
            "ABC<x>",
        ),
        (
            "{{ none }} {{ true }} {{ 1.0 }} {{ [1, 'a'] }} {{ {'a': none} }}",
            "None True 1.0 [1, 'a'] {'a': None}",
        ),
    ];
    assert_texts(&cases, &json!({}));
}

#[test]
fn an_empty_template_is_refused() {
    for source in ["", "\n", " \r\n"] {
        let error = template(source, &json!({ "chat_template": "x" })).unwrap_err();
        assert!(error.to_string().contains("is empty"), "{error}");
    }
}

#[test]
fn several_templates_have_a_default() {
    let render = |config: Value, file: Option<&str>| {
        let folder = tempfile::tempdir().unwrap();
        write_json(&folder.path().join("tokenizer_config.json"), &config);
        if let Some(file) = file {
            std::fs::write(folder.path().join("chat_template.jinja"), file).unwrap();
        }
        ChatTemplate::read(folder.path()).and_then(|template| template.render(&messages(), true))
    };
    let list = json!({ "chat_template": [
        { "name": "tool_use", "template": "tools" }, { "name": "default", "template": "default {{ messages[1].content }}" },
    ] });
    let map = json!({ "chat_template": { "rag": "rag", "default": "default {{ messages[1].content }}" } });
    let none = json!({ "chat_template": [{ "name": "tool_use", "template": "tools" }] });
    for config in [&list, &map] {
        assert_eq!(render(config.clone(), None).unwrap(), "default q");
    }
    for config in [list, map, none.clone(), json!({ "chat_template": 5 }), json!({})] {
        assert_eq!(render(config.clone(), Some("file")).unwrap(), "file", "{config}");
    }
    let error = render(none, None).unwrap_err();
    assert!(
        matches!(error, ModelError::Template { .. }) && error.to_string().contains("tool_use"),
        "{error}"
    );
    assert!(render(json!({ "chat_template": [] }), None).is_err());
}

/// What the template writes at the beginning of the assistant's turn, and what it writes there only in the assistant's place.
#[test]
fn prefills_are_found() {
    let talk = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";
    let reasoning = "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if loop.last and m.role == 'assistant' %}<think>\n\n</think>\n\n\
        {% endif %}{{ m.content }}<|im_end|>\n{% endfor %}";
    let deepseek = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<｜User｜>{{ m.content }}{% else %}<｜Assistant｜>\
        {{ m.content.split('</think>')[-1] }}</s>{% endif %}{% endfor %}";
    let prompted = |talk: &str, prompt: &str| {
        format!("{talk}{{% if add_generation_prompt %}}{{{{ '{prompt}' }}}}{{% endif %}}")
    };
    let last_decorated = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if loop.last and m.role == 'user' %} /think{% endif %}\n{% endfor %}";
    let ended = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if not add_generation_prompt %}</s>{% endif %}";
    let strict =
        "{% if messages | length > 1 %}{{ raise_exception('one') }}{% endif %}{{ messages[0].content }}";
    let tagged = "{% for m in messages %}<{{ m.role }}>\n{{ m.content }}\n</{{ m.role }}>\n{% endfor %}";
    for (source, expected) in [
        (prompted(talk, "<|im_start|>assistant\n"), Some("")),
        (prompted(talk, "<|im_start|>assistant\n<think>\n"), Some("<think>\n")),
        (prompted(talk, "<|im_start|>assistant\n<reasoning>"), Some("<reasoning>")),
        (prompted(reasoning, "<|im_start|>assistant\n<think>\n"), Some("<think>\n")),
        (prompted(deepseek, "<｜Assistant｜><think>\n"), Some("<think>\n")),
        (prompted(ended, "[assistant]<think>"), Some("<think>")),
        (prompted(tagged, "<assistant>\n"), Some("")),
        (talk.to_owned(), Some("")),
        ("{{ messages[0].content }}".to_owned(), Some("")),
        (prompted(last_decorated, "[assistant]<think>"), None),
        (prompted(strict, "<think>"), None),
        ("{{ raise_exception('no') }}".to_owned(), None),
    ] {
        assert_eq!(template(&source, &json!({})).unwrap().prefill().as_deref(), expected, "{source}");
    }
}

/// Reasoning in earlier turns is left out, and an empty one is written where the model is not to reason.
const REASONING: &str = r"{%- for message in messages -%}
{{ '<|' + message.role + '|>' + message.content.split('</think>')[-1].lstrip('\n') }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|assistant|>' }}
{%- if enable_thinking is defined and enable_thinking is false -%}
{{ '<think>\n\n</think>\n\n' }}
{%- endif -%}
{%- endif -%}";

#[test]
fn a_template_is_told_whether_the_model_reasons() {
    let conversation = [
        Message::new("user", "q"),
        Message::new("assistant", "<think>\nh\n</think>\n\na"),
        Message::new("user", "r"),
    ];
    for (thinking, behind) in [(None, ""), (Some(true), ""), (Some(false), "<think>\n\n</think>\n\n")] {
        let template = template(REASONING, &json!({})).unwrap().with_thinking(thinking).unwrap();
        let text = template.render(&conversation, true).unwrap();
        assert_eq!(text, format!("<|user|>q<|assistant|>a<|user|>r<|assistant|>{behind}"));
        assert_eq!(template.prefill().unwrap(), "", "the model has said none of it");
    }
    let opened = REASONING.replace(r"\n\n</think>\n\n", r"\n");
    let template = template(&opened, &json!({})).unwrap().with_thinking(Some(false)).unwrap();
    assert_eq!(template.prefill().unwrap(), "<think>\n", "a completion ends what its prompt begins");
}

#[test]
fn a_template_without_the_choice_is_named() {
    let error =
        template("{{ messages[0].content }}", &json!({})).unwrap().with_thinking(Some(true)).unwrap_err();
    assert!(error.to_string().contains("does not use `enable_thinking`"), "{error}");
    assert!(template("{{ messages[0].content }}", &json!({})).unwrap().with_thinking(None).is_ok());
    let defaulted = "{% set enable_thinking = enable_thinking if enable_thinking is defined else true %}{{ enable_thinking }}";
    let template = template(defaulted, &json!({})).unwrap().with_thinking(Some(false)).unwrap();
    assert_eq!(template.render(&messages(), true).unwrap(), "False");
}
