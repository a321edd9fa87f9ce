//! A page in which tables are replaced.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// What a fragment ends with.
const END: &str = "<!-- end -->";

/// Replaces what is between the marks of each fragment. Fragments without marks are left out.
pub(super) fn replace(page: &Path, fragments: &[(&str, String)]) -> Result<()> {
    let mut text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    for (name, fragment) in fragments {
        text = replaced(&text, name, fragment).with_context(|| format!("in {}", page.display()))?;
    }
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn replaced(page: &str, name: &str, fragment: &str) -> Result<String> {
    let mark = format!("<!-- figures: {name} -->");
    let Some((before, rest)) = page.split_once(&mark) else { return Ok(page.to_owned()) };
    let Some((_, after)) = rest.split_once(END) else { bail!("`{mark}` has no `{END}` after it") };
    Ok(format!("{before}{mark}\n{}\n{END}{after}", fragment.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "a\n<!-- figures: x -->\nold\n<!-- end -->\nb\n<!-- figures: y -->\n<!-- end -->\nc\n";
        let once = replaced(page, "x", "new\n").unwrap();
        assert_eq!(once, page.replace("old", "new"));
        assert_eq!(replaced(&once, "x", "new").unwrap(), once, "again");
        assert_eq!(replaced(page, "z", "new").unwrap(), page, "no marks");
        assert!(replaced("<!-- figures: x -->", "x", "new").is_err(), "no end");
    }
}
