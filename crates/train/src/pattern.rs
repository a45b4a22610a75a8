//! Patterns over parameter names: `*` stands for any characters, `?` for one; everything else for itself.

/// Whether the whole of `name` fits `pattern`.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // where to go on after the last star, should what follows it not fit
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == '*' {
            star = Some((p + 1, n));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == '?' || pattern[p] == name[n]) {
            p += 1;
            n += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            p = after;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        let name = "bert.encoder.layer.11.output.LayerNorm.weight";
        for yes in ["*", name, "bert.*", "*.weight", "*layer.1?.*", "*Norm*", "b*t.*.*.weight", "*t"] {
            assert!(matches(yes, name), "{yes}");
        }
        for no in ["", "bert", "*.bias", "*layer.1.*", "?", "weight*", "*norm*"] {
            assert!(!matches(no, name), "{no}");
        }
        assert!(matches("", "") && matches("**", "") && !matches("?", ""));
        // no exponential search
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
    }
}
