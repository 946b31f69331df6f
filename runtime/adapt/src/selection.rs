//! Which tensors are trained.

use std::fmt;
use std::str::FromStr;

use wildmatch::WildMatch;

use crate::error::AdaptError;
use crate::parameters::Parameters;

/// The tensors to train. The rest is frozen, and nothing of the backward pass is built for it.
///
/// As text: `all`, `last:8`, `biases`, `name:fc.*,block3.*`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Selection {
    /// Every weight and bias.
    #[default]
    All,
    /// The last `k` in graph order.
    Last(usize),
    /// Tensors of at most one axis: biases, scales a channel. Their gradients need no saved activations (TinyTL, Cai et
    /// al., NeurIPS 2020).
    Biases,
    /// Those whose name matches one of these; `*` stands for any text, `?` for one character.
    Named(Vec<String>),
}

impl Selection {
    /// Exactly the tensors of these names.
    pub fn exactly<'a>(names: impl IntoIterator<Item = &'a str>) -> Selection {
        Selection::Named(names.into_iter().map(str::to_owned).collect())
    }

    /// For every tensor, is it trained?
    ///
    /// # Errors
    /// A pattern that matches nothing, or a selection that leaves nothing to train; names are listed.
    pub(crate) fn mask(&self, names: &[String], dims: &[Vec<usize>]) -> Result<Vec<bool>, AdaptError> {
        let mask: Vec<bool> = match self {
            Selection::All => vec![true; names.len()],
            Selection::Last(k) => (0..names.len()).map(|i| i + k >= names.len()).collect(),
            Selection::Biases => dims.iter().map(|d| d.len() <= 1).collect(),
            Selection::Named(patterns) => {
                let mut mask = vec![false; names.len()];
                for pattern in patterns {
                    // A whole name first: names may hold any character.
                    let glob = WildMatch::new(pattern);
                    let matches = |name: &String| name == pattern || glob.matches(name);
                    if !names.iter().any(matches) {
                        return Err(AdaptError::Unsuitable(format!(
                            "no trainable tensor is called \"{pattern}\"; there are {}",
                            listed(names)
                        )));
                    }
                    mask.iter_mut().zip(names).for_each(|(m, name)| *m |= matches(name));
                }
                mask
            }
        };
        if mask.contains(&true) {
            Ok(mask)
        } else {
            Err(AdaptError::Unsuitable(format!("`{self}` selects none of the tensors; there are {}", listed(names))))
        }
    }
}

/// The first names, and how many more.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selection::All => f.write_str("all"),
            Selection::Last(k) => write!(f, "last:{k}"),
            Selection::Biases => f.write_str("biases"),
            Selection::Named(patterns) => write!(f, "name:{}", patterns.join(",")),
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Selection, String> {
        let wrong = || format!("`{text}` selects no tensors; write all, last:8, biases or name:fc.*,block3.*");
        match text.split_once(':') {
            None if text == "all" => Ok(Selection::All),
            None if text == "biases" => Ok(Selection::Biases),
            Some(("last", k)) => match k.parse() {
                Ok(k) if k > 0 => Ok(Selection::Last(k)),
                _ => Err(wrong()),
            },
            Some(("name", patterns)) if patterns.split(',').all(|p| !p.is_empty()) => {
                Ok(Selection::Named(patterns.split(',').map(str::to_owned).collect()))
            }
            _ => Err(wrong()),
        }
    }
}

impl Parameters {
    /// The selected ones, in the same order.
    pub fn select(&self, selection: &Selection) -> Result<Parameters, AdaptError> {
        Ok(self.masked(&selection.mask(self.names(), self.dims())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Result<Vec<usize>, String> {
        let names = ["stem.weight", "stem.bias", "a[0].weight", "fc.weight", "fc.bias"].map(str::to_owned);
        let dims = [vec![8, 3, 3, 3], vec![8], vec![8, 8, 1, 1], vec![10, 8], vec![10]];
        let selection: Selection = text.parse()?;
        assert_eq!(selection.to_string(), text);
        let mask = selection.mask(&names, &dims).map_err(|e| e.to_string())?;
        Ok(mask.iter().enumerate().filter(|(_, m)| **m).map(|(i, _)| i).collect())
    }

    #[test]
    fn every_form_selects_what_it_says() {
        assert_eq!(chosen("all").unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(chosen("last:2").unwrap(), [3, 4]);
        assert_eq!(chosen("last:99").unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(chosen("biases").unwrap(), [1, 4]);
        assert_eq!(chosen("name:fc.*,a[0].weight").unwrap(), [2, 3, 4]);
    }

    #[test]
    fn what_selects_nothing_is_an_error_that_lists_names() {
        let error = chosen("name:fc.*,head.*").unwrap_err();
        assert!(error.contains("head.*") && error.contains("stem.weight"), "{error}");
        for text in ["last:0", "last:x", "name:", "name:a,,b", "some", ""] {
            assert!(chosen(text).unwrap_err().contains("last:8"), "{text}");
        }
    }
}
