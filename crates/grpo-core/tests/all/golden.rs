//! Loss, gradient and metrics of TRL 1.16, to 1e-12: every case of the fixture.

use grpo_core::{CompletionLoss, Kl, Normalization, Objective, Ratio, Recipe, Surrogate};
use serde_json::Value;

use crate::step::{Row, lengths, scaled};

const TOLERANCE: f64 = 1e-12;

#[test]
fn every_case_of_trl() {
    let golden: Value = serde_json::from_str(include_str!("../fixtures/grpo_trl_1_16.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    for case in cases {
        check(&golden["inputs"], case);
    }
    // The list may not shrink unnoticed.
    assert_eq!(cases.len(), 33);
}

fn check(inputs: &Value, case: &Value) {
    let (name, options) = (case["name"].as_str().unwrap(), &case["options"]);
    let objective = objective(options, inputs["max_completion_length"].as_u64().unwrap() as usize);
    let mut rows = rows(inputs, options["onpolicy"].as_bool().unwrap_or(false));
    mask_by_entropy(inputs, &objective, &mut rows);

    let (loss, gradient) = scaled(&objective, &rows, &objective.scales(&window(options, &lengths(&rows))));
    assert_close(&format!("{name}: loss"), loss, case["loss"].as_f64().unwrap());
    for (row, (ours, theirs)) in gradient.iter().zip(case["grad"].as_array().unwrap()).enumerate() {
        let theirs = floats(theirs);
        for (token, theirs) in theirs.iter().enumerate() {
            // Beyond a completion's end TRL has padding, which must not get a gradient.
            assert_close(
                &format!("{name}: gradient {row}, {token}"),
                ours.get(token).copied().unwrap_or(0.0),
                *theirs,
            );
        }
    }
    check_metrics(name, &objective, &rows, &case["metrics"]);
}

fn check_metrics(name: &str, objective: &Objective, rows: &[Row], theirs: &Value) {
    let terms: Vec<CompletionLoss> = rows.iter().map(|row| row.term(objective)).collect();
    let sum = |of: fn(&CompletionLoss) -> usize| terms.iter().map(of).sum::<usize>() as f64;
    let (low, high, n_ratios) = (sum(|t| t.clipped_low), sum(|t| t.clipped_high), sum(|t| t.n_ratios));
    let n_tokens = lengths(rows).iter().sum::<usize>() as f64;
    let kl = terms.iter().map(|term| term.kl).sum::<f64>() / n_tokens;

    let mut ours = match objective.surrogate {
        Surrogate::Clipped { .. } => vec![
            ("clip_ratio/low_mean", low / n_ratios),
            ("clip_ratio/high_mean", high / n_ratios),
            ("clip_ratio/region_mean", (low + high) / n_ratios),
        ],
        Surrogate::Cispo { .. } => vec![("cispo_clip_ratio", high / n_ratios)],
        Surrogate::Sapo { .. } => vec![],
        Surrogate::Vespo { .. } => {
            let phi = terms.iter().map(|term| term.phi).sum::<f64>() / terms.len() as f64;
            vec![("vespo/phi_seq_mean", phi)]
        }
    };
    if objective.needs_reference() {
        ours.push(("kl", kl));
    }
    for (metric, value) in ours {
        assert_close(&format!("{name}: {metric}"), value, theirs[metric].as_f64().unwrap());
    }
}

fn objective(options: &Value, max_completion_length: usize) -> Objective {
    let number = |name: &str| options[name].as_f64();
    let loss_type = options["loss_type"].as_str().unwrap();
    let low = number("lo").unwrap_or(0.2);
    let high = number("hi").unwrap_or(low);
    Objective {
        ratio: match options["level"].as_str().unwrap() {
            "token" => Ratio::Token,
            "sequence" => Ratio::Sequence,
            level => panic!("unknown level {level}"),
        },
        surrogate: match loss_type {
            "cispo" => Surrogate::Cispo { max: high },
            "sapo" => Recipe::sapo().objective.surrogate,
            "vespo" => Recipe::vespo().objective.surrogate,
            _ => Surrogate::Clipped { low, high, delta: number("delta") },
        },
        beta: number("beta").unwrap_or(0.0),
        kl: if options["kl_is"] == true { Kl::BiasCorrectedK3 } else { Kl::K3 },
        normalization: match loss_type {
            "grpo" | "sapo" => Normalization::Completion,
            "bnpo" | "dapo" | "cispo" | "vespo" => Normalization::Token,
            "dr_grpo" => Normalization::MaxLength(max_completion_length),
            "luspo" => Normalization::Sum,
            loss_type => panic!("unknown loss type {loss_type}"),
        },
        off_policy_threshold: number("off"),
        top_entropy_quantile: number("ent_q").map_or(1.0, |quantile| 1.0 - quantile),
    }
}

/// The token weights that leave the tokens of highest entropy.
fn mask_by_entropy(inputs: &Value, objective: &Objective, rows: &mut [Row]) {
    let of_row = |row: usize, n: usize| floats(&inputs["entropies"][row])[..n].to_vec();
    let entropies: Vec<Vec<f64>> =
        rows.iter().enumerate().map(|(row, Row { current, .. })| of_row(row, current.len())).collect();
    let Some(threshold) = objective.entropy_threshold(entropies.concat()) else { return };
    for (row, entropies) in rows.iter_mut().zip(entropies) {
        let weight = |entropy: &f64| f64::from(u8::from(*entropy >= threshold));
        row.token_weights = Some(entropies.iter().map(weight).collect());
    }
}

/// The lengths of all completions of the step that the case is a part of.
fn window(options: &Value, lengths: &[usize]) -> Vec<usize> {
    let mut window = lengths.to_vec();
    if let Some(items) = options["items"].as_f64() {
        window.push(items as usize - lengths.iter().sum::<usize>());
    }
    window.repeat(options["gas"].as_u64().unwrap_or(1) as usize)
}

fn rows(inputs: &Value, on_policy: bool) -> Vec<Row> {
    let of = |key: &str, row: usize| floats(&inputs[key][row]);
    let advantages = floats(&inputs["advantages"]);
    let row = |(row, &advantage): (usize, &f64)| {
        let n_tokens = of("mask", row).iter().sum::<f64>() as usize;
        let current = of("logp", row)[..n_tokens].to_vec();
        let old = current.iter().zip(of("shift", row));
        let old = old.map(|(logprob, shift)| if on_policy { *logprob } else { logprob - shift }).collect();
        let reference = Some(current.iter().map(|logprob| logprob + 0.1).collect());
        Row { current, old, reference, token_weights: None, advantages: vec![advantage; n_tokens] }
    };
    advantages.iter().enumerate().map(row).collect()
}

fn floats(array: &Value) -> Vec<f64> {
    array.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn assert_close(what: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= TOLERANCE, "{what}: {ours}, TRL has {theirs}");
}
