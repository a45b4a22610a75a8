//! Which parameters learn, how fast, and from when: all of them, the head, the top layers, or thawing from the top
//! down (Howard and Ruder 2018); learning rates that fall towards the input (ELECTRA); groups by name.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::optimizer::{OptimizerConfig, Treatment};
use crate::parameters::{Parameter, Parameters};
use crate::pattern;

/// `[tune]` of a recipe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tune {
    /// `"all"`, `"head"`, `"gradual"`, or a number: the head and so many layers from the top. Default: all.
    pub train: Train,
    /// With `"gradual"`: the head learns at once, one more layer from the top after each so many steps, the embeddings
    /// last. Default: 100.
    pub thaw_every: u64,
    /// The learning rate of each layer over that of the layer above it; ELECTRA has 0.8 for its base model. Default: 1.
    pub layer_decay: f32,
    /// Leave biases and norms without decay. Default: yes.
    pub spare_biases_and_norms: bool,
    /// Groups of parameters by name; the last that fits counts.
    pub group: Vec<Group>,
}

/// What learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Train {
    /// One of the named ways.
    Named(Named),
    /// The head and so many layers from the top.
    Top(usize),
}

/// What learns, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// Everything.
    All,
    /// The head.
    Head,
    /// The head, then one layer after the other.
    Gradual,
}

/// `[[tune.group]]`: parameters that differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Group {
    /// Which: a pattern over names as files spell them, `*.embeddings.*` for instance.
    pub names: String,
    /// What the learning rate is multiplied by.
    pub lr: Option<f32>,
    /// Their decay.
    pub weight_decay: Option<f32>,
    /// Whether they never learn.
    pub frozen: Option<bool>,
    /// The step from which they learn.
    pub thaw_at: Option<u64>,
}

impl Default for Tune {
    fn default() -> Self {
        Self {
            train: Train::Named(Named::All),
            thaw_every: 100,
            layer_decay: 1.0,
            spare_biases_and_norms: true,
            group: Vec::new(),
        }
    }
}

impl Tune {
    /// Says what can't go together with `optimizer`: the relative step of Adafactor takes no rates.
    ///
    /// # Errors
    /// When something can't.
    pub fn check(&self, optimizer: &OptimizerConfig) -> Result<()> {
        let rates = self.layer_decay != 1.0 || self.group.iter().any(|group| group.lr.is_some_and(|lr| lr != 1.0));
        if optimizer.lr().is_none() && rates {
            let problem = "the relative step of adafactor is the same for all parameters: give optimizer.lr, or leave \
                           layer_decay and the lr of groups out";
            return Err(Error::recipe("tune", problem));
        }
        Ok(())
    }

    /// The treatment of every parameter, where the others' decay is `weight_decay`.
    ///
    /// # Errors
    /// When a number can't work, a pattern fits no parameter, or nothing would learn.
    pub fn treatments(&self, parameters: &Parameters, weight_decay: f32) -> Result<Vec<Treatment>> {
        let wrong = |field: &str, problem: String| Err(Error::recipe(format!("tune.{field}"), problem));
        if !(self.layer_decay > 0.0 && self.layer_decay <= 1.0) {
            return wrong("layer_decay", format!("{} should be above 0 and at most 1", self.layer_decay));
        }
        for group in &self.group {
            if !parameters.iter().any(|parameter| pattern::matches(&group.names, &parameter.name)) {
                let some: Vec<&str> =
                    parameters.iter().step_by(parameters.len().div_ceil(5).max(1)).map(|p| p.name.as_str()).collect();
                return wrong(
                    "group",
                    format!("no parameter is called {:?}; there are {}, …", group.names, some.join(", ")),
                );
            }
            let bad = |x: Option<f32>| x.is_some_and(|x| !(0.0..f32::INFINITY).contains(&x));
            if bad(group.lr) || bad(group.weight_decay) {
                return wrong("group", format!("{:?}: lr and weight_decay should be 0 or more", group.names));
            }
        }
        let layers = parameters.layers();
        let treatments: Vec<_> =
            parameters.iter().map(|parameter| self.treatment(parameter, layers, weight_decay)).collect();
        if treatments.iter().all(|treatment| treatment.thaws.is_none()) {
            return wrong("train", "nothing would learn: unfreeze a group".into());
        }
        Ok(treatments)
    }

    fn treatment(&self, parameter: &Parameter, layers: usize, weight_decay: f32) -> Treatment {
        // 0 for the head, 1 for the layer below it, …
        let below = parameter.depth.map_or(0, |depth| layers + 1 - depth);
        let thaws = match self.train {
            Train::Named(Named::All) => Some(0),
            Train::Named(Named::Head) => parameter.is_head().then_some(0),
            Train::Named(Named::Gradual) => Some(if below == 0 { 0 } else { below as u64 * self.thaw_every + 1 }),
            Train::Top(count) => (below <= count.min(layers)).then_some(0),
        };
        let spared = self.spare_biases_and_norms && parameter.is_bias_or_norm();
        let mut treatment = Treatment {
            lr: self.layer_decay.powi(below as i32),
            weight_decay: if spared { 0.0 } else { weight_decay },
            thaws,
        };
        for group in self.group.iter().filter(|group| pattern::matches(&group.names, &parameter.name)) {
            treatment.lr *= group.lr.unwrap_or(1.0);
            treatment.weight_decay = group.weight_decay.unwrap_or(treatment.weight_decay);
            match (group.frozen, group.thaw_at) {
                (Some(true), _) => treatment.thaws = None,
                (_, Some(step)) => treatment.thaws = Some(step),
                (Some(false), None) => treatment.thaws = Some(0),
                (None, None) => {}
            }
        }
        treatment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        let make =
            |name: &str, rank: usize, depth| Parameter { name: name.into(), shape: vec![2; rank], depth, word: false };
        Parameters::from(vec![
            make("word", 2, Some(0)),
            make("layer.0.weight", 2, Some(1)),
            make("layer.0.bias", 1, Some(1)),
            make("layer.1.weight", 2, Some(2)),
            make("head.weight", 2, None),
        ])
    }

    fn thaws(train: Train) -> Vec<Option<u64>> {
        let tune = Tune { train, thaw_every: 10, ..Tune::default() };
        tune.treatments(&parameters(), 0.1).unwrap().iter().map(|t| t.thaws).collect()
    }

    #[test]
    fn who_learns_when() {
        assert_eq!(thaws(Train::Named(Named::All)), [Some(0); 5]);
        assert_eq!(thaws(Train::Named(Named::Head)), [None, None, None, None, Some(0)]);
        assert_eq!(thaws(Train::Top(1)), [None, None, None, Some(0), Some(0)]);
        assert_eq!(thaws(Train::Top(9)), [None, Some(0), Some(0), Some(0), Some(0)]);
        assert_eq!(thaws(Train::Named(Named::Gradual)), [Some(31), Some(21), Some(21), Some(11), Some(0)]);
    }

    #[test]
    fn layers_decay_and_groups_differ() {
        let group = vec![
            Group { names: "layer.*".into(), lr: Some(2.0), ..Group::default() },
            Group { names: "*.1.*".into(), frozen: Some(true), weight_decay: Some(0.5), ..Group::default() },
        ];
        let tune = Tune { layer_decay: 0.5, group, ..Tune::default() };
        let found = tune.treatments(&parameters(), 0.1).unwrap();
        assert_eq!(found.iter().map(|t| t.lr).collect::<Vec<_>>(), [0.125, 0.5, 0.5, 1.0, 1.0]);
        assert_eq!(found.iter().map(|t| t.weight_decay).collect::<Vec<_>>(), [0.1, 0.1, 0.0, 0.5, 0.1]);
        assert_eq!(found[3].thaws, None);
    }

    #[test]
    fn patterns_that_fit_nothing_are_mistakes() {
        let tune = Tune { group: vec![Group { names: "leyer.*".into(), ..Group::default() }], ..Tune::default() };
        let said = tune.treatments(&parameters(), 0.1).unwrap_err().to_string();
        assert!(said.contains("leyer") && said.contains("layer.0.weight"), "{said}");
        let all = Group { names: "*".into(), frozen: Some(true), ..Group::default() };
        assert!(Tune { group: vec![all], ..Tune::default() }.treatments(&parameters(), 0.1).is_err());
    }
}
