use std::path::Path;

use grpo_page::write_page;
use grpo_record::Run;

use crate::Target;

const DESCRIPTION: &str = r#"{
  "began": "2026-11-27T10:00:00Z", "config": { "task": { "rewards": [{ "name": "right" }] }, "algorithm": { "seed": 1 } },
  "rewards": { "right": {} }, "processes": [{ "after_step": 0, "platform": "x86_64 linux", "threads": 2 }]
}"#;

const COMPLETION: &str = r#"{"step":1,"problem":3,"sample":0,"question":"1 + 1?","truth":"2","prompt":"1 + 1?","completion":"2\u001b[31m</script>","tokens":2,"finish":"stop","reward":1.0,"rewards":{"right":1.0},"advantage":0.5,"token_record":{"lengths":"AQAOAA==","logprobs":"AAQABA==","entropies":"AAQABA=="}}"#;

const EVALUATED: &str = r#"{"test":"new","step":0,"rewarded":[{"name":"right","share":{"successes":1,"trials":2}}],"completions":[]}"#;

/// The record of a run, as the page reads it.
pub fn record() -> Target {
    let metrics = "{\"step\":1,\"reward\":1.0,\"diagnoses\":[\"flat\"]}\n{\"step\":2,\"reward\":null}\n";
    Target {
        name: "record",
        files: vec![
            ("run.json".into(), DESCRIPTION.into()),
            ("metrics.jsonl".into(), metrics.into()),
            ("times.jsonl".into(), "{\"step\":1,\"step_time\":2.5}\n".into()),
            ("completions.jsonl".into(), format!("{COMPLETION}\n").into()),
            ("evaluations.jsonl".into(), format!("[{EVALUATED}]\n").into()),
            ("before.json".into(), format!("[{EVALUATED}]").into()),
        ],
        read,
    }
}

fn read(folder: &Path, _: &str) -> bool {
    Run::read(folder).is_ok_and(|run| write_page(&[run], &folder.join("page.html")).is_ok())
}
