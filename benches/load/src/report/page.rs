//! A page in which tables are replaced.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The name of a section, and what the page shows of it.
pub(super) type Fragment<'a> = (&'a str, String);

/// What a fragment ends with.
const END: &str = "<!-- end -->";

/// Replaces what is between the marks of each fragment. Gives those that have no marks.
pub(super) fn replace<'a>(page: &Path, fragments: Vec<Fragment<'a>>) -> Result<Vec<Fragment<'a>>> {
    let mut text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let mut left = Vec::new();
    for (name, fragment) in fragments {
        match replaced(&text, name, &fragment).with_context(|| format!("in {}", page.display()))? {
            Some(with) => text = with,
            None => left.push((name, fragment)),
        }
    }
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))?;
    Ok(left)
}

/// The page with the fragment, if it has marks for it.
fn replaced(page: &str, name: &str, fragment: &str) -> Result<Option<String>> {
    let mark = format!("<!-- figures: {name} -->");
    let Some((before, rest)) = page.split_once(&mark) else { return Ok(None) };
    let Some((_, after)) = rest.split_once(END) else { bail!("`{mark}` has no `{END}` after it") };
    Ok(Some(format!("{before}{mark}\n{}\n{END}{after}", fragment.trim_end())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "a\n<!-- figures: x -->\nold\n<!-- end -->\nb\n<!-- figures: y -->\n<!-- end -->\nc\n";
        let once = replaced(page, "x", "new\n").unwrap().unwrap();
        assert_eq!(once, page.replace("old", "new"));
        assert_eq!(replaced(&once, "x", "new").unwrap(), Some(once), "again");
        assert_eq!(replaced(page, "z", "new").unwrap(), None, "no marks");
        assert!(replaced("<!-- figures: x -->", "x", "new").is_err(), "no end");
    }
}
