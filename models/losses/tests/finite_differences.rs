//! Every gradient against central differences, in f64.

mod common;

use common::{batch, check, given};
use limbeck_losses::Method;

fn method(text: &str) -> Method {
    Method::parse(toml::from_str(text).expect("TOML")).expect("a loss")
}

#[test]
fn logit_mse() {
    for text in ["kind = \"logit-mse\"", "kind = \"logit-mse\"\ncentred = false"] {
        check(&method(text), &given(vec![batch(1, &[7], 5)], vec![batch(2, &[7], 5)]));
    }
}
