//! The path of a parameter within its module, followed while Burn walks through it.

/// Joined names of the modules that were entered.
#[derive(Debug, Default)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    /// `body.layers.0.query.weight`.
    pub(crate) fn name(&self) -> String {
        self.0.join(".")
    }
}
