use grpo::{Completion, Error, Event, Hub, Row, Rubric, Run, RunConfig, Task};

fn main() -> Result<(), Error> {
    // Pays for right answers (2.0) and their form (0.5), and a little for being brief.
    let brief = |_: &Row, completion: &Completion| if completion.n_tokens < 40 { 1.0 } else { 0.0 };
    let rubric = Rubric::gsm8k().with("brief", 0.25, brief).version("brief", "1")?;

    let config = RunConfig::read("run.toml")?;
    let task = Task::load(&config.task, &Hub::from_env()?)?;
    let mut run = Run::open("runs/brief", config, task, rubric)?; // begins, or resumes what is there
    run.train(|event| {
        if let Event::Step { metrics, .. } = event {
            println!("step {}: mean reward {:.2}", metrics.step, metrics.reward);
        }
    })?;
    Ok(())
}
