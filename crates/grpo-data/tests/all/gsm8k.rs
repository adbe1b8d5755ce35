use grpo_data::{Columns, Split, load};

#[test]
#[ignore = "reads the real dataset: set GRPO_GSM8K to the folder that holds `main`, and run it by name"]
fn the_real_dataset() {
    let folder = std::env::var("GRPO_GSM8K")
        .expect("GRPO_GSM8K must name the folder of the dataset, with `main` in it");
    let train = load(&folder, &Split::train(), &Columns::default()).unwrap();
    let test = load(&folder, &Split::test(), &Columns::default()).unwrap();
    assert_eq!((train.len(), test.len()), (7473, 1319));
    assert!(train[0].question.starts_with("Natalia sold clips") && train[0].truth == "72");
    assert!(test[0].question.starts_with("Janet’s ducks lay 16 eggs") && test[0].truth == "18");
    for example in train.iter().chain(&test) {
        assert!(example.truth.parse::<f64>().is_ok(), "{:?}", example.truth);
        assert_eq!(example.solution.matches("####").count(), 1, "{:?}", example.solution);
    }
}
