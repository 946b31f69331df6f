//! Losses as recipes name them.

use limbeck_files::nearest::least_unlike;
use serde::Deserialize;

use crate::adversarial::loss::Adversarial;
use crate::error::LossError;
use crate::given::Loss;
use crate::history::ps_kd::PsKd;
use crate::logits::cross_entropy::CrossEntropy;
use crate::logits::dist::Dist;
use crate::logits::dkd::Dkd;
use crate::logits::kd::Kd;
use crate::logits::logit_std::LogitStd;
use crate::logits::mse::LogitMse;
use crate::logits::skd::Skd;
use crate::logits::virtual_teacher::VirtualTeacher;
use crate::logits::wsld::Wsld;
use crate::maps::{
    ab::Ab, at::At, fitnets::Fitnets, fsp::Fsp, ft::Ft, ickd::Ickd, nst::Nst, ofd::Ofd, review_kd::ReviewKd, vid::Vid,
};
use crate::relations::cc::Cc;
use crate::relations::crd::Crd;
use crate::relations::irg::Irg;
use crate::relations::pkt::Pkt;
use crate::relations::rkd::Rkd;
use crate::relations::sp::Sp;
use crate::relations::srd::Srd;

/// What a loss reads, so that a recipe can be checked before anything runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Student taps.
    pub student: usize,
    /// Teacher keys.
    pub teacher: usize,
    /// Every sample must have a label.
    pub labels: bool,
    /// The default head of the answers file, in the words of `limbeck teach --head`; empty where there is no teacher.
    pub head: &'static str,
}

/// A loss with its options.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Method {
    /// See [`LogitMse`].
    LogitMse(LogitMse),
    // Logits and vectors
    /// See [`Kd`].
    Kd(Kd),
    /// See [`CrossEntropy`].
    CrossEntropy(CrossEntropy),
    /// See [`Dkd`].
    Dkd(Dkd),
    /// See [`Dist`].
    Dist(Dist),
    /// See [`LogitStd`].
    LogitStd(LogitStd),
    /// See [`Wsld`].
    Wsld(Wsld),
    /// See [`VirtualTeacher`].
    VirtualTeacher(VirtualTeacher),
    /// See [`PsKd`].
    PsKd(PsKd),
    /// See [`Skd`].
    Skd(Skd),
    /// See [`Sp`].
    Sp(Sp),
    /// See [`Rkd`].
    Rkd(Rkd),
    /// See [`Cc`].
    Cc(Cc),
    /// See [`Pkt`].
    Pkt(Pkt),
    /// See [`Irg`].
    Irg(Irg),
    /// See [`Srd`].
    Srd(Srd),
    /// See [`Crd`].
    Crd(Crd),
    /// See [`Adversarial`].
    Adversarial(Adversarial),
    // Over feature maps
    /// See [`Fitnets`].
    Fitnets(Fitnets),
    /// See [`At`].
    At(At),
    /// See [`Fsp`].
    Fsp(Fsp),
    /// See [`Nst`].
    Nst(Nst),
    /// See [`Vid`].
    Vid(Vid),
    /// See [`Ab`].
    Ab(Ab),
    /// See [`Ofd`].
    Ofd(Ofd),
    /// See [`Ft`].
    Ft(Ft),
    /// See [`ReviewKd`].
    ReviewKd(ReviewKd),
    /// See [`Ickd`].
    Ickd(Ickd),
}

/// Names of all losses, in the order of [`Method`].
const KINDS: &[&str] = &[
    "logit-mse",
    // Logits and vectors
    "kd",
    "cross-entropy",
    "dkd",
    "dist",
    "logit-std",
    "wsld",
    "virtual-teacher",
    "ps-kd",
    "skd",
    "sp",
    "rkd",
    "cc",
    "pkt",
    "irg",
    "srd",
    "crd",
    "adversarial",
    // Over feature maps
    "fitnets",
    "at",
    "fsp",
    "nst",
    "vid",
    "ab",
    "ofd",
    "ft",
    "review-kd",
    "ickd",
];

impl Method {
    /// Read `kind` and options of a recipe's table; keys that belong to the recipe (`student`, `weight`, ...) are gone from it already.
    pub fn parse(table: toml::Table) -> Result<Method, LossError> {
        let kind = match table.get("kind") {
            Some(toml::Value::String(kind)) => kind.clone(),
            _ => return Err(LossError::Options { kind: "?", why: "has no `kind`; write kind = \"kd\"".into() }),
        };
        let Some(known) = KINDS.iter().copied().find(|k| *k == kind) else {
            let nearest = least_unlike(&kind, KINDS.iter().copied()).unwrap_or_default();
            return Err(LossError::UnknownKind { nearest, kind });
        };
        table.try_into().map_err(|e: toml::de::Error| LossError::Options { kind: known, why: e.message().to_owned() })
    }

    /// The loss, with nothing remembered. `seed` draws what a loss draws.
    pub fn build(&self, seed: u64) -> Box<dyn Loss> {
        match self {
            Method::LogitMse(loss) => Box::new(*loss),
            // Logits and vectors
            Method::Kd(loss) => Box::new(loss.seeded(seed)),
            Method::CrossEntropy(loss) => Box::new(*loss),
            Method::Dkd(loss) => Box::new(*loss),
            Method::Dist(loss) => Box::new(*loss),
            Method::LogitStd(loss) => Box::new(*loss),
            Method::Wsld(loss) => Box::new(*loss),
            Method::VirtualTeacher(loss) => Box::new(*loss),
            Method::PsKd(loss) => Box::new(*loss),
            Method::Skd(loss) => Box::new(*loss),
            Method::Sp(loss) => Box::new(*loss),
            Method::Rkd(loss) => Box::new(*loss),
            Method::Cc(loss) => Box::new(*loss),
            Method::Pkt(loss) => Box::new(*loss),
            Method::Irg(loss) => Box::new(*loss),
            Method::Srd(loss) => Box::new(*loss),
            Method::Crd(loss) => Box::new(loss.seeded(seed)),
            Method::Adversarial(loss) => Box::new(loss.seeded(seed)),
            // Over feature maps
            Method::Fitnets(loss) => Box::new(*loss),
            Method::At(loss) => Box::new(*loss),
            Method::Fsp(loss) => Box::new(*loss),
            Method::Nst(loss) => Box::new(*loss),
            Method::Vid(loss) => Box::new(*loss),
            Method::Ab(loss) => Box::new(*loss),
            Method::Ofd(loss) => Box::new(loss.clone()),
            Method::Ft(loss) => Box::new(*loss),
            Method::ReviewKd(loss) => Box::new(loss.clone()),
            Method::Ickd(loss) => Box::new(*loss),
        }
    }

    /// What it reads.
    pub fn needs(&self) -> Needs {
        let of_one = |labels: bool, head: &'static str| Needs { student: 1, teacher: 1, labels, head };
        match self {
            Method::LogitMse(_) => of_one(false, "logits:dense"),
            // Logits and vectors
            Method::Kd(loss) => of_one(false, if loss.noise.is_some() { "logits:dense" } else { "logits" }),
            Method::Dkd(_) | Method::Wsld(_) => of_one(true, "logits"),
            Method::Dist(_) | Method::LogitStd(_) | Method::Skd(_) => of_one(false, "logits:dense"),
            // The answers are the student's own, of an epoch ago
            Method::PsKd(_) => of_one(true, "logits:dense"),
            Method::Sp(_) | Method::Rkd(_) | Method::Cc(_) | Method::Pkt(_) | Method::Srd(_) => of_one(false, "pooled"),
            // The teacher's vector reaches it through a connector in the student's graph
            Method::Crd(_) => Needs { student: 2, teacher: 0, labels: false, head: "pooled" },
            Method::Adversarial(_) => of_one(false, "logits:dense"),
            Method::Irg(loss) => Needs { student: loss.taps(), teacher: loss.taps(), labels: false, head: "pooled" },
            Method::CrossEntropy(_) | Method::VirtualTeacher(_) => {
                Needs { student: 1, teacher: 0, labels: true, head: "" }
            }
            // Over feature maps
            Method::Fitnets(_) | Method::Nst(_) | Method::Ofd(_) | Method::Ft(_) | Method::Ickd(_) => {
                Needs { student: 1, teacher: 1, labels: false, head: "feat" }
            }
            Method::At(loss) => Needs { student: 1, teacher: 1, labels: false, head: loss.head() },
            Method::Fsp(_) => Needs { student: 2, teacher: 2, labels: false, head: "feat" },
            Method::Vid(_) => Needs { student: 2, teacher: 1, labels: false, head: "feat" },
            Method::Ab(_) => Needs { student: 1, teacher: 1, labels: false, head: "sign" },
            Method::ReviewKd(loss) => {
                Needs { student: loss.taps.get(), teacher: loss.taps.get(), labels: false, head: "feat" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Method, LossError> {
        Method::parse(toml::from_str(text).unwrap())
    }

    #[test]
    fn a_wrong_name_or_option_is_named() {
        assert!(parse("kind = \"logit-mse\"").is_ok());
        let error = parse("kind = \"logit_mse\"").unwrap_err();
        assert_eq!(error.to_string(), "unknown loss `logit_mse`; did you mean `logit-mse`?");
        let error = parse("kind = \"logit-mse\"\ntemprature = 4").unwrap_err().to_string();
        assert!(error.contains("logit-mse") && error.contains("temprature"), "{error}");
        assert!(parse("weight = 1").unwrap_err().to_string().contains("kind"));
    }

    #[test]
    fn every_loss_has_defaults_and_says_what_it_needs() {
        for kind in KINDS {
            let method = parse(&format!("kind = \"{kind}\"")).unwrap_or_else(|e| panic!("{kind}: {e}"));
            let needs = method.needs();
            assert!(needs.student > 0 && (needs.teacher > 0 || needs.labels || !needs.head.is_empty()), "{kind}");
            assert_eq!(least_unlike(kind, KINDS.iter().copied()), Some(*kind));
            let error = parse(&format!("kind = \"{kind}\"\nno_such_option = 1")).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains("no_such_option"), "{kind}: {error}");
            method.build(1);
        }
    }

    #[test]
    fn values_that_an_option_cannot_take_are_named() {
        for (text, why) in [
            ("kind = \"kd\"\ntemperature = 0", "the number 0 must be above 0"),
            ("kind = \"kd\"\ntail = \"cut\"", "`bucket`, `uniform`, `renormalise`"),
            ("kind = \"kd\"\nnoise = { fraction = 2 }", "the number 2 must be from 0 to 1"),
            ("kind = \"kd\"\nnoise = { variances = 2 }", "variances"),
            ("kind = \"rkd\"\nangle = -1", "the number -1 must be 0 or above"),
            ("kind = \"crd\"\nmomentum = 1.5", "from 0 to 1"),
            ("kind = \"cc\"\nform = \"gauss\"", "`difference`, `rbf`, `rbf-root`"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_a_loss_needs_follows_its_options() {
        assert_eq!(parse("kind = \"kd\"").unwrap().needs().head, "logits");
        assert_eq!(parse("kind = \"kd\"\nnoise = {}").unwrap().needs().head, "logits:dense");
        assert_eq!(parse("kind = \"irg\"").unwrap().needs().student, 2);
        assert_eq!(parse("kind = \"irg\"\ntransformation = 0").unwrap().needs().teacher, 1);
    }
}
