//! How the commands of classifiers' heads show labels.

use ptm_tasks::Label;

use crate::output::{Output, bar, one_line};

/// Labels with their scores as bars, under the text they are of.
pub fn show_labels(output: &mut Output, text: &str, labels: &[Label]) -> anyhow::Result<()> {
    let head = output.faint(&one_line(text, 100));
    output.line(&head)?;
    for (place, label) in labels.iter().enumerate() {
        let name = one_line(&label.label, 40);
        let name = if place == 0 { output.strong(&name) } else { name };
        let cells = output.faint(&bar(label.score));
        output.line(&format!("{:>7.4} {cells} {name}", label.score))?;
    }
    Ok(())
}
