//! JSON and CSV can be read, and plots are well-formed.

use std::fs;
use std::path::Path;

use crate::program::measure;

fn assert_svg(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let document =
        roxmltree::Document::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    assert_eq!(document.root_element().tag_name().name(), "svg");
    let number = |name| document.root_element().attribute(name).unwrap().parse::<u32>().unwrap();
    assert!(number("width") > 100 && number("height") > 50);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{}", file.display());
    let texts = document.descendants().filter(|node| node.tag_name().name() == "text");
    texts.filter_map(|node| node.text()).collect::<Vec<_>>().join("\n")
}

#[test]
fn csv_has_a_line_for_each_row() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rows.csv");
    let table = measure(&["run", "--contenders", "all", "--csv", file.to_str().unwrap()]);
    assert!(table.contains("raw-tcp"), "the table is printed as well");
    let mut reader = csv::Reader::from_path(&file).unwrap();
    let heads = reader.headers().unwrap().clone();
    let column = |name| heads.iter().position(|head| head == name).unwrap();
    let (contender, rate) = (column("contender"), column("calls_per_s"));
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let contenders: Vec<_> = rows.iter().map(|row| &row[contender]).collect();
    assert_eq!(contenders, ["gorums", "tonic", "tarpc", "raw-tcp"]);
    assert!(rows.iter().all(|row| row[rate].parse::<f64>().unwrap() > 0.0));
}

#[test]
fn plots_of_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("new");
    measure(&["run", "--contenders", "all", "--calls", "rpc|all", "--svg", at.to_str().unwrap()]);
    let texts = assert_svg(&at.join("comparison.svg"));
    assert!(texts.contains("tonic") && texts.contains("quorum-all"), "{texts}");
    let texts = assert_svg(&at.join("latency.svg"));
    assert!(texts.contains("90 %"), "{texts}");
}

#[test]
fn plots_of_a_sweep() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().to_str().unwrap();
    measure(&[
        "sweep",
        "--axis",
        "payload",
        "--values",
        "16,1k",
        "--contenders",
        "gorums,raw-tcp",
        "--svg",
        at,
    ]);
    for name in ["rate", "cpu", "p50", "p99"] {
        let texts = assert_svg(&directory.path().join(name).with_extension("svg"));
        assert!(texts.contains("16 B") && texts.contains("1 KiB") && texts.contains("gorums"), "{texts}");
    }
}
