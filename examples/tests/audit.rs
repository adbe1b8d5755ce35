//! Runs the audit of the task's rewards as a user does.

mod common;

#[test]
fn the_rewards_of_the_task_pay_for_right_answers_alone() {
    let shown = common::succeed(&mut common::example("audit"));
    let (compared, numbers) = shown.split_once("== numbers are compared").unwrap();
    // Text is compared on purpose: a number in another form is wrong, and that is said.
    assert!(compared.contains("final point") && compared.contains("warning"), "{compared}");
    assert!(!numbers.contains("error") && !numbers.contains("warning"), "{numbers}");
}
