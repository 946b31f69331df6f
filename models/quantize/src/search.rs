//! Which operators must stay in float so that no more than so much is lost.
//!
//! Greedy, by measured harm, every candidate really built (biases corrected anew) and run on the held-out samples: from all
//! in integers, the most harmful operator left goes to float until the loss is small enough; then each of these, the
//! least harmful first, goes back to integers where the loss stays small enough. What is left is least in the sense that
//! none of it can go back alone; finding the least of all sets would take 2ⁿ runs.

use std::collections::BTreeSet;
use std::fmt;

use crate::QuantizeError;
use crate::loss::Loss;

/// What may be lost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaxDrop {
    /// Points: percent of the held-out samples.
    pub points: f64,
    /// Of what.
    pub of: DropOf,
}

/// What is compared with the float student.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropOf {
    /// Samples on which it answers the same. Needs no labels, and bounds the loss of accuracy too: an answer that is no longer
    /// right is another answer.
    Agreement,
    /// Samples that it answers rightly. Needs labels; answers that go wrong may be made up for by others.
    Accuracy,
}

impl fmt::Display for DropOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DropOf::Agreement => "agreement",
            DropOf::Accuracy => "accuracy",
        })
    }
}

impl MaxDrop {
    /// Points lost.
    pub fn of_loss(self, loss: &Loss) -> f64 {
        match self.of {
            DropOf::Agreement => loss.agreement_drop(),
            DropOf::Accuracy => loss.accuracy_drop().unwrap_or(f64::INFINITY),
        }
    }

    fn allows(self, loss: &Loss) -> bool {
        // As many samples as the points say, whatever the division rounds to.
        self.of_loss(loss) <= self.points + 1e-9
    }
}

/// One candidate that was built and run.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// How it differs from the one before: `float: Conv "x"`, `int8 again: Conv "x"`, or `all in int8`.
    pub step: String,
    /// Operators left in float.
    pub in_float: usize,
    /// What it lost.
    pub loss: Loss,
    /// Is that little enough?
    pub enough: bool,
}

/// The search's answer.
pub(crate) struct Found {
    pub float: BTreeSet<usize>,
    pub trials: Vec<Trial>,
}

/// The operators to leave in float out of `by_harm`, the most harmful first.
///
/// `measure(float)` builds and runs the student with these operators in float. `is_work(i)` is false for operators that only move data:
/// a student that has no other in integers is refused as not being one.
pub(crate) fn search(
    by_harm: &[usize],
    max: MaxDrop,
    title: impl Fn(usize) -> String,
    is_work: impl Fn(usize) -> bool,
    mut measure: impl FnMut(&BTreeSet<usize>) -> Result<Loss, QuantizeError>,
) -> Result<Found, QuantizeError> {
    let mut float = BTreeSet::new();
    let mut trials: Vec<Trial> = vec![];
    let mut attempt = |float: &BTreeSet<usize>, step: String, trials: &mut Vec<Trial>| {
        let loss = measure(float)?;
        let enough = max.allows(&loss);
        trials.push(Trial { step, in_float: float.len(), loss, enough });
        Ok::<_, QuantizeError>(enough)
    };
    let mut next = by_harm.iter();
    let mut enough = attempt(&float, "all in int8".into(), &mut trials)?;
    while !enough {
        let worst = next.next().copied();
        float.extend(worst);
        if !by_harm.iter().any(|i| is_work(*i) && !float.contains(i)) {
            let least = trials.iter().map(|t| max.of_loss(&t.loss)).fold(f64::INFINITY, f64::min);
            return Err(QuantizeError::NothingInIntegers { max, least, operators: by_harm.len() });
        }
        let step = worst.map(&title).unwrap_or_default();
        enough = attempt(&float, format!("float: {step}"), &mut trials)?;
    }
    for &i in by_harm[..float.len()].iter().rev().skip(1) {
        float.remove(&i);
        if !attempt(&float, format!("int8 again: {}", title(i)), &mut trials)? {
            float.insert(i);
        }
    }
    Ok(Found { float, trials })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Operators 0..6 by harm; operator 5 only moves data. Each in integers costs some of 1000 samples.
    fn found(points: f64, cost: impl Fn(&BTreeSet<usize>) -> usize) -> Result<Found, QuantizeError> {
        let max = MaxDrop { points, of: DropOf::Agreement };
        let measure = |float: &BTreeSet<usize>| {
            Ok(Loss { sqnr_db: None, kl: 0.0, agreeing: 1000 - cost(float), samples: 1000, right: None })
        };
        search(&[0, 1, 2, 3, 4, 5], max, |i| i.to_string(), |i| i != 5, measure)
    }

    /// The sum of what the operators in integers cost.
    fn costs(of: [usize; 6]) -> impl Fn(&BTreeSet<usize>) -> usize {
        move |float| (0..6).filter(|i| !float.contains(i)).map(|i| of[i]).sum()
    }

    #[test]
    fn nothing_stays_float_where_all_in_integers_is_good_enough() {
        let all = found(1.0, costs([4, 3, 1, 1, 1, 0])).unwrap();
        assert!(all.float.is_empty() && all.trials.len() == 1 && all.trials[0].enough);
    }

    #[test]
    fn the_most_harmful_go_first_until_it_is_enough() {
        assert_eq!(found(1.0, costs([30, 20, 5, 1, 1, 0])).unwrap().float, [0, 1].into());
    }

    #[test]
    fn an_operator_that_only_seemed_harmful_comes_back() {
        // In truth only operator 2 costs anything: 0 and 1 go to float on the way to it, and return.
        let only_two = found(0.5, costs([0, 0, 9, 0, 0, 0])).unwrap();
        assert_eq!(only_two.float, [2].into());
        let steps: Vec<&str> = only_two.trials.iter().map(|t| t.step.as_str()).collect();
        assert_eq!(steps, ["all in int8", "float: 0", "float: 1", "float: 2", "int8 again: 1", "int8 again: 0"]);
    }

    #[test]
    fn a_student_without_integers_is_refused_with_what_was_reached() {
        // Operator 5 moves data: it alone in integers is no int8 student.
        let error = found(0.1, costs([5, 5, 5, 5, 5, 0])).map(|f| f.float).unwrap_err();
        assert!(
            matches!(error, QuantizeError::NothingInIntegers { least, operators: 6, .. } if least == 0.5),
            "{error}"
        );
        assert!(error.to_string().contains("float"), "{error}");
    }

    #[test]
    fn a_bound_on_a_whole_number_of_samples_is_not_lost_to_rounding() {
        assert!(found(0.3, costs([3, 0, 0, 0, 0, 0])).unwrap().float.is_empty());
    }
}
