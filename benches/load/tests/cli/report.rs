//! The report: tables and plots, which a page takes in.

use std::fs;

use crate::program::{output, refusal};

#[test]
fn a_page_gets_its_tables_and_plots() {
    let directory = tempfile::tempdir().unwrap();
    let (out, page) = (directory.path().join("figures"), directory.path().join("page.md"));
    let (out_name, page_name) = (out.to_str().unwrap(), page.to_str().unwrap());
    let report = ["report", "--quick", "--only", "latency,workers", "--out", out_name, "--page", page_name];
    let text = "# Speed\n\n<!-- figures: latency -->\n<!-- end -->\n\nMore.\n";
    fs::write(&page, text).unwrap();
    let refused = refusal(&[&report[..], &["--redraw"]].concat());
    assert!(refused.contains("has no figures of `latency`: leave --redraw out"), "{refused}");

    assert!(output(&report).status.success());
    let written = fs::read_to_string(&page).unwrap();
    assert!(
        written.starts_with("# Speed\n\n<!-- figures: latency -->\n")
            && written.ends_with("<!-- end -->\n\nMore.\n")
    );
    assert!(written.contains("| contender | calls/s |"), "{written}");
    assert!(written.contains("](figures/latency-distribution.svg)"), "{written}");
    assert!(written.contains("\nrun --contenders all --rate 5000 --duration 150ms"), "{written}");
    for file in ["latency-distribution.svg", "workers.md", "figures.json"] {
        assert!(out.join(file).exists(), "{file}");
    }

    assert!(!out.join("latency.md").exists(), "it is in the page");

    // What was measured can be drawn again.
    fs::write(&page, text).unwrap();
    assert!(output(&[&report[..], &["--redraw"]].concat()).status.success());
    assert_eq!(fs::read_to_string(&page).unwrap(), written);
}

#[test]
fn a_section_that_is_not_there_is_told_with_those_that_are() {
    let refused = refusal(&["report", "--only", "speed"]);
    assert!(refused.contains("there is no section `speed`: they are calls, latency,"), "{refused}");
}
