//! Runs of the embedded model, as a program has them.

use std::path::{Path, PathBuf};

use grpo::{
    Checks, Completion, Error, Event, Message, Question, Replay, Row, Rubric, Run, RunConfig, RunFolder,
    Settings, Task,
};

fn embedded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/embedded").join(name)
}

fn config(more: &str) -> RunConfig {
    let (model, dataset) = (embedded("model"), embedded("problems"));
    let text = format!(
        "device = 'cpu'\nmodel = '{}'\ndataset = '{}'\nsteps = 3\nproblems_per_step = 2\ngroup_size = 4\nmax_completion_length = 20",
        model.display(),
        dataset.display()
    );
    Settings::from_toml(&text).unwrap().then(Settings::from_toml(more).unwrap()).config().unwrap()
}

/// The embedded model with a template that has a choice of reasoning.
fn reasoning_model() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(embedded("model")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = folder.path().join("tokenizer_config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    let template = json["chat_template"].as_str().unwrap();
    let template =
        format!("{template}{{% if enable_thinking is false %}}<think>\n\n</think>\n\n{{% endif %}}");
    json["chat_template"] = template.into();
    std::fs::write(config, json.to_string()).unwrap();
    folder
}

/// Letters, as many as are asked for; the truth is a number.
fn letters(n: std::ops::Range<usize>) -> Task<usize> {
    let question = |n: usize| Question::new("", &format!("Write {n} letters."), n);
    Task::new(n.clone().map(question).collect()).with_test("letters", n.map(question).collect())
}

fn rubric() -> Rubric<usize> {
    let length = |n: &usize, completion: &Completion| {
        if completion.text.split_whitespace().count() == *n {
            1.0
        } else {
            completion.n_tokens as f32 / 100.0
        }
    };
    Rubric::new().with("length", 1.0, length).version("length", "1").unwrap()
}

/// Begins or resumes, and takes all steps.
fn run(folder: &Path, config: RunConfig, task: Task<usize>, rubric: Rubric<usize>) -> Result<u64, Error> {
    Ok(Run::open(folder, config, task, rubric)?.train(|_| {})?.steps)
}

#[test]
fn a_run_of_ones_own_begins_is_resumed_and_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    assert_eq!(run(&whole, config(""), letters(3..9), rubric()).unwrap(), 3);
    assert_eq!(RunFolder::read_config(&whole).unwrap().task.rewards, [], "it has rewards of its own");
    let resumed = folder.path().join("resumed");
    assert_eq!(run(&resumed, config("steps = 1"), letters(3..9), rubric()).unwrap(), 1);
    assert_eq!(run(&resumed, config(""), letters(3..9), rubric()).unwrap(), 3);
    for file in
        ["metrics.jsonl", "completions.jsonl", "before.json", "evaluation.json", "model/model.safetensors"]
    {
        let read = |run: &Path| std::fs::read(run.join(file)).unwrap();
        assert!(read(&whole) == read(&resumed), "{file}");
    }
    let step = Replay { step: 3, from_start: true }.run(&resumed, rubric(), |_| {}).unwrap();
    assert!(step.is_same() && step.completions.lines == 8, "{step:?}");

    let described = RunFolder::open(&resumed).unwrap();
    let [first, second] = described.processes() else { panic!("two processes worked on it") };
    assert_eq!((first.after_step, second.after_step, first.execution.steps), (0, 1, 1));
    assert!(
        first.machine.threads > 0
            && first.machine.version == env!("CARGO_PKG_VERSION")
            && first.machine.commit.is_some()
    );
    assert_eq!(described.config().execution.steps, 3);
    let completions = std::fs::read_to_string(resumed.join("completions.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(completions.lines().next().unwrap()).unwrap();
    let n = line["truth"].as_u64().unwrap();
    assert_eq!(line["question"], format!("Write {n} letters."));
    assert!(line["prompt"].as_str().unwrap().contains(line["question"].as_str().unwrap()));
    let from_toml = RunConfig::read(resumed.join("config.toml")).unwrap();
    assert_eq!(from_toml, config("steps = 1\nrewards = []"));
}

#[test]
fn prompts_say_whether_the_model_reasons() {
    let (folder, model) = (tempfile::tempdir().unwrap(), reasoning_model());
    let prompts = |name: &str, thinking: &str| {
        let more = format!("model = '{}'\nsteps = 1\n{thinking}", model.path().display());
        let folder = folder.path().join(name);
        run(&folder, config(&more), letters(3..9), rubric()).unwrap();
        let lines = std::fs::read_to_string(folder.join("completions.jsonl")).unwrap();
        let prompt = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["prompt"].clone();
        lines.lines().map(prompt).map(|prompt| prompt.as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let ends = |prompts: &[String], end: &str| prompts.iter().all(|prompt| prompt.ends_with(end));
    assert!(ends(&prompts("off", "enable_thinking = false"), "assistant\n<think>\n\n</think>\n\n"));
    assert!(ends(&prompts("on", "enable_thinking = true"), "assistant\n"));
    assert!(ends(&prompts("default", ""), "assistant\n"));
    let error = run(&folder.path().join("no"), config("enable_thinking = true"), letters(3..9), rubric());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("does not use `enable_thinking`"), "{error}");
}

#[test]
fn a_curriculum_is_resumed_and_replayed_and_forgets_what_is_too_hard() {
    // Whatever is written: even numbers are right, odd ones wrong.
    let parity = || {
        let even = |n: &usize, _: &Completion| f32::from(u8::from(n.is_multiple_of(2)));
        Rubric::new().with("even", 1.0, even).version("even", "1").unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, steps: &[u64], more: &str| {
        let path = folder.path().join(name);
        for steps in steps {
            let config = config(&format!("steps = {steps}\nbeta = 0\n{more}"));
            Run::open_with(
                &path,
                config,
                letters(0..8),
                parity(),
                &Checks { audit: false, ..Checks::default() },
            )
            .unwrap()
            .train(|_| {})
            .unwrap();
        }
        path
    };
    let curriculum = "curriculum = { min_pass_rate = 0.5, max_pass_rate = 1.0, floor = 1e-9 }";
    let [whole, resumed] =
        [("whole", &[10][..]), ("resumed", &[3, 7, 10])].map(|(name, steps)| run(name, steps, curriculum));
    for file in ["metrics.jsonl", "completions.jsonl"] {
        let read = |run: &Path| std::fs::read(run.join(file)).unwrap();
        assert!(read(&whole) == read(&resumed), "{file}");
    }
    for from_start in [true, false] {
        let step = Replay { step: 10, from_start }.run(&resumed, parity(), |_| {}).unwrap();
        assert!(step.is_same(), "{step:?}");
    }
    let odd = |run: &Path| -> Vec<u64> {
        let lines = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let rates = lines.lines().flat_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let rates = line["pass_rates"].as_object().unwrap().clone();
            assert_eq!(rates.len(), 2);
            rates
        });
        let odd = rates.map(|(problem, rate)| (problem.parse::<u64>().unwrap(), rate.as_f64().unwrap()));
        odd.filter(|(problem, rate)| {
            assert_eq!(*rate, if problem % 2 == 0 { 1.0 } else { 0.0 });
            problem % 2 == 1
        })
        .map(|(problem, _)| problem)
        .collect()
    };
    let mut seen = odd(&whole);
    seen.sort_unstable();
    assert_eq!(seen, [1, 3, 5, 7], "each is tried once");
    assert!(odd(&run("uniform", &[10], "")).len() >= 8, "without one, every problem comes up as often");
    let config = config("curriculum.floor = 0");
    let error = config.validate().unwrap_err().to_string();
    assert!(error.contains("floor"), "{error}");
}

/// A run that is to be refused, and why.
#[track_caller]
fn refused(result: Result<u64, Error>, expected: &str) {
    let message = result.unwrap_err().to_string();
    assert!(message.contains(expected), "{expected}: {message}");
}

#[test]
fn another_configuration_other_data_and_other_rewards_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    run(&path, config("steps = 1"), letters(3..9), rubric()).unwrap();
    refused(
        run(&path, config("seed = 1\nbeta = 0"), letters(3..9), rubric()),
        "algorithm.recipe.objective.beta: 0.04 -> 0.0; algorithm.seed: 0 -> 1",
    );
    refused(run(&path, config(""), letters(3..8), rubric()), "problems.jsonl: ");
    let other = || rubric().version("length", "2").unwrap();
    refused(run(&path, config(""), letters(3..9), other()), r#"rewards.length.version: "1" -> "2""#);
    let heavier = Rubric::new().with("length", 2.0, |_: &usize, _: &Completion| 1.0);
    refused(run(&path, config(""), letters(3..9), heavier), "rewards.length.weight: 1.0 -> 2.0");
    let checks = Checks::default();
    refused(Run::begin(&path, config(""), letters(3..9), rubric(), &checks).map(|_| 0), "already has a run");
    let mut settings = Settings::default();
    settings.assign("learning_rate=1").unwrap();
    refused(Run::resume(&path, &settings, rubric(), &[]).map(|_| 0), "algorithm.learning_rate: 1e-6 -> 1.0");
    let wrong_type =
        Rubric::new().with("length", 1.0, |_: &String, _: &Completion| 1.0).version("length", "1");
    let error = Run::resume(&path, &Settings::default(), wrong_type.unwrap(), &[]).err().unwrap().to_string();
    assert!(error.contains("problems.jsonl cannot be read: line 1"), "{error}");
    // All of that has left it as it was.
    assert_eq!(run(&path, config("steps = 2"), letters(3..9), rubric()).unwrap(), 2);
}

#[test]
fn a_run_begins_when_everything_has_been_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let begin = |config: RunConfig, task: Task<usize>| {
        let error = Run::begin(&path, config, task, rubric(), &Checks::default()).err().unwrap();
        assert!(!path.exists(), "{error}: nothing has been written");
        // What a `main` that returns it shows.
        assert_eq!(format!("{error:?}"), error.to_string());
        error.to_string()
    };
    let mut task = letters(3..9);
    task.train[4].messages = vec![Message::new("user", "Write 7 letters. ".repeat(200))];
    let error = begin(config(""), task.clone());
    for expected in
        ["training row 5: the prompt has ", "context of 512", "max_prompt_length=492", "Write 7 letters."]
    {
        assert!(error.contains(expected), "{expected}: {error}");
    }
    let shorter = || {
        Run::open(folder.path().join("shorter"), config("max_prompt_length = 492"), task.clone(), rubric())
    };
    for _ in 0..2 {
        assert_eq!(shorter().unwrap().task().train.len(), 5, "it is resumed with the same rows");
    }
    let error = begin(config("max_completion_length = 100000"), letters(3..9));
    assert!(
        error.starts_with("max_completion_length is 100000: the model's context is 512 tokens"),
        "{error}"
    );
    assert!(begin(config(""), Task::new(Vec::new())).contains("no problem to train on"));
    assert!(begin(config("adapter = '/no/such/place'"), letters(3..9)).contains("/no/such/place"));
    assert!(begin(config("keep = 1000000000"), letters(3..9)).contains("at most 65536"));
    let endless = config("steps = 4294967296\nproblems_per_step = 60000");
    assert!(begin(endless, letters(3..9)).contains("MiB are free"), "a record that no disk holds");
}

#[test]
fn an_adapter_brings_its_numbers_and_contradictions_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let small = config("steps = 1\nlora.rank = 4\nlora.alpha = 12\nlora.targets = ['q_proj', 'v_proj']");
    run(&first, small, letters(3..9), rubric()).unwrap();
    let adapter = format!("adapter = '{}'", first.join("adapter").display());
    let begin = |more: &str, name: &str| {
        let config = config(&format!("{adapter}\n{more}"));
        Run::begin(folder.path().join(name), config, letters(3..9), rubric(), &Checks::default())
    };
    let error = begin("lora.rank = 16", "refused").err().unwrap().to_string();
    assert!(error.contains("lora.rank is 16, but the adapter in ") && error.contains(" has 4"), "{error}");
    let run = begin("", "taken").unwrap();
    let lora = run.config().policy.lora.clone().unwrap();
    assert_eq!((lora.rank, lora.alpha, lora.targets.len()), (4, 12.0, 2));
    assert_eq!(run.config().algorithm.learning_rate, 1e-5, "that of adapters");
    drop(run);
    std::fs::remove_dir_all(&first).unwrap();
    Run::open(folder.path().join("taken"), config(&adapter), letters(3..9), rubric()).unwrap();
}

/// Interrupted after every step, and with steps added after its end, when there is nothing to sample ahead for.
#[test]
fn samples_drawn_ahead_are_kept_for_a_run_that_is_resumed_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parted] = ["whole", "parted"].map(|name| folder.path().join(name));
    let lag = "lag = 1\nproblems_per_step = 3";
    let config = |steps: u64| config(&format!("steps = {steps}\n{lag}"));
    let read = |run: &Path, file: &str| std::fs::read(run.join(file)).unwrap();
    let same = || {
        for file in ["metrics.jsonl", "completions.jsonl", "model/model.safetensors"] {
            assert!(read(&whole, file) == read(&parted, file), "{file}");
        }
    };
    run(&whole, config(4), letters(3..9), rubric()).unwrap();
    loop {
        let mut run = Run::open(&parted, config(4), letters(3..9), rubric()).unwrap();
        let interrupt = run.interrupt();
        let outcome = run.train(|event| {
            if let Event::Step { .. } = event {
                interrupt.request();
            }
        });
        if outcome.unwrap().steps == 4 {
            break;
        }
    }
    same();
    for path in [&whole, &parted] {
        run(path, config(6), letters(3..9), rubric()).unwrap();
    }
    same();
    let metrics = String::from_utf8(read(&parted, "metrics.jsonl")).unwrap();
    let lags = metrics.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    assert_eq!(
        lags.map(|step| step["sampling/lag"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 1, 1, 0, 1]
    );
    for from_start in [true, false] {
        let step = Replay { step: 6, from_start }.run(&parted, rubric(), |_| {}).unwrap();
        assert!(step.is_same(), "{step:?}");
    }
}

/// A reward that fails at one problem ends the run, which can be resumed without that problem; later processes pass it over, too.
#[test]
fn a_problem_that_fails_can_be_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let failing = || {
        let fails = |n: &usize, completion: &Completion| {
            assert!(*n != 5, "five is not a number");
            completion.n_tokens as f32
        };
        Rubric::new().with("length", 1.0, fails)
    };
    let config = || config("steps = 6\nproblems_per_step = 1");
    let task = || Task::new(letters(3..9).train);
    let mut failed = Vec::new();
    let error = Run::open(&path, config(), task(), failing())
        .unwrap()
        .train(|event| {
            if let Event::Failed(error) = event {
                failed.push(error.problem());
            }
        })
        .unwrap_err();
    assert_eq!((error.problem(), failed), (Some(2), vec![Some(2)]));
    assert!(error.to_string().starts_with("problem 2: reward `length` panicked"), "{error}");
    let taken =
        Run::resume(&path, &Settings::default(), failing(), &[2]).unwrap().train(|_| {}).unwrap().steps;
    assert_eq!(taken, 6);
    let described = std::fs::read_to_string(path.join("run.json")).unwrap();
    assert!(described.contains(r#""problem": 2"#), "{described}");
    let completions = std::fs::read_to_string(path.join("completions.jsonl")).unwrap();
    assert!(!completions.contains(r#""problem":2,"#));
    // Neither a longer run nor a replay meets it again.
    let mut longer = Settings::default();
    longer.set("steps", 12).unwrap();
    assert_eq!(Run::resume(&path, &longer, failing(), &[]).unwrap().train(|_| {}).unwrap().steps, 12);
    assert!(Replay { step: 12, from_start: true }.run(&path, failing(), |_| {}).unwrap().is_same());
}

#[test]
fn a_preflight_tells_what_a_model_earns_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let varied = || {
        let share = |_: &usize, completion: &Completion| completion.text.matches('a').count() as f32 / 10.0;
        Rubric::new().with("share", 1.0, share)
    };
    let open = |name: &str| Run::open(folder.path().join(name), config(""), letters(3..9), varied()).unwrap();
    let (mut looked, mut plain) = (open("looked"), open("plain"));
    let preflight = looked.preflight(4, std::time::Duration::MAX).unwrap();
    assert_eq!((preflight.problems, preflight.group_size, preflight.obstacle()), (4, 4, None));
    assert!(preflight.rewards[0].1 > 0.0 && preflight.with_signal.trials == 4, "{preflight}");
    looked.train(|_| {}).unwrap();
    plain.train(|_| {}).unwrap();
    let metrics = |name: &str| std::fs::read(folder.path().join(name).join("metrics.jsonl")).unwrap();
    assert!(metrics("looked") == metrics("plain"));

    let nothing = Rubric::new().with("nothing", 1.0, |_: &usize, _: &Completion| 0.0);
    let unpaid = Run::open(folder.path().join("unpaid"), config(""), letters(3..9), nothing).unwrap();
    let obstacle = unpaid.preflight(2, std::time::Duration::MAX).unwrap().obstacle().unwrap();
    assert!(obstacle.to_string().starts_with("no completion earns anything"), "{obstacle}");
}

#[test]
fn files_of_others_stay_as_they_are() {
    for name in ["README.md", "config.toml", "run.json", "before.json", "start/mine", "model/mine"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "mine").unwrap();
        let error =
            Run::begin(folder.path(), config(""), letters(3..9), rubric(), &Checks::default()).err().unwrap();
        assert!(error.to_string().contains("already has a run or other files"), "{name}: {error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }
}

#[test]
fn rewards_that_pay_for_tricks_are_refused_unless_the_audit_is_switched_off() {
    let folder = tempfile::tempdir().unwrap();
    let anywhere = || {
        let contains =
            |row: &Row, completion: &Completion| f32::from(u8::from(completion.text.contains(&row.truth)));
        Rubric::new().with("correctness", 1.0, contains)
    };
    let config = config("eval_problems = 0");
    let task = || Task::load(&config.task, &grpo::Hub::new(folder.path())).unwrap();
    let begin =
        |checks: &Checks| Run::begin(folder.path().join("run"), config.clone(), task(), anywhere(), checks);
    let error = begin(&Checks::default()).err().unwrap().to_string();
    assert!(error.contains("error: trick: ") && error.contains("Checks::audit"), "{error}");
    assert!(!folder.path().join("run").exists());
    begin(&Checks { audit: false, ..Checks::default() }).unwrap();
}

#[test]
fn evaluations_during_training_change_no_bit_of_it_and_the_best_checkpoint_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let train = |name: &str, more: &str| {
        let path = folder.path().join(name);
        let mut evaluations = Vec::new();
        let mut run = Run::open(&path, config(more), letters(3..9), rubric()).unwrap();
        let outcome = run.train(|event| {
            if let Event::Evaluated { tests, best } = event {
                evaluations.push((tests.to_vec(), best.clone()));
            }
        });
        (path, outcome.unwrap(), evaluations)
    };
    let often = "steps = 6\nlearning_rate = 0.1\nkeep = 1\nsave_every = 1\n";
    let (plain, outcome, none) = train("plain", often);
    assert!(none.is_empty() && outcome.best.is_none());
    let during = format!("{often}eval_every = 1\neval_subset = 4");
    let (path, outcome, evaluations) = train("during", &during);
    let read = |run: &Path, file: &str| std::fs::read_to_string(run.join(file)).unwrap();
    for file in ["metrics.jsonl", "completions.jsonl", "before.json", "evaluation.json"] {
        assert!(read(&plain, file) == read(&path, file), "{file}");
    }
    let weights = |run: &Path| std::fs::read(run.join("model/model.safetensors")).unwrap();
    assert!(weights(&plain) == weights(&path));
    // The same problems each time, in the record as in the events.
    let lines: Vec<Vec<grpo::Evaluated>> =
        read(&path, "evaluations.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().eq(evaluations.iter().map(|(tests, _)| tests)));
    let problems = |tests: &[grpo::Evaluated]| -> Vec<u64> {
        tests[0].completions.iter().map(|completion| completion.problem).collect()
    };
    assert_eq!(lines.iter().map(|tests| tests[0].step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert!(
        lines.iter().all(|tests| tests[0].completions.len() == 4 && problems(tests) == problems(&lines[0]))
    );
    // The first of the best ones, besides the newest.
    let share = |tests: &[grpo::Evaluated]| tests[0].share("length").unwrap().value();
    let highest = lines.iter().map(|tests| share(tests)).fold(0.0, f64::max);
    let first = lines.iter().find(|tests| share(tests) == highest).unwrap()[0].step;
    let (best, checkpoint) = outcome.best.unwrap();
    assert_eq!((best.step, best.share.value()), (first, highest));
    assert!(checkpoint.join("model/model.safetensors").is_file());
    let kept = std::fs::read_dir(path.join("checkpoints")).unwrap().count();
    assert_eq!(kept, if best.step == 6 { 1 } else { 2 });
    // Interrupted in between, it is the same.
    let stopped = folder.path().join("stopped");
    let until = |steps: u64| config(&format!("{during}\nsteps = {steps}").replace("steps = 6\n", ""));
    Run::open(&stopped, until(3), letters(3..9), rubric()).unwrap().train(|_| {}).unwrap();
    let outcome = Run::open(&stopped, until(6), letters(3..9), rubric()).unwrap().train(|_| {}).unwrap();
    assert_eq!(outcome.best.unwrap().0, best);
    assert!(read(&stopped, "evaluations.jsonl") == read(&path, "evaluations.jsonl"));
}

#[test]
fn evaluations_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let without = Task::new(vec![Question::new("", "Write 3 letters.", 3)]);
    refused(run(&path, config("eval_every = 1"), without, rubric()), "set eval_problems");
    let unknown = config("eval_every = 1\nbest_metric = 'beauty'");
    refused(run(&path, unknown, letters(3..9), rubric()), "the rewards are length");
    refused(run(&path, config("eval_every = 0"), letters(3..9), rubric()), "eval_every");
    assert!(!path.exists());
}
