//! What a self-test computes.

use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};
use grpo_kernels::{
    AdamWUpdate, CausalAttention, Moments, Segment, Statistics, product_transposed, softmax_vjp, to_host,
};
use grpo_qwen2::{ActivationCheckpointing, KvCache, LoraConfig, Qwen2, Weight};
use grpo_rollout::{Decoder, Draw, DrawRequest, PromptCompletions, Sampling, TokenGradients};
use grpo_trainer::{AdamW, AdamWConfig};

use super::self_test::{Lab, Subject, numbers};

/// Numbers that are compared with each other's largest.
pub(super) struct Part {
    /// What they are of, as a suffix of the operation's name; empty if there is nothing else.
    pub(super) what: String,
    pub(super) numbers: Vec<f32>,
}

/// A computation whose result is compared.
pub(super) struct Case {
    /// Its name and shape.
    pub(super) operation: String,
    /// The error relative to the largest number that rounding in f32 explains.
    pub(super) tolerance: f32,
    pub(super) compute: Compute,
}

impl Case {
    fn new(operation: String, tolerance: f32, compute: impl Fn(&Lab<'_>) -> Vec<Part> + 'static) -> Self {
        Self { operation, tolerance, compute: Box::new(compute) }
    }
}

impl Part {
    fn new(what: impl Into<String>, numbers: Vec<f32>) -> Self {
        Self { what: what.into(), numbers }
    }
}

type Compute = Box<dyn Fn(&Lab<'_>) -> Vec<Part>>;

/// Columns of the head that are computed together.
const VOCABULARY: usize = 8192;
/// Entries of the small vocabulary of the layer that is tested.
const WORDS: usize = 256;
/// F32 sums of a few thousand products: a tenth of what TF32 would give.
const PRODUCT: f32 = 2e-5;
/// Half of the numbers below it are F16's subnormal numbers.
const SMALL: f32 = 1.2e-4;
/// Rounded numbers whose mean is compared.
const MEAN: usize = 4096;
/// What many operations add up to.
const LAYER: f32 = 2e-4;

/// All cases, for a device that also computes with matrices in the dtypes `half`.
pub(super) fn cases(subject: &Subject, half: &[DType]) -> Vec<Case> {
    let model = &subject.model;
    let (hidden, inner) = (model.hidden_size, model.intermediate_size);
    let vocabulary = model.vocab_size.min(VOCABULARY);
    let in_f32 = [
        product(1, hidden, inner),
        product(8, inner, hidden),
        product(500, hidden, inner),
        product(1030, inner, hidden),
        head(8, hidden, vocabulary),
        softmax(512, vocabulary),
        attention(subject),
        update(hidden, inner),
        rounded_update(hidden, inner),
        decoding(subject),
        draws(subject, vocabulary),
        weights(subject),
        adapters(subject),
    ];
    let in_half = half.iter().flat_map(|&dtype| {
        [
            rounded_product(8, inner, hidden, dtype),
            rounded_product(500, hidden, inner, dtype),
            rounded_decoding(subject, dtype),
        ]
    });
    in_f32.into_iter().chain(in_half).collect()
}

fn product(rows: usize, inner: usize, columns: usize) -> Case {
    Case::new(format!("product [{rows}, {inner}] · [{inner}, {columns}]"), PRODUCT, move |lab| {
        let y = lab.product(lab.tensor(1, [rows, inner]), lab.tensor(2, [inner, columns]));
        vec![Part::new("", to_host(y))]
    })
}

/// With a matrix in half precision; products and sums are in F32 all the same. The matrix is small, since some devices take numbers
/// that F16 has with less precision for 0.
fn rounded_product(rows: usize, inner: usize, columns: usize, dtype: DType) -> Case {
    let operation = format!("product [{rows}, {inner}] · [{inner}, {columns}] in {}", name(dtype));
    Case::new(operation, PRODUCT, move |lab| {
        let (x, w) = (lab.tensor(1, [rows, inner]), (lab.tensor(2, [inner, columns]) * SMALL).cast(dtype));
        vec![Part::new("", to_host(lab.product(x, w)))]
    })
}

fn name(dtype: DType) -> String {
    dtype.name().to_uppercase()
}

fn head(rows: usize, hidden: usize, vocabulary: usize) -> Case {
    Case::new(format!("product [{rows}, {hidden}] · [{vocabulary}, {hidden}]ᵀ"), PRODUCT, move |lab| {
        let y = product_transposed(lab.tensor(1, [rows, hidden]), lab.tensor(2, [vocabulary, hidden]));
        vec![Part::new("", to_host(y))]
    })
}

fn softmax(rows: usize, columns: usize) -> Case {
    Case::new(format!("softmax statistics and gradient [{rows}, {columns}]"), 1e-5, move |lab| {
        let z = lab.tensor(1, [rows, columns]) * 8.0;
        let Statistics { max, sum, weighted } = Statistics::of(z.clone());
        let log_sum_exp = max.clone() + sum.clone().log();
        let entropy = sum.clone().log() - weighted / sum;
        let dz = softmax_vjp(z, log_sum_exp.clone(), lab.tensor(2, [rows, 1]));
        vec![
            Part::new(", log-sum-exp", to_host(log_sum_exp)),
            Part::new(", entropy", to_host(entropy)),
            Part::new(", gradient", to_host(dz)),
        ]
    })
}

fn attention(subject: &Subject) -> Case {
    let model = &subject.model;
    let (heads, kv_heads, dim) = (model.num_attention_heads, model.num_key_value_heads, model.head_dim);
    let segments = [(0..0, 0..200), (0..200, 200..700), (0..200, 700..1030)];
    let segments = segments.map(|(prefix, own)| Segment { prefix, own });
    let operation =
        format!("attention [1030, {heads}, {dim}] to {kv_heads} key-value heads, with its gradients");
    Case::new(operation, 5e-5, move |lab| {
        let attention = CausalAttention::new(&segments, 1030, lab.device);
        let leaf = |seed, heads: usize| lab.tensor(seed, [1030, heads, dim]).autodiff().require_grad();
        let (q, k, v) = (leaf(1, heads), leaf(2, kv_heads), leaf(3, kv_heads));
        let y = attention.attend(q.clone() * 2.0, k.clone() * 2.0, v.clone());
        let weights = lab.tensor(4, [1030, heads * dim]).autodiff();
        let gradients = (y.clone() * weights).sum().backward();
        let of = |x: &Tensor<3>| lab.gradient(x.grad(&gradients).expect("the output depends on it"));
        vec![
            Part::new("", to_host(y.inner())),
            Part::new(", of queries", of(&q)),
            Part::new(", of keys", of(&k)),
            Part::new(", of values", of(&v)),
        ]
    })
}

fn update(rows: usize, columns: usize) -> Case {
    Case::new(format!("AdamW update [{rows}, {columns}]"), 1e-6, move |lab| {
        updated(lab, [rows, columns], DType::F32).into()
    })
}

/// With moments in BF16. A device's F32 may differ in the last bit, and then it rounds a moment to the next number; but means do not show that.
fn rounded_update(rows: usize, columns: usize) -> Case {
    Case::new(format!("AdamW update [{rows}, {columns}] with moments in BF16"), 1e-5, move |lab| {
        let [weight, moments @ ..] = updated(lab, [rows, columns], DType::BF16);
        let mean = |numbers: &[f32]| numbers.iter().sum::<f32>() / numbers.len() as f32;
        let means = |part: Part| Part::new(part.what, part.numbers.chunks(MEAN).map(mean).collect());
        let [first, second] = moments.map(means);
        vec![weight, first, second]
    })
}

fn updated(lab: &Lab<'_>, shape: [usize; 2], dtype: DType) -> [Part; 3] {
    let update = AdamWUpdate {
        learning_rate: 0.1,
        gradient_scale: 0.5,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-3,
        weight_decay: 0.1,
        time: 3,
        parameter: 1,
    };
    let [weight, gradient, first, second] = [1, 2, 3, 4].map(|seed| lab.tensor(seed, shape));
    let moments = [to_host(first), to_host(second.square())];
    let moments = Moments::from_values(moments.each_ref().map(Vec::as_slice), dtype, lab.device);
    let (weight, moments) = update.apply(weight, gradient, moments);
    [
        Part::new(", weight", to_host(weight)),
        Part::new(", first moment", moments.first()),
        Part::new(", second moment", moments.second()),
    ]
}

/// A model of one layer, with a small vocabulary.
fn layer(subject: &Subject, lab: &Lab<'_>) -> Qwen2 {
    let mut config = subject.model.clone();
    config.num_hidden_layers = 1;
    config.vocab_size = WORDS;
    Qwen2::init(config, 7, lab.device)
}

fn tokens(seed: u64, n: usize) -> Vec<u32> {
    numbers(seed, n).into_iter().map(|x| ((x + 1.0) / 2.0 * (WORDS - 1) as f32) as u32).collect()
}

fn decoding(subject: &Subject) -> Case {
    let subject = subject.clone();
    let operation = "decoding of one layer with a cache, 3 rows".to_string();
    Case::new(operation, LAYER, move |lab| decoded(&layer(&subject, lab)))
}

/// With matrices and a cache in half precision. On the CPU the cache is in F32, from which a rounded one differs.
fn rounded_decoding(subject: &Subject, dtype: DType) -> Case {
    let subject = subject.clone();
    let operation = format!("decoding of one layer with a cache, 3 rows, in {}", name(dtype));
    let (tolerance, round): (f32, fn(&Qwen2) -> Qwen2) =
        if dtype == DType::BF16 { (1e-2, Qwen2::to_bf16) } else { (2e-3, Qwen2::to_f16) };
    Case::new(operation, tolerance, move |lab| decoded(&round(&layer(&subject, lab))))
}

/// The logits after prompts of several lengths, some tokens, some more for fewer rows, and some after another prompt.
fn decoded(model: &Qwen2) -> Vec<Part> {
    let prompts = [300, 7, 140].map(|n| tokens(n as u64, n));
    let prompts: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let (prompts, logits) = model.prefill(&prompts, None);
    let mut cache = model.cache(3, 312);
    for (row, prompt) in prompts.iter().enumerate() {
        model.start(&mut cache, &[row], prompt);
    }
    let mut all = to_host(logits);
    let mut decode = |cache: &mut KvCache, rows: &[usize], seed: u64, steps: u64| {
        for step in 0..steps {
            all.extend(to_host(model.decode(cache, rows, &tokens(seed + step, rows.len()))));
        }
    };
    decode(&mut cache, &[0, 1, 2], 100, 8);
    decode(&mut cache, &[2, 0], 200, 4);
    // A shorter prompt replaces the others in their rows.
    model.start(&mut cache, &[0, 1], &prompts[1]);
    decode(&mut cache, &[0, 1, 2], 300, 2);
    vec![Part::new("", all)]
}

fn draws(subject: &Subject, vocabulary: usize) -> Case {
    let subject = subject.clone();
    Case::new(format!("drawing tokens from [8, {vocabulary}]"), 1e-4, move |lab| {
        let model = layer(&subject, lab);
        let draw = |sampling: Sampling| {
            let requests: Vec<DrawRequest> =
                (0..8).map(|row| DrawRequest { row, uniform: 0.05 + 0.11 * row as f64 }).collect();
            let drawn = model.draw(lab.tensor(1, [8, vocabulary]) * 12.0, &requests, &sampling);
            let of = |what: &str, number: fn(&Draw) -> f32| {
                let numbers = drawn.iter().map(|draw| draw.as_ref().map_or(f32::NAN, number)).collect();
                Part::new(format!(", {what} with {sampling:?}"), numbers)
            };
            [
                of("ids", |draw| draw.token as f32),
                of("log-probabilities", |draw| draw.logprob),
                of("entropies", |draw| draw.entropy),
            ]
        };
        let default = Sampling::default;
        [
            draw(default()),
            draw(Sampling::greedy()),
            draw(Sampling { top_k: Some(50), ..default() }),
            draw(Sampling { top_p: Some(0.9), temperature: 0.7, ..default() }),
            draw(Sampling { min_p: Some(0.05), ..default() }),
        ]
        .into_iter()
        .flatten()
        .collect()
    })
}

/// Log-probabilities and gradients of a batch of more than 1,024 tokens.
fn pass(model: &Qwen2) -> (Part, GradientsParams) {
    let (prompt, completions) = (tokens(1, 400), [tokens(2, 350), tokens(3, 300)]);
    let batch =
        [PromptCompletions { prompt: &prompt, completions: completions.iter().map(Vec::as_slice).collect() }];
    let (scores, pass) = model.forward(&batch, 1.0, ActivationCheckpointing::Off);
    let slopes: Vec<TokenGradients> = completions
        .iter()
        .enumerate()
        .map(|(i, tokens)| TokenGradients::of_logprobs(numbers(10 + i as u64, tokens.len())))
        .collect();
    let mut gradients = GradientsParams::new();
    pass.backward(model, &slopes, &mut gradients);
    let logprobs = scores.into_iter().flat_map(|scores| scores.logprobs).collect();
    (Part::new(", log-probabilities", logprobs), gradients)
}

/// A part for each gradient: small ones count as much as large ones.
fn gradients_of(lab: &Lab<'_>, model: &Qwen2, gradients: &GradientsParams) -> Vec<Part> {
    let expect = "every weight that is trained has a gradient";
    let of = |(name, weight): (String, Weight<'_>)| {
        let numbers = match weight {
            Weight::Matrix(w) => lab.gradient(gradients.get::<2>(w.id).expect(expect)),
            Weight::Table(table) => {
                let of_part = |w: &Param<Tensor<2>>| lab.gradient(gradients.get::<2>(w.id).expect(expect));
                table.parts().iter().flat_map(of_part).collect()
            }
            Weight::Vector(w) => lab.gradient(gradients.get::<1>(w.id).expect(expect)),
        };
        Part::new(format!(", gradient of {name}"), numbers)
    };
    model.trained().into_iter().map(of).collect()
}

fn weights(subject: &Subject) -> Case {
    let subject = subject.clone();
    Case::new("one layer, 1048 tokens".to_string(), LAYER, move |lab| {
        let model = layer(&subject, lab);
        let (logprobs, gradients) = pass(&model);
        let mut parts = gradients_of(lab, &model, &gradients);
        parts.push(logprobs);
        parts
    })
}

fn adapters(subject: &Subject) -> Case {
    let subject = subject.clone();
    let lora = subject.lora.clone().unwrap_or_default();
    let operation = format!("one layer with adapters of rank {}, 1048 tokens, after an update", lora.rank);
    Case::new(operation, LAYER, move |lab| {
        let model = layer(&subject, lab).freeze().with_lora(&LoraConfig { seed: 3, ..lora.clone() });
        // A large epsilon: the direction of a tiny gradient is rounding.
        let mut optimizer = AdamW::new(&AdamWConfig { epsilon: 1e-2, ..AdamWConfig::default() });
        let (_, gradients) = pass(&model);
        let (model, norm) = optimizer.step(model, gradients, 1e-2, 1e9);
        let (logprobs, gradients) = pass(&model);
        let mut parts = gradients_of(lab, &model, &gradients);
        parts.extend([logprobs, Part::new(", norm of the gradient", vec![norm as f32])]);
        parts
    })
}
